//! Ingest: producers in any language add entries to a plain stream of Redis, and one process at a
//! time copies them into the topic.

mod copier;
mod entry;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

use self::copier::{Copier, Source};
use super::RedisStore;
use crate::{Codec, Lease, RecordLimits, RegisterKey, TopicError, TopicName};

/// The namespace of the leases.
const LEASES: &str = "ingest";

/// Copies what producers in any language have added to the ingest streams of topics, into the
/// topics.
///
/// The stream of a topic is the key `PREFIXt{TOPIC}ingest`, where `PREFIX` is that of
/// [`RedisSettings::prefix`](crate::RedisSettings::prefix). Whoever can say `XADD` can publish:
///
/// ```text
/// XADD updraft:topics:t{orders}ingest * payload '{"id":7,"state":"paid"}' key 'customer 3'
/// ```
///
/// ```no_run
/// # async fn ingest(store: updraft_topics::RedisStore) -> Result<(), updraft_topics::TopicError> {
/// use updraft_topics::{Ingest, IngestSettings};
///
/// let ingest = Ingest::new(&store, IngestSettings::default())
///     .topic("orders")?
///     .prefix("sensors/")?;
/// // In any number of processes, one of which copies.
/// ingest.run().await
/// # ; Ok(()) }
/// ```
///
/// # Fields of an entry
///
/// | field | what |
/// | --- | --- |
/// | `payload` | the value, as the text of EJSON or JSON; for topics of bytes the bytes as they are |
/// | `key` | records of one key keep their order in groups; may be left out |
/// | `compact` | what the record is the latest state of; may be left out |
/// | `tombstone` | instead of `payload` and `compact`: the compact id that ends |
/// | `id` | an id for deduplication, for a producer that adds an entry again when it has no answer; may be left out |
/// | `meta.NAME` | a named text beside the payload, of any NAME; any number of them |
///
/// # What is promised
///
/// - An entry becomes one record. A script takes it out of the stream and appends it to the topic in
///   one step, so nothing is copied twice, however late a copier goes on, and whatever became of
///   ids for deduplication meanwhile.
/// - Records have the order of the stream, so each producer's entries keep theirs. Their time is
///   that of the copy.
/// - While nobody copies, entries wait in the stream: its length, `XLEN`, is how many. It is bounded
///   by the memory of Redis, or by `MAXLEN` of the producers.
/// - An entry that cannot be a record (a field that is not known, no payload, a text that is not
///   JSON, something too large, or a topic that is closed) goes to the stream `PREFIXt{TOPIC}rejected`, behind
///   the fields `reason` and `id`. Of its own fields, the first 1,000 and the first 16 MiB are kept.
///   The entries behind it are copied.
/// - Readers are woken as by any publication.
/// - Redis that is emptied loses what waits in the stream with everything else.
///
/// A topic that is named is created when there is an entry for it. Those with a prefix must be there:
/// new ones are found within 5 s. Limits of [`Retention`](crate::Retention) hold where the topic is
/// open with them: records that are copied are never refused because it is full.
#[derive(Debug)]
pub struct Ingest {
    store: RedisStore,
    settings: IngestSettings,
    /// Filled while this is built.
    sources: Vec<(Source, RegisterKey)>,
    counters: Arc<Counters>,
}

/// How entries become records. Processes that copy the same topics should have the same settings.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IngestSettings {
    /// What payloads are: EJSON by default.
    pub codec: Codec,
    /// Limits on records. Entries that exceed them are rejected.
    pub limits: RecordLimits,
    /// How long an id for deduplication counts: 5 minutes by default.
    pub dedup_window: Duration,
    /// How often streams that are empty are looked at: each 100 ms by default.
    pub poll: Duration,
    /// After how long another process copies when the one that did has stopped: 10 s by default. It
    /// does so at once when that has dropped the future of [`Ingest::run`].
    pub lease: Duration,
    /// How many rejected entries of a topic are kept, the latest: about 1,000 by default.
    pub rejected: usize,
}

/// What an [`Ingest`] has done in this process since it was made. A step of Redis whose answer was
/// lost is not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct IngestStats {
    /// Entries that became records.
    pub copied: u64,
    /// Entries that were taken out because a record had the same id for deduplication.
    pub duplicates: u64,
    /// Entries that were rejected.
    pub rejected: u64,
}

#[derive(Debug, Default)]
struct Counters {
    copied: AtomicU64,
    duplicates: AtomicU64,
    rejected: AtomicU64,
}

impl Ingest {
    /// Copies nothing yet.
    pub fn new(store: &RedisStore, settings: IngestSettings) -> Self {
        Self {
            store: store.clone(),
            settings,
            sources: Vec::new(),
            counters: Arc::default(),
        }
    }

    /// The same with a topic, which is created when there is an entry for it.
    ///
    /// # Errors
    ///
    /// [`TopicError::BadName`].
    pub fn topic<N>(mut self, name: N) -> Result<Self, TopicError>
    where
        N: TryInto<TopicName>,
        TopicError: From<N::Error>,
    {
        let name = name.try_into()?;
        let lease = RegisterKey::new(LEASES, &format!("topic {name}"))?;
        self.sources.push((Source::Topic(name), lease));
        Ok(self)
    }

    /// The same with all topics whose names begin like this, as far as they are there. One process
    /// copies for all of them.
    ///
    /// # Errors
    ///
    /// [`TopicError::BadRegisterKey`] if no name can begin like this.
    pub fn prefix(mut self, prefix: &str) -> Result<Self, TopicError> {
        let lease = RegisterKey::new(LEASES, &format!("prefix {prefix}"))?;
        self.sources.push((Source::Prefix(prefix.into()), lease));
        Ok(self)
    }

    /// Copies whenever no other process does, until it is dropped. While Redis is away it tries
    /// again.
    ///
    /// # Cancel safety
    ///
    /// An entry is then copied or not, and another process goes on at once.
    pub async fn run(&self) -> Infallible {
        let mut copiers = JoinSet::new();
        for (source, key) in &self.sources {
            let store = Arc::new(self.store.clone());
            let lease = Lease::new(store, key.clone(), self.settings.lease);
            let copier = self.copier(source.clone());
            copiers.spawn(async move {
                loop {
                    let held = lease.take().await;
                    held.run(copier.run()).await;
                }
            });
        }
        match copiers.join_next().await {
            // It has panicked.
            Some(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            _ => std::future::pending().await,
        }
    }

    /// What was done here so far.
    pub fn stats(&self) -> IngestStats {
        let Counters {
            copied,
            duplicates,
            rejected,
        } = &*self.counters;
        IngestStats {
            copied: copied.load(Ordering::Relaxed),
            duplicates: duplicates.load(Ordering::Relaxed),
            rejected: rejected.load(Ordering::Relaxed),
        }
    }

    fn copier(&self, source: Source) -> Copier {
        Copier::new(
            self.store.clone(),
            self.settings.clone(),
            source,
            Arc::clone(&self.counters),
        )
    }
}

impl Default for IngestSettings {
    fn default() -> Self {
        Self {
            codec: Codec::default(),
            limits: RecordLimits::default(),
            dedup_window: Duration::from_secs(5 * 60),
            poll: Duration::from_millis(100),
            lease: Duration::from_secs(10),
            rejected: 1000,
        }
    }
}

impl Counters {
    fn add(&self, done: IngestStats) {
        self.copied.fetch_add(done.copied, Ordering::Relaxed);
        self.duplicates
            .fetch_add(done.duplicates, Ordering::Relaxed);
        self.rejected.fetch_add(done.rejected, Ordering::Relaxed);
    }
}
