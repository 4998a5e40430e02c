//! Records, as they go to a store and as they come back.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::{Epoch, Mark, Offset, Place};

/// What a program put into a record.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Content {
    /// Records of one key keep their order, in groups too.
    pub key: Option<Arc<str>>,
    /// What the record is the state of: a later record with the same id makes this one redundant.
    pub compact: Option<Arc<str>>,
    /// Named texts beside the payload.
    pub meta: BTreeMap<String, String>,
    /// The type of the payload; `None` if it is EJSON.
    pub content_type: Option<Arc<str>>,
    /// `None` in a tombstone, which ends the id in `compact`.
    pub payload: Option<Bytes>,
}

/// A record that is to be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewRecord {
    /// Its mark, which is not 0.
    pub mark: Mark,
    /// A record with the same id is stored once, see [`Append::dedup_window`](crate::Append).
    pub dedup: Option<Box<str>>,
    /// What is stored.
    pub content: Content,
}

/// A record that has been appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Appended {
    /// Its offset.
    pub offset: Offset,
    /// Its mark: that of the stored record if this one is a duplicate.
    pub mark: Mark,
    /// When it was stored, in milliseconds since 1970 by the store's clock.
    pub time: u64,
    /// Whether it had been stored before, under the same id.
    pub duplicate: bool,
}

/// What an append stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AppendedBatch {
    /// The epoch to which the offsets belong. It is another one than that of
    /// [`Log::open`](crate::Log::open) if the topic was created again.
    pub epoch: Epoch,
    /// One entry for each record, in the order given.
    pub records: Vec<Appended>,
}

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record {
    /// Its number in the topic.
    pub offset: Offset,
    /// Its mark.
    pub mark: Mark,
    /// When it was stored, in milliseconds since 1970 by the store's clock. It never decreases from
    /// one record to the next.
    pub time: u64,
    /// What was stored.
    pub content: Content,
}

/// What a topic holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bounds {
    /// The life of the topic to which the offsets belong.
    pub epoch: Epoch,
    /// The lowest offset that was not trimmed; `last + 1` if all are. It does not rise when single
    /// records are removed.
    pub first: Offset,
    /// The highest offset that was given; 0 if none was.
    pub last: Offset,
    /// The mark of the record with that offset, also when it has been trimmed or removed; 0 if
    /// there was none.
    pub last_mark: Mark,
    /// The highest offset of a tombstone that was removed; 0 if none was. Who has read less may
    /// take an id for live that has ended.
    pub horizon: Offset,
    /// Whether the topic takes no more records.
    pub closed: bool,
}

/// How much one read may return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limit {
    /// Records, at least 1.
    pub count: usize,
    /// Bytes of their content, see [`Content::size`]. A single record is returned however large it
    /// is.
    pub bytes: usize,
}

/// What one read returned.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page {
    /// The records, by offset. Missing offsets were trimmed or removed.
    pub records: Vec<Record>,
    /// Where to read on: behind the last of these records, or behind the last of the topic if
    /// nothing else is held.
    pub next: Place,
    /// What the topic held at the time.
    pub bounds: Bounds,
}

impl Content {
    /// A payload and nothing else.
    pub fn new(payload: impl Into<Bytes>) -> Self {
        Self {
            payload: Some(payload.into()),
            ..Self::default()
        }
    }

    /// The bytes that it counts for in limits: those of the payload, the key, the ids, and of the
    /// names and texts of the metadata.
    pub fn size(&self) -> usize {
        let text = |text: &Option<Arc<str>>| text.as_deref().map_or(0, str::len);
        self.payload
            .as_ref()
            .map_or(0, Bytes::len)
            .saturating_add(text(&self.key))
            .saturating_add(text(&self.compact))
            .saturating_add(text(&self.content_type))
            .saturating_add(self.meta_size())
    }

    /// The bytes of the names and texts of the metadata.
    pub(crate) fn meta_size(&self) -> usize {
        self.meta.iter().fold(0, |sum: usize, (name, text)| {
            sum.saturating_add(name.len()).saturating_add(text.len())
        })
    }
}

// Payloads do not belong in logs.
impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content")
            .field("bytes", &self.size())
            .field("is_tombstone", &self.payload.is_none())
            .finish_non_exhaustive()
    }
}

impl NewRecord {
    /// A record to append.
    pub fn new(mark: Mark, content: Content) -> Self {
        Self {
            mark,
            dedup: None,
            content,
        }
    }

    /// The same with an id under which it is stored once.
    #[must_use]
    pub fn dedup(mut self, id: impl Into<Box<str>>) -> Self {
        self.dedup = Some(id.into());
        self
    }
}

impl Appended {
    /// The answer for one record.
    pub const fn new(offset: Offset, mark: Mark, time: u64, duplicate: bool) -> Self {
        Self {
            offset,
            mark,
            time,
            duplicate,
        }
    }
}

impl AppendedBatch {
    /// The answer for a batch.
    pub const fn new(epoch: Epoch, records: Vec<Appended>) -> Self {
        Self { epoch, records }
    }
}

impl Record {
    /// A record that was read.
    pub const fn new(offset: Offset, mark: Mark, time: u64, content: Content) -> Self {
        Self {
            offset,
            mark,
            time,
            content,
        }
    }
}

impl Bounds {
    /// What a new topic holds.
    pub const fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            first: 1,
            last: 0,
            last_mark: 0,
            horizon: 0,
            closed: false,
        }
    }

    /// The place behind the last record.
    pub const fn end(&self) -> Place {
        Place::new(self.epoch, self.last, self.last_mark)
    }
}

impl Limit {
    /// So many records and bytes.
    pub const fn new(count: usize, bytes: usize) -> Self {
        Self { count, bytes }
    }
}

impl Default for Limit {
    /// 256 records, 256 KiB.
    fn default() -> Self {
        Self::new(256, 256 * 1024)
    }
}

impl Page {
    /// What a read returned.
    pub const fn new(records: Vec<Record>, next: Place, bounds: Bounds) -> Self {
        Self {
            records,
            next,
            bounds,
        }
    }
}
