//! Settings of a topic in this process.

use std::sync::Arc;
use std::time::Duration;

/// How a topic is used in this process, by all handles of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// Whether the topic is created if it is not there: true by default. A topic that was open and
    /// has vanished from the store is created again in either case.
    pub auto_create: bool,
    /// What payloads are: EJSON by default.
    pub codec: Codec,
    /// Limits on what is published.
    pub limits: RecordLimits,
    /// How long an id for deduplication counts: 5 minutes by default.
    pub dedup_window: Duration,
    /// How long a call waits, for its turn and for the store: 10 s by default.
    pub deadline: Duration,
    /// Records that may wait for the store: 10,000 by default. More wait in `publish`.
    pub queued_records: usize,
    /// Bytes of these records: 16 MiB by default.
    pub queued_bytes: usize,
    /// After how long a reader that waits looks for itself, in case a wake-up was lost: 5 s by
    /// default, give or take a fifth.
    pub poll: Duration,
    /// What is kept: everything by default.
    pub retention: Retention,
    /// Whether records are removed that later ones with the same compact id make redundant. By
    /// default they are not.
    pub compaction: Option<Compaction>,
}

/// What the payloads of a topic are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Codec {
    /// Values, written as EJSON.
    #[default]
    Ejson,
    /// Bytes as they are, of this content type.
    Bytes(Arc<str>),
}

/// The largest sizes, in bytes. What is larger is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordLimits {
    /// Of a payload: 1 MiB by default.
    pub payload: usize,
    /// Of all names and texts of the metadata together: 16 KiB by default.
    pub meta: usize,
    /// Of a key, a compact id, an id for deduplication, and a content type: 1 KiB by default.
    pub key: usize,
}

/// What a topic keeps. Limits are applied about once a second while the topic is open in some
/// process with these settings; until then a topic may hold more. On a store that processes share,
/// one of them does that at a time, by its own settings: let all of them have the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retention {
    /// How many records.
    pub max_records: Option<u64>,
    /// How many bytes of their contents. The process counts them by reading the topic once.
    pub max_bytes: Option<u64>,
    /// For how long, by the clock of this process.
    pub max_age: Option<Duration>,
    /// What happens when there are as many records or bytes as there may be.
    pub when_full: WhenFull,
    /// Whether the topic is kept for its groups: by default it is not, and a record may be removed
    /// that a group has not finished.
    pub interest: Option<Interest>,
}

/// A record is kept until all groups have finished it and those before it, and is removed then. The
/// limits above remove nothing that a group has not finished.
///
/// A group that was without members for its
/// [time](crate::GroupSettings::inactive_after) holds nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Interest {
    /// What happens as long as no group holds the topic.
    pub without_groups: WithoutGroups,
    /// How many bytes of contents there may be, whatever a group has not finished: the oldest
    /// records are removed above it, and the groups count them as lost. By default there is no
    /// limit.
    pub hard_bytes: Option<u64>,
}

/// What becomes of the records of a topic that is kept for its groups and has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WithoutGroups {
    /// They are kept, within the other limits.
    #[default]
    Keep,
    /// They are removed.
    Drop,
}

/// What happens when a topic holds as much as it may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenFull {
    /// The oldest records are removed.
    #[default]
    DropOldest,
    /// New records are refused, until the topic is trimmed. Each publish asks the store for the
    /// bounds first; those that are under way at the same time may exceed the limit together. What
    /// is copied into the topic from an ingest stream or an outbox was published already, and is not
    /// refused: bound what waits there, or let the topic drop its oldest records.
    Refuse,
}

/// When redundant records are removed. The process keeps an index of all compact ids in memory,
/// which it makes by reading the topic once.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compaction {
    /// How old a redundant record must be: 60 s by default.
    pub min_lag: Duration,
    /// For how long a tombstone is kept: 24 h by default. A reader that takes longer to read the
    /// topic, or to come back, has a gap.
    pub tombstone_retention: Duration,
}

impl Settings {
    /// Whether the topic has to be looked after.
    pub(crate) fn needs_sweeps(&self) -> bool {
        let Retention {
            max_records,
            max_bytes,
            max_age,
            when_full: _,
            ref interest,
        } = self.retention;
        interest.is_some()
            || max_records.is_some()
            || max_bytes.is_some()
            || max_age.is_some()
            || self.compaction.is_some()
    }

    /// Whether the contents must be known for that, and not only offsets and times.
    pub(crate) fn needs_index(&self) -> bool {
        let interest = self.retention.interest.as_ref();
        let hard_bytes = interest.and_then(|interest| interest.hard_bytes);
        self.retention.max_bytes.is_some() || hard_bytes.is_some() || self.compaction.is_some()
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            auto_create: true,
            codec: Codec::default(),
            limits: RecordLimits::default(),
            dedup_window: Duration::from_secs(5 * 60),
            deadline: Duration::from_secs(10),
            queued_records: 10_000,
            queued_bytes: 16 * 1024 * 1024,
            poll: Duration::from_secs(5),
            retention: Retention::default(),
            compaction: None,
        }
    }
}

impl Default for RecordLimits {
    fn default() -> Self {
        Self {
            payload: 1024 * 1024,
            meta: 16 * 1024,
            key: 1024,
        }
    }
}

impl Default for Compaction {
    fn default() -> Self {
        Self {
            min_lag: Duration::from_secs(60),
            tombstone_retention: Duration::from_secs(24 * 3600),
        }
    }
}
