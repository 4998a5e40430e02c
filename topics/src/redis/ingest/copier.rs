//! One copier: it looks at the ingest streams of its topics again and again, and copies from each
//! that has entries, a batch at a time.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use redis::RedisResult;
use tokio::time::{Instant, sleep};

use super::entry::{Fields, record};
use super::{Counters, IngestSettings, IngestStats};
use crate::redis::RedisStore;
use crate::redis::connection::Request;
use crate::redis::log::{Parts, wake_up};
use crate::redis::script::{Call, Script};
use crate::redis::unexpected;
use crate::{Create, Log, Settings, TopicError, TopicName};

/// Entries and bytes of one batch.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 1024 * 1024;

/// Fields of an entry, at most.
const FIELDS: usize = 1000;

/// What an entry may have beside what counts in limits: the names of its fields.
const NAMES: usize = 64 * 1024;

/// Streams whose lengths are asked for at once.
const LOOKED_AT_ONCE: usize = 1000;

/// How often topics with a prefix are listed.
const LIST_EVERY: Duration = Duration::from_secs(5);

/// How often the same trouble is told.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Topics that are copied under one lease.
#[derive(Clone, Debug)]
pub(super) enum Source {
    Topic(TopicName),
    Prefix(Box<str>),
}

pub(super) struct Copier {
    store: RedisStore,
    settings: IngestSettings,
    /// Of records.
    records: Settings,
    source: Source,
    counters: Arc<Counters>,
}

/// What one run of a copier knows of its topics.
#[derive(Default)]
struct Topics {
    names: Vec<TopicName>,
    listed: Option<Instant>,
}

/// What is told of one run.
#[derive(Default)]
struct Troubles {
    rejected: Told,
    failed: Told,
}

/// A kind of trouble, which is told now and then.
#[derive(Default)]
struct Told {
    last: Option<Instant>,
    since: u64,
}

/// An entry of the stream, and the record that it becomes or why it is none.
type Gathered = (String, Result<crate::NewRecord, String>);

