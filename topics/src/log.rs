//! The trait of a store of logs, and what goes with its functions.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use crate::{
    AppendedBatch, Bounds, Epoch, Limit, NewRecord, Offset, Page, Place, TopicError, TopicName,
};

/// The future of a store's function. It is boxed so that the traits can be used as objects.
///
/// It may be dropped at any time: what it was to do is then done or not done, never half.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, TopicError>> + Send + 'a>>;

/// Many logs in one store.
///
/// Whoever uses a store may trust that
///
/// - offsets of an epoch begin at 1, have no holes when written, and are never given twice, not
///   after a trim or a restart either;
/// - when a record can be read, every one with a lower offset can be read too, unless it was
///   trimmed or removed;
/// - a record that was acknowledged is there after whatever the store says it survives. If the
///   store has lost one, the epoch is a new one, or the offset has a record with another mark;
/// - times never decrease with the offset, even if the store's clock is set back.
///
/// Everything except [`open`](Self::open), [`end`](Self::end) and [`list`](Self::list) answers
/// [`TopicError::UnknownTopic`] if there is no such topic.
pub trait Log: fmt::Debug + Send + Sync + 'static {
    /// What the store can do. It never changes.
    fn features(&self) -> Features;

    /// What a topic holds. Creates it if it is not there and may be created.
    ///
    /// # Errors
    ///
    /// [`TopicError::UnknownTopic`], or that of the store.
    fn open<'a>(&'a self, topic: &'a TopicName, create: Create) -> Answer<'a, Bounds>;

    /// Appends records, which get consecutive offsets with no other record between them. With
    /// [`Features::atomic_batch`] all of them are stored or none.
    ///
    /// In this order: a record whose id for deduplication is known, from earlier in the same batch
    /// too, is answered as a duplicate. If any other is left, the topic must not be closed, and
    /// then its last offset must be the expected one.
    ///
    /// # Errors
    ///
    /// [`TopicError::Closed`], [`TopicError::Conflict`], or that of the store. After
    /// [`TopicError::Unavailable`] the records may be stored.
    fn append<'a>(&'a self, topic: &'a TopicName, append: Append) -> Answer<'a, AppendedBatch>;

    /// The records behind a place. In the same atomic step the place is compared with the topic:
    /// its epoch, its offset with the last one, and its mark with the record of that offset if that
    /// is still held or is the last.
    ///
    /// Fewer records than the limit allows may be returned, but none only if none is held behind
    /// the place.
    ///
    /// # Errors
    ///
    /// [`TopicError::Damaged`] if the first record behind the place is damaged; a page ends in
    /// front of a damaged record. Or that of the store.
    fn read<'a>(&'a self, topic: &'a TopicName, after: Place, limit: Limit) -> Answer<'a, Read>;

    /// Removes the records of all offsets up to and with this one. One behind the last means all. A
    /// reader sees the new `first` before a record is missing. If the topic has another epoch,
    /// nothing happens.
    ///
    /// # Errors
    ///
    /// That of the store.
    fn trim<'a>(&'a self, topic: &'a TopicName, epoch: Epoch, up_to: Offset) -> Answer<'a, Bounds>;

    /// Removes single records. Offsets that are not held are passed over. If the topic has another
    /// epoch, nothing happens.
    ///
    /// # Errors
    ///
    /// [`TopicError::Unsupported`] without [`Features::remove`], or that of the store.
    fn remove<'a>(&'a self, topic: &'a TopicName, removal: Removal) -> Answer<'a, ()>;

    /// Closes a topic, or deletes it with its records. Doing it again changes nothing, and deleting
    /// a topic that is not there is no error.
    ///
    /// # Errors
    ///
    /// [`TopicError::UnknownTopic`] if a topic that is to be closed is not there, or that of the
    /// store.
    fn end<'a>(&'a self, topic: &'a TopicName, end: End) -> Answer<'a, ()>;

    /// The topics whose names begin with `prefix`, in the order of their names: at most `limit` of
    /// those behind `after`.
    ///
    /// # Errors
    ///
    /// That of the store.
    fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a TopicName>,
        limit: usize,
    ) -> Answer<'a, Vec<TopicName>>;

    /// For a store that can wait for records itself: resolves with true as soon as there is a
    /// record behind `after` or the topic was closed or deleted, and with false when the time is
    /// over.
    ///
    /// `None`, the default, if wake-ups come over the bus.
    fn grew<'a>(
        &'a self,
        topic: &'a TopicName,
        after: Offset,
        patience: Duration,
    ) -> Option<Answer<'a, bool>> {
        let _ = (topic, after, patience);
        None
    }
}

/// What a store can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Features {
    /// Records and registers outlive the process.
    pub durable: bool,
    /// Several processes can use the store at the same time.
    pub shared: bool,
    /// A batch is stored as a whole or not at all.
    pub atomic_batch: bool,
    /// Ids for deduplication are kept.
    pub dedup: bool,
    /// An append can depend on the last offset.
    pub expect: bool,
    /// Single records can be removed.
    pub remove: bool,
    /// An append, a close and a delete publish the topic's name, as a JSON string, on the bus's
    /// channel `updraft:topics`, so that nobody else needs to.
    pub announces: bool,
}

/// Whether [`Log::open`] may create the topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "yes or no, by name")]
pub enum Create {
    /// If it is not there, it is created.
    IfMissing,
    /// If it is not there, that is an error.
    Never,
}

/// A batch that is to be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Append {
    /// The records, at least one.
    pub records: Vec<NewRecord>,
    /// The offset that the last record must have.
    pub expect: Option<Offset>,
    /// How long an id for deduplication counts after it was stored, by the store's clock. The store
    /// keeps ids this long and may keep them longer, but does not count them any more.
    pub dedup_window: Duration,
}

/// How a place was found when a topic was read from there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a reader must know all of them")]
pub enum Read {
    /// The place is one of this topic, as far as can be told.
    Page(Page),
    /// The place is of another life of the topic.
    UnknownEpoch(Bounds),
    /// The place is behind the last record.
    Ahead(Bounds),
    /// The record of this offset is another one than that of the place.
    Diverged(Bounds),
}

/// Single records that are to be removed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Removal {
    /// The epoch to which the offsets belong.
    pub epoch: Epoch,
    /// Their offsets.
    pub offsets: Vec<Offset>,
    /// [`Bounds::horizon`] is raised to this, before or together with the removal.
    pub horizon: Offset,
}

/// How a topic ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a store must do both")]
pub enum End {
    /// It takes no more records, and can be read to its end.
    Close,
    /// It is gone, with its records. A topic that is later created under its name has a new epoch.
    Delete,
}

impl Append {
    /// Records to append, whatever the last offset is. Ids for deduplication count for 5 minutes.
    pub const fn new(records: Vec<NewRecord>) -> Self {
        Self {
            records,
            expect: None,
            dedup_window: Duration::from_secs(5 * 60),
        }
    }

    /// The same, if the last offset is this one.
    #[must_use]
    pub const fn expect(mut self, last: Offset) -> Self {
        self.expect = Some(last);
        self
    }

    /// The same with another time for which ids count.
    #[must_use]
    pub const fn dedup_window(mut self, window: Duration) -> Self {
        self.dedup_window = window;
        self
    }
}

impl Removal {
    /// These offsets.
    pub const fn new(epoch: Epoch, offsets: Vec<Offset>, horizon: Offset) -> Self {
        Self {
            epoch,
            offsets,
            horizon,
        }
    }
}
