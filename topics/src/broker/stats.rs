//! How the streams of a registry are doing, and their groups and consumers.

use super::EventBroker;
use crate::clock::now;
use crate::registry::Stream;
use crate::{GroupStats, Limit, MemberStats, Offset, Place, Position, Topic, TopicError};

/// How a stream is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamStats {
    /// Its name.
    pub stream: String,
    /// The pool in which it is.
    pub pool: String,
    /// How many records it holds. Those that compaction has removed from among them count too.
    pub records: u64,
    /// How old its oldest record is, in milliseconds: what groups have finished is removed, so this
    /// is how far the slowest of them is behind.
    pub oldest: Option<u64>,
    /// Its groups, in the order of their declaration.
    pub groups: Vec<StreamGroupStats>,
}

/// How a group is doing with a stream. Ages are in milliseconds since the record was published.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamGroupStats {
    /// The name of the group.
    pub group: String,
    /// Records of the stream that the group has neither finished nor under way.
    pub lag: u64,
    /// Up to here the group has finished all records of the stream.
    pub finished: Offset,
    /// Records of the stream that were removed before the group has finished them.
    pub lost: u64,
    /// How old the oldest record of the stream is that the group has never delivered.
    pub oldest_undelivered: Option<u64>,
    /// Records that consumers have, of all streams of the group.
    pub pending: u64,
    /// How old the oldest of these is.
    pub oldest_pending: Option<u64>,
    /// Dead letters, of all streams of the group.
    pub parked: u64,
    /// The consumers that there are now, by name: what each has, of all streams of the group.
    pub consumers: Vec<MemberStats>,
}

impl EventBroker {
    /// How all streams are doing, in the order of their names.
    ///
    /// # Errors
    ///
    /// That of a store.
    pub async fn streams_stats(&self) -> Result<Vec<StreamStats>, TopicError> {
        let mut stats = Vec::new();
        for stream in self.engine.streams() {
            stats.push(self.stream_stats(stream).await?);
        }
        Ok(stats)
    }

    /// How a stream is doing. The numbers are those of the store, for all processes.
    ///
    /// # Errors
    ///
    /// [`TopicError::Undeclared`], or that of the store.
    pub async fn stream_stats(&self, stream: &str) -> Result<StreamStats, TopicError> {
        let Stream {
            topic,
            pool,
            groups: names,
        } = self.engine.stream(stream)?;
        let mut groups = Vec::new();
        for group in names {
            groups.push(self.stream_group_stats(stream, group).await?);
        }
        let bounds = topic.bounds().await?;
        Ok(StreamStats {
            stream: stream.to_owned(),
            pool: pool.clone(),
            records: bounds.last.saturating_add(1).saturating_sub(bounds.first),
            oldest: oldest(topic).await?,
            groups,
        })
    }

    /// How a group is doing with one of its streams.
    ///
    /// # Errors
    ///
    /// [`TopicError::Undeclared`], also if the group does not read the stream, or that of the store.
    pub async fn stream_group_stats(
        &self,
        stream: &str,
        group: &str,
    ) -> Result<StreamGroupStats, TopicError> {
        let topic = self.engine.stream(stream)?.topic.name();
        let GroupStats {
            topics,
            pending,
            oldest_pending,
            parked,
            members,
            ..
        } = self.engine.group(group)?.stats().await?;
        let of_stream = topics.into_iter().find(|stats| stats.topic == *topic);
        let of_stream = of_stream.ok_or(TopicError::Undeclared {
            what: "group of this stream",
            nearest: None,
        })?;
        Ok(StreamGroupStats {
            group: group.to_owned(),
            lag: of_stream.lag,
            finished: of_stream.floor,
            lost: of_stream.lost,
            oldest_undelivered: of_stream.oldest_undelivered,
            pending,
            oldest_pending,
            parked,
            consumers: members,
        })
    }
}

/// The age of the oldest record.
async fn oldest(topic: &Topic) -> Result<Option<u64>, TopicError> {
    let bounds = topic.bounds().await?;
    let before = match bounds.first.saturating_sub(1) {
        0 => Place::start(bounds.epoch),
        offset => Place::unmarked(bounds.epoch, offset),
    };
    let before = Position::at(topic.name(), before);
    match topic.read_held(before, Limit::new(1, 0)).await {
        Ok(batch) => {
            let oldest = batch.messages.first();
            Ok(oldest.map(|message| now().saturating_sub(message.time())))
        }
        Err(TopicError::Damaged { .. } | TopicError::Reset(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