impl Copier {
    pub(super) fn new(
        store: RedisStore,
        settings: IngestSettings,
        source: Source,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            store,
            records: Settings {
                codec: settings.codec.clone(),
                limits: settings.limits.clone(),
                ..Settings::default()
            },
            settings,
            source,
            counters,
        }
    }

    pub(super) async fn run(&self) -> Infallible {
        let mut topics = Topics::default();
        let mut troubles = Troubles::default();
        loop {
            let has_more = match self.pass(&mut topics, &mut troubles).await {
                Ok(has_more) => has_more,
                Err(error) => {
                    troubles.failed(None, &error);
                    false
                }
            };
            if !has_more {
                sleep(self.settings.poll).await;
            }
        }
    }

    /// Copies a batch from each stream that has entries. Whether any had.
    ///
    /// # Errors
    ///
    /// That of the store; not that of a single topic.
    async fn pass(&self, topics: &mut Topics, troubles: &mut Troubles) -> Result<bool, TopicError> {
        self.list(topics).await?;
        let mut has_more = false;
        for names in topics.names.chunks(LOOKED_AT_ONCE) {
            for topic in self.with_entries(names).await? {
                match self.copy_batch(topic).await {
                    Ok(None) => {}
                    Ok(Some((done, reason))) => {
                        has_more = true;
                        self.counters.add(done);
                        if let Some(reason) = reason {
                            troubles.rejected(topic, done.rejected, &reason);
                        }
                    }
                    Err(error) => troubles.failed(Some(topic), &error),
                }
            }
        }
        Ok(has_more)
    }

    /// Finds the topics, if it is time for that.
    async fn list(&self, topics: &mut Topics) -> Result<(), TopicError> {
        if topics.listed.is_some_and(|at| at.elapsed() < LIST_EVERY) {
            return Ok(());
        }
        let mut names = Vec::new();
        match &self.source {
            Source::Topic(topic) => names.push(topic.clone()),
            Source::Prefix(prefix) => loop {
                let after = names.last();
                let page = self.store.list(prefix, after, LOOKED_AT_ONCE).await?;
                let is_last = page.len() < LOOKED_AT_ONCE;
                names.extend(page);
                if is_last {
                    break;
                }
            },
        }
        topics.names = names;
        topics.listed = Some(Instant::now());
        Ok(())
    }

    /// Those of the topics whose streams have entries.
    async fn with_entries<'a>(
        &self,
        topics: &'a [TopicName],
    ) -> Result<Vec<&'a TopicName>, TopicError> {
        let mut lengths = redis::pipe();
        for topic in topics {
            let [ingest, _] = self.store.0.keys.ingest(topic.as_str());
            lengths.cmd("XLEN").arg(ingest);
        }
        // One of the keys may be no stream, which is told when it is read.
        lengths.ignore_errors();
        let asked = self.store.0.connection.ask(Request::All(&lengths));
        let lengths: Vec<RedisResult<u64>> = asked.await?;
        let topics = topics.iter().zip(lengths);
        let held = topics.filter(|(_, length)| length.as_ref().map_or(true, |it| *it > 0));
        Ok(held.map(|(topic, _)| topic).collect())
    }

    /// Copies the oldest entries of a stream, and answers what became of them and the reason why the
    /// last of those was rejected. `None` if there are none, or there is no such topic.
    async fn copy_batch(
        &self,
        topic: &TopicName,
    ) -> Result<Option<(IngestStats, Option<String>)>, TopicError> {
        let gathered = self.gather(topic).await?;
        if gathered.is_empty() {
            return Ok(None);
        }
        let mut call = self.store.topic_call(Script::Copy, topic);
        for key in self.store.0.keys.ingest(topic.as_str()) {
            call.key(key);
        }
        let mut call = call
            .with(self.settings.dedup_window.as_millis().to_string())
            .with(self.store.0.channel.clone())
            .with(wake_up(topic))
            .with(self.settings.rejected.clamp(1, 1 << 30).to_string());
        let mut last_reason = None;
        for (id, record) in gathered {
            call.arg(id);
            match record {
                Ok(record) => {
                    call.arg(record.mark.to_string());
                    let id = record.dedup.map(|id| format!("={id}"));
                    call.arg(id.unwrap_or_default());
                    call.arg(record.content.encode(record.mark));
                }
                Err(reason) => {
                    call.arg("");
                    call.arg("");
                    call.arg(reason.clone());
                    last_reason = Some(reason);
                }
            }
        }
        let copied = self.store.use_topic(topic, &call).await;
        let (status, mut parts) = match (copied, &self.source) {
            (Err(TopicError::UnknownTopic), Source::Topic(_)) => {
                Log::open(&self.store, topic, Create::IfMissing).await?;
                self.store.use_topic(topic, &call).await?
            }
            // The list was an old one.
            (Err(TopicError::UnknownTopic), Source::Prefix(_)) => return Ok(None),
            (copied, _) => copied?,
        };
        if status != "ok" {
            return Err(unexpected());
        }
        let done = IngestStats {
            copied: parts.number()?,
            duplicates: parts.number()?,
            rejected: parts.number()?,
        };
        let last_reason = last_reason.or_else(|| Some("the topic is closed".into()));
        Ok(Some((done, last_reason.filter(|_| done.rejected > 0))))
    }

    /// The oldest entries of a stream.
    async fn gather(&self, topic: &TopicName) -> Result<Vec<Gathered>, TopicError> {
        let [ingest, _] = self.store.0.keys.ingest(topic.as_str());
        let limits = &self.settings.limits;
        let most = limits.key.saturating_mul(4);
        let most = most.saturating_add(limits.meta).saturating_add(NAMES);
        let most = most.saturating_add(limits.payload);
        let texts = FIELDS.saturating_mul(2);
        let call = Call::new(Script::Gather, [ingest])
            .with(BATCH.to_string())
            .with(BATCH_BYTES.to_string())
            .with(most.min(1 << 30).to_string())
            .with(texts.to_string());
        let mut parts = Parts::new(self.store.call(&call).await?);
        let mut gathered = Vec::new();
        while !parts.is_empty() {
            let id = parts.text()?;
            let count = parts.text()?;
            let record = if count.is_empty() {
                let bytes = parts.text()?;
                Err(format!(
                    "the entry has {bytes} bytes and may have {most}, in {FIELDS} fields"
                ))
            } else {
                let count: usize = count.parse().map_err(|_| unexpected())?;
                record(fields(&mut parts, count)?, &self.records)
            };
            gathered.push((id, record));
        }
        Ok(gathered)
    }
}

fn fields(parts: &mut Parts, count: usize) -> Result<Fields, TopicError> {
    let pairs = (0..count / 2).map(|_| Ok((parts.next()?, parts.next()?)));
    pairs.collect()
}

impl Troubles {
    fn rejected(&mut self, topic: &TopicName, count: u64, reason: &str) {
        if let Some(count) = self.rejected.tell(count) {
            tracing::warn!(%topic, count, reason, "Entries of ingest streams were rejected.");
        }
    }

    fn failed(&mut self, topic: Option<&TopicName>, error: &TopicError) {
        if let Some(count) = self.failed.tell(1) {
            let topic = topic.map(TopicName::as_str);
            tracing::warn!(topic, %error, count, "Ingest streams are not copied.");
        }
    }
}

impl Told {
    /// How many there are to tell, if it is time to tell them.
    fn tell(&mut self, count: u64) -> Option<u64> {
        self.since = self.since.saturating_add(count);
        if self.last.is_some_and(|last| last.elapsed() < TELL_EVERY) {
            return None;
        }
        self.last = Some(Instant::now());
        Some(std::mem::take(&mut self.since))
    }
}
