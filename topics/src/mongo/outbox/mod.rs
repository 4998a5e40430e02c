//! The outbox: an app inserts events beside its own data, in the same transaction, and one process
//! at a time copies them into topics.

mod copier;
mod entry;
mod transfer;
mod value;

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use self::copier::Copier;
use super::MongoStore;
use crate::wake::WakeUps;
use crate::{Codec, Lease, RecordLimits, RegisterKey, Settings, TopicError, Topics};

/// Copies what apps have inserted into the outbox into topics.
///
/// The outbox is the collection `PREFIX_outbox` of the store's database, where `PREFIX` is that of
/// [`MongoSettings::prefix`](crate::MongoSettings::prefix): `updraft_outbox` by default. Whoever can
/// insert a document can publish, and in a transaction the event is there if and only if the data
/// is:
///
/// ```text
/// db.updraft_outbox.insertOne({ topic: 'orders', payload: { id: 7, state: 'paid' }, at: new Date() })
/// ```
///
/// ```no_run
/// # async fn outbox(store: updraft_topics::MongoStore) -> Result<(), updraft_topics::TopicError> {
/// use updraft_topics::{Outbox, OutboxSettings, Topics};
///
/// let topics = Topics::open(store.clone());
/// let outbox = Outbox::new(&store, &topics, OutboxSettings::default())?;
/// // In any number of processes, one of which copies.
/// outbox.run().await
/// # ; Ok(()) }
/// ```
///
/// # Members of a document
///
/// | member | what |
/// | --- | --- |
/// | `topic` | the name of a topic, which is created if it is not there |
/// | `payload` | a value. Dates, bytes, ids, patterns and decimal numbers become those of EJSON. For topics of bytes it is binary |
/// | `at` | a date. Documents are copied in the order of `at` and, where that is equal, of `_id` |
/// | `key` | records of one key keep their order in groups; may be left out |
/// | `compact` | what the record is the latest state of; may be left out |
/// | `tombstone` | instead of `payload` and `compact`: the compact id that ends |
/// | `meta` | an object of named texts beside the payload; may be left out |
///
/// # What is promised
///
/// - A document becomes one record, as long as the topic is not deleted meanwhile. Its copy has an
///   id that is taken from it only when the document is gone, however long a copier was away, and a
///   trim leaves that id too. A copier that went to sleep in the middle, and wakes up when another
///   one has gone on, inserts under a number that is taken.
/// - Documents are removed when their copies are on a majority of the servers.
/// - The order is that of `at` and `_id` among the documents that can be seen. A producer that waits
///   for each answer, or for each commit, has its order kept. Between transactions that commit at
///   the same time none is promised.
/// - A document that cannot be a record (no topic, a member that is not known or of another type,
///   something too large, a topic that is closed) is moved to `PREFIX_outbox_rejected`, as the member
///   `document` beside the `reason`. The documents behind it are copied.
/// - Readers are woken as by any publication.
///
/// Limits of [`Retention`](crate::Retention) hold where the topic is open with them: documents are
/// not refused because it is full.
pub struct Outbox {
    store: MongoStore,
    wake_ups: Arc<WakeUps>,
    settings: OutboxSettings,
    lease: RegisterKey,
    counters: Arc<Counters>,
}

/// How documents become records. Processes that copy from one outbox should have the same settings.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutboxSettings {
    /// What payloads are: EJSON by default.
    pub codec: Codec,
    /// Limits on records. Documents that exceed them are rejected.
    pub limits: RecordLimits,
    /// Whether topics are created: true by default. Otherwise a document for a topic that is not
    /// there is rejected.
    pub auto_create: bool,
    /// How often an empty outbox is looked at: each 500 ms by default.
    pub poll: Duration,
    /// After how long another process copies when the one that did has stopped: 10 s by default. It
    /// does so at once when that has dropped the future of [`Outbox::run`].
    pub lease: Duration,
}

/// What an [`Outbox`] has done in this process since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutboxStats {
    /// Documents that became records.
    pub copied: u64,
    /// Documents that were rejected.
    pub rejected: u64,
}

#[derive(Debug, Default)]
struct Counters {
    copied: AtomicU64,
    rejected: AtomicU64,
}

impl Outbox {
    /// Copies nothing yet. `topics` are those of the same store, whose readers are woken.
    ///
    /// # Errors
    ///
    /// [`TopicError::TooLarge`] if the store's prefix is longer than 1,000 bytes.
    pub fn new(
        store: &MongoStore,
        topics: &Topics,
        settings: OutboxSettings,
    ) -> Result<Self, TopicError> {
        Ok(Self {
            store: store.clone(),
            wake_ups: Arc::clone(topics.wake_ups()),
            settings,
            lease: RegisterKey::new("outbox", "copier")?,
            counters: Arc::default(),
        })
    }

    /// Copies whenever no other process does, until it is dropped. While MongoDB is away it tries
    /// again.
    ///
    /// # Cancel safety
    ///
    /// A document is then copied or not, and another process goes on at once.
    pub async fn run(&self) -> Infallible {
        let registers = Arc::new(self.store.clone());
        let lease = Lease::new(registers, self.lease.clone(), self.settings.lease);
        loop {
            let held = lease.take().await;
            held.run(self.copier().run()).await;
        }
    }

    /// What was done here so far.
    pub fn stats(&self) -> OutboxStats {
        OutboxStats {
            copied: self.counters.copied.load(Ordering::Relaxed),
            rejected: self.counters.rejected.load(Ordering::Relaxed),
        }
    }

    fn copier(&self) -> Copier {
        let records = Settings {
            codec: self.settings.codec.clone(),
            limits: self.settings.limits.clone(),
            ..Settings::default()
        };
        Copier::new(self, records)
    }
}

impl Default for OutboxSettings {
    fn default() -> Self {
        Self {
            codec: Codec::default(),
            limits: RecordLimits::default(),
            auto_create: true,
            poll: Duration::from_millis(500),
            lease: Duration::from_secs(10),
        }
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox")
            .field("store", &self.store)
            .field("settings", &self.settings)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
