//! Records as a reader gets them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use updraft_protocol::ejson::{self, JsonLimits, Value};

use crate::loss::{Gap, Reset};
use crate::{Cause, Epoch, Offset, Position, Record, TopicError, TopicName};

/// A record of a topic, and its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    record: Record,
    position: Position,
}

/// What a reader receives.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Received {
    /// A record.
    Message(Message),
    /// Records are missing here.
    Gap(Gap),
    /// What was read before this may be wrong.
    Reset(Reset),
}

/// Limits on a value: those of the bus.
pub(crate) const LIMITS: JsonLimits = JsonLimits::new(64, usize::MAX);

impl Message {
    pub(crate) fn new(topic: &TopicName, epoch: Epoch, record: Record) -> Self {
        Self {
            position: Position::new(topic, epoch, record.offset, record.mark),
            record,
        }
    }

    /// The position: reading from it continues with the next record.
    pub const fn position(&self) -> Position {
        self.position
    }

    /// The number of the record in the topic.
    pub const fn offset(&self) -> Offset {
        self.record.offset
    }

    /// When it was stored, in milliseconds since 1970 by the store's clock.
    pub const fn time(&self) -> u64 {
        self.record.time
    }

    /// The key.
    pub fn key(&self) -> Option<&str> {
        self.record.content.key.as_deref()
    }

    /// The compact id: what this is the latest state of.
    pub fn compact(&self) -> Option<&str> {
        self.record.content.compact.as_deref()
    }

    /// The named texts beside the payload.
    pub const fn meta(&self) -> &BTreeMap<String, String> {
        &self.record.content.meta
    }

    /// The type of the payload; `None` if it is EJSON.
    pub fn content_type(&self) -> Option<&str> {
        self.record.content.content_type.as_deref()
    }

    /// The payload as it was stored; `None` in a tombstone.
    pub const fn payload(&self) -> Option<&Bytes> {
        self.record.content.payload.as_ref()
    }

    /// The bytes that it counts for in limits, see [`Content::size`](crate::Content::size).
    pub fn size(&self) -> usize {
        self.record.content.size()
    }

    /// The value, with EJSON's types decoded; what looks like EJSON but has no known type stays a
    /// plain object. Decoded anew at each call.
    ///
    /// # Errors
    ///
    /// [`TopicError::NotDecoded`] if the payload is not EJSON, or there is none.
    pub fn value(&self) -> Result<Value, TopicError> {
        let payload = match (self.content_type(), self.payload()) {
            (Some(_), _) => return Err(self.not_decoded("it has a content type".into())),
            (None, None) => return Err(self.not_decoded("it is a tombstone".into())),
            (None, Some(payload)) => payload,
        };
        let text = std::str::from_utf8(payload).map_err(|error| self.not_decoded(error.into()))?;
        match ejson::parse(text, &LIMITS) {
            Ok(value) => Ok(value.decode_lenient()),
            Err(error) => Err(self.not_decoded(error.into())),
        }
    }

    /// The value as a type of the caller's choice.
    ///
    /// # Errors
    ///
    /// [`TopicError::NotDecoded`] if the payload is not EJSON, is missing, or has not the shape of
    /// that type.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, TopicError> {
        ejson::from_value(self.value()?).map_err(|error| self.not_decoded(error.into()))
    }

    fn not_decoded(&self, cause: Box<dyn std::error::Error + Send + Sync>) -> TopicError {
        let cause: Cause = Arc::from(cause);
        TopicError::NotDecoded {
            position: self.position,
            cause,
        }
    }
}
