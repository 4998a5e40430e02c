//! What a program publishes.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use updraft_protocol::ejson::{self, Value};

use crate::message::LIMITS;
use crate::random::draw_mark;
use crate::settings::{Codec, Settings};
use crate::{Content, Item, NewRecord, TopicError};

/// A record to publish: a payload, and what goes with it.
///
/// ```
/// use updraft_protocol::ejson;
/// use updraft_topics::Entry;
///
/// let paid = ejson!({ "state": "paid" });
/// let entry = Entry::value(&paid).key("customer 3").compact("order 7").meta("source", "shop");
/// # let _ = entry;
/// ```
#[derive(Clone)]
#[must_use = "an entry is stored when it is published"]
pub struct Entry {
    payload: Payload,
    content: Content,
    dedup: Option<Box<str>>,
}

#[derive(Clone)]
enum Payload {
    /// The text of a value, or why it has none.
    Ejson(Result<Bytes, TopicError>),
    Bytes(Bytes),
    Tombstone,
}

impl Entry {
    /// A value, for a topic of EJSON. If it cannot be written as EJSON, publishing it says so.
    pub fn value<T: Serialize + ?Sized>(value: &T) -> Self {
        let value = ejson::to_value(value).map_err(|e| TopicError::NotEncoded(Arc::new(e)));
        Self::new(Payload::Ejson(value.and_then(|value| encode(&value))))
    }

    /// A value that is written as EJSON or JSON already, and is stored as it is written. If the text
    /// is neither, publishing it says so.
    pub fn ejson(text: impl Into<Bytes>) -> Self {
        Self::new(Payload::Ejson(check(text.into())))
    }

    /// Bytes as they are, for a topic of bytes.
    pub fn bytes(payload: impl Into<Bytes>) -> Self {
        Self::new(Payload::Bytes(payload.into()))
    }

    /// No payload: the end of the compact id.
    pub fn tombstone(compact: impl Into<Arc<str>>) -> Self {
        Self::new(Payload::Tombstone).compact(compact)
    }

    fn new(payload: Payload) -> Self {
        Self {
            payload,
            content: Content::default(),
            dedup: None,
        }
    }

    /// Records of one key keep their order in groups.
    pub fn key(mut self, key: impl Into<Arc<str>>) -> Self {
        self.content.key = Some(key.into());
        self
    }

    /// What this is the latest state of: earlier records with the same id become redundant.
    pub fn compact(mut self, id: impl Into<Arc<str>>) -> Self {
        self.content.compact = Some(id.into());
        self
    }

    /// A named text beside the payload. A second one of the same name replaces the first.
    pub fn meta(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        self.content.meta.insert(name.into(), text.into());
        self
    }

    /// An id under which the record is stored once, however often it is published.
    pub fn dedup(mut self, id: impl Into<Box<str>>) -> Self {
        self.dedup = Some(id.into());
        self
    }

    /// The record, with a new mark. `index` is its place in the batch.
    pub(crate) fn into_record(
        self,
        index: usize,
        settings: &Settings,
    ) -> Result<NewRecord, TopicError> {
        let mut content = self.content;
        match (self.payload, &settings.codec) {
            (Payload::Ejson(text), Codec::Ejson) => content.payload = Some(text?),
            (Payload::Bytes(bytes), Codec::Bytes(content_type)) => {
                content.payload = Some(bytes);
                content.content_type = Some(Arc::clone(content_type));
            }
            (Payload::Tombstone, _) => {}
            (Payload::Ejson(_) | Payload::Bytes(_), _) => return Err(TopicError::WrongCodec),
        }
        let length = |text: &Option<Arc<str>>| text.as_deref().map_or(0, str::len);
        let limits = &settings.limits;
        for (item, bytes, limit) in [
            (
                Item::Payload,
                content.payload.as_ref().map_or(0, Bytes::len),
                limits.payload,
            ),
            (Item::Meta, content.meta_size(), limits.meta),
            (Item::Key, length(&content.key), limits.key),
            (Item::Compact, length(&content.compact), limits.key),
            (Item::ContentType, length(&content.content_type), limits.key),
            (
                Item::Dedup,
                self.dedup.as_deref().map_or(0, str::len),
                limits.key,
            ),
        ] {
            if bytes > limit {
                return Err(TopicError::TooLarge {
                    item,
                    index,
                    bytes,
                    limit,
                });
            }
        }
        let mut record = NewRecord::new(draw_mark(), content);
        record.dedup = self.dedup;
        Ok(record)
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").finish_non_exhaustive()
    }
}

/// A value, without anything beside it.
impl From<Value> for Entry {
    fn from(value: Value) -> Self {
        Self::new(Payload::Ejson(encode(&value)))
    }
}

fn encode(value: &Value) -> Result<Bytes, TopicError> {
    if matches!(value, Value::Undefined) {
        let cause = "undefined is not a value of a record";
        return Err(TopicError::NotEncoded(Arc::from(Box::from(cause))));
    }
    check(Bytes::from(ejson::to_ejson(value)))
}

/// What is stored must be readable, see `Message::value`.
fn check(text: Bytes) -> Result<Bytes, TopicError> {
    match ejson::scan(&text, &LIMITS) {
        Ok(_) => Ok(text),
        // Nobody sees it, so it is named.
        Err(_) if text.starts_with("\u{feff}".as_bytes()) => {
            let cause = "it begins with a byte order mark, which JSON does not have";
            Err(TopicError::NotEncoded(Arc::from(Box::from(cause))))
        }
        Err(error) => Err(TopicError::NotEncoded(Arc::new(error))),
    }
}
