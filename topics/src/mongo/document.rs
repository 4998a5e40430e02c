//! The documents of the store: one for each topic, one for each record.

use bytes::Bytes;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, DateTime, Document, doc};

use super::error::foreign;
use crate::{Appended, Bounds, Content, Epoch, Mark, NewRecord, Offset, Record, TopicError};

/// The kind of the last record of a closed topic.
const END: &str = "end";

/// What the list of topics says of one.
#[derive(Clone, Copy, Debug)]
pub(super) struct TopicState {
    pub(super) epoch: Epoch,
    pub(super) stage: Stage,
    pub(super) first: Offset,
    pub(super) horizon: Offset,
}

/// Where a topic is between its creation and its deletion, which are several steps each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its collection may not be complete.
    Creating,
    Open,
    /// Its collection may be gone.
    Deleting,
}

/// A document of a topic's collection.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) offset: Offset,
    pub(super) mark: Mark,
    pub(super) time: u64,
    pub(super) part: Part,
}

/// What a document of a topic's collection holds.
#[derive(Clone, Debug)]
pub(super) enum Part {
    Content(Bytes),
    /// Nothing: the place in front of the first record, or a record that was trimmed or removed.
    Nothing,
    /// The end of a closed topic. It has the mark of the record in front of it.
    End,
}

/// The end of a log, as its highest document tells it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tail {
    /// The offset of the highest document. It is not that of a record if the topic is closed.
    pub(super) highest: Offset,
    pub(super) last: Offset,
    pub(super) mark: Mark,
    pub(super) time: u64,
    pub(super) closed: bool,
}

impl TopicState {
    /// A topic that is being created.
    pub(super) const fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            stage: Stage::Creating,
            first: 1,
            horizon: 0,
        }
    }

    pub(super) fn parse(document: &Document) -> Result<Self, TopicError> {
        let parse = || {
            Some(Self {
                epoch: Epoch::from_u64(document.get_i64("epoch").ok()?.cast_unsigned()),
                stage: match document.get_str("stage").ok()? {
                    "creating" => Stage::Creating,
                    "open" => Stage::Open,
                    "deleting" => Stage::Deleting,
                    _ => return None,
                },
                first: unsigned(document.get("first")?)?,
                horizon: unsigned(document.get("horizon")?)?,
            })
        };
        parse().ok_or_else(foreign)
    }

    /// The fields beside the name.
    pub(super) fn fields(&self) -> Document {
        doc! {
            "epoch": self.epoch.to_u64().cast_signed(),
            "stage": self.stage.as_str(),
            "first": signed(self.first),
            "horizon": signed(self.horizon),
        }
    }

    pub(super) fn bounds(&self, tail: &Tail) -> Bounds {
        Bounds {
            epoch: self.epoch,
            first: self.first,
            last: tail.last,
            last_mark: tail.mark,
            horizon: self.horizon,
            closed: tail.closed,
        }
    }
}

impl Stage {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Open => "open",
            Self::Deleting => "deleting",
        }
    }
}

impl Stored {
    /// Reads a document whose `_id` is known to be a number. Parts that are missing or of another
    /// type make a record that is damaged.
    pub(super) fn parse(document: &Document) -> Result<Self, TopicError> {
        let offset = document.get("_id").and_then(unsigned).ok_or_else(foreign)?;
        let mark = document.get("m").and_then(unsigned);
        let time = document.get_datetime("t").ok();
        let part = match (document.get("c"), document.get_str("k")) {
            (Some(Bson::Binary(content)), Err(_)) => {
                Part::Content(Bytes::copy_from_slice(&content.bytes))
            }
            (None, Ok(END)) => Part::End,
            (None, Err(_)) => Part::Nothing,
            // It has no checksum.
            _ => Part::Content(Bytes::new()),
        };
        Ok(Self {
            offset,
            mark: mark.and_then(|mark| mark.try_into().ok()).unwrap_or(0),
            time: time.map_or(0, |time| {
                u64::try_from(time.timestamp_millis()).unwrap_or_default()
            }),
            part,
        })
    }

    /// The record, or `None` if it is damaged.
    pub(super) fn record(&self, content: &Bytes) -> Option<Record> {
        let content = Content::decode(content.clone(), self.mark).ok()?;
        Some(Record::new(self.offset, self.mark, self.time, content))
    }

    pub(super) fn duplicate(&self) -> Appended {
        Appended::new(self.offset, self.mark, self.time, true)
    }
}

impl Tail {
    /// Of a log whose highest document is this one.
    pub(super) fn of(highest: &Stored) -> Self {
        let closed = matches!(highest.part, Part::End);
        let last = highest.offset.saturating_sub(u64::from(closed));
        Self {
            highest: highest.offset,
            last,
            mark: highest.mark,
            time: highest.time,
            closed,
        }
    }
}

/// The document of a record.
pub(super) fn record(record: &NewRecord, offset: Offset, time: u64) -> Document {
    let content = Binary {
        subtype: BinarySubtype::Generic,
        bytes: record.content.encode(record.mark).into(),
    };
    let mut document = doc! {
        "_id": signed(offset),
        "m": i64::from(record.mark),
        "t": date(time),
        "c": content,
    };
    if let Some(id) = &record.dedup {
        document.insert("d", id.as_ref());
    }
    document
}

/// The document in front of all records.
pub(super) fn start(time: u64) -> Document {
    doc! { "_id": 0_i64, "m": 0_i64, "t": date(time) }
}

/// The document behind all records of a closed topic.
pub(super) fn end(tail: &Tail) -> Document {
    doc! {
        "_id": signed(tail.highest.saturating_add(1)),
        "m": i64::from(tail.mark),
        "t": date(tail.time),
        "k": END,
    }
}

/// The ids of records that were copied from the outbox. Those of programs are strings.
pub(super) fn is_copy() -> Document {
    doc! { "$type": "binData" }
}

/// An offset as MongoDB has it. None that was given is as high as the highest of these.
pub(super) fn signed(offset: Offset) -> i64 {
    i64::try_from(offset).unwrap_or(i64::MAX)
}

pub(super) fn date(time: u64) -> DateTime {
    DateTime::from_millis(i64::try_from(time).unwrap_or(i64::MAX))
}

/// An integer that is not negative.
fn unsigned(value: &Bson) -> Option<u64> {
    match value {
        Bson::Int64(number) => (*number).try_into().ok(),
        Bson::Int32(number) => (*number).try_into().ok(),
        _ => None,
    }
}
