//! One message of a channel: checked once when it is received, then shared by everything in this
//! process. Other forms of it (the tree, its re-encoded texts) are made when first asked for, at
//! most once.

use std::error::Error;
use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde::de::DeserializeOwned;
use updraft_protocol::ejson::{self, JsonLimits, Scan, ScanError, Value};
use updraft_protocol::message::Printed;

use crate::channel::InternalChannel;

/// A message as a mapping function gets it.
///
/// There is one per message and process, however many subscribers it has; nobody can alter what
/// another sees.
pub struct Message {
    channel: Arc<str>,
    payload: Printed,
    scan: Scan,
    limits: JsonLimits,
    /// Filled by the first who asks for another form; lives as long as the message.
    decoded: OnceLock<Box<Decoded>>,
}

/// The other forms of a message; none is larger than a small multiple of the payload. Most messages
/// have none.
struct Decoded {
    value: Value,
    ejson: OnceLock<Printed>,
    json: OnceLock<Printed>,
}

/// What a payload may be.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct PayloadLimits {
    /// Bytes of its text: 1 MiB by default.
    pub bytes: usize,
    /// How it may be nested: 64 levels by default, with as many entries as there is room for.
    pub json: JsonLimits,
}

/// Why a payload was dropped.
#[derive(Debug)]
#[non_exhaustive]
pub enum PayloadError {
    /// It has more bytes than it may have.
    TooLarge,
    /// It is not one JSON value in UTF-8, or nested too deeply.
    Invalid(ScanError),
}

/// A message is not what the mapping function expected.
#[derive(Debug)]
pub struct MessageParseError(Box<dyn Error + Send + Sync>);

impl Message {
    /// Checks a payload, in one pass and without building a tree: UTF-8, one JSON value, depth and
    /// size.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    #[doc(hidden)]
    pub fn check(
        channel: Arc<str>,
        payload: Bytes,
        limits: &PayloadLimits,
    ) -> Result<Self, PayloadError> {
        let scan = limits.check(&payload)?;
        Ok(Self {
            channel,
            payload: payload.into(),
            scan,
            limits: limits.json,
            decoded: OnceLock::new(),
        })
    }

    /// The channel it came on.
    pub fn channel(&self) -> &str {
        &self.channel
    }

    /// The text as it was received: one JSON value in UTF-8, byte for byte what the emitter sent.
    pub fn payload(&self) -> &Bytes {
        self.payload.bytes()
    }

    /// The value, with EJSON's types decoded; what looks like EJSON but is of no known type is left
    /// as it came.
    ///
    /// Built at the first call in this process.
    pub fn value(&self) -> &Value {
        &self.decoded().value
    }

    /// The value as a type of the caller's.
    ///
    /// # Errors
    ///
    /// When the value is not of that shape.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, MessageParseError> {
        // The text is the shorter way, but only where it has nothing to decode; and where it has a
        // lone surrogate, which a Rust string cannot hold, the value has the replacement character.
        if !self.scan.special
            && let Ok(value) = serde_json::from_slice(self.payload())
        {
            return Ok(value);
        }
        ejson::from_value(self.value().clone()).map_err(|error| MessageParseError(error.into()))
    }

    /// Whether it came on this channel of the server's own.
    #[doc(hidden)]
    pub fn is_on(&self, channel: InternalChannel) -> bool {
        *self.channel == *channel.name()
    }

    /// What the check noted on the way.
    #[doc(hidden)]
    pub fn scan(&self) -> Scan {
        self.scan
    }

    /// Whether JavaScript takes the value for false: then it is not an event.
    pub fn is_falsy(&self) -> bool {
        if self.scan.special {
            self.value().is_falsy()
        } else {
            self.scan.falsy
        }
    }

    /// The value as EJSON text: the payload itself where it has no `$` keys, else encoded anew,
    /// once.
    #[doc(hidden)]
    pub fn ejson_text(&self) -> &Printed {
        if !self.scan.special {
            return &self.payload;
        }
        let Decoded { value, ejson, .. } = self.decoded();
        ejson.get_or_init(|| ejson::to_ejson(value).into())
    }

    /// The value as plain JSON text, as JavaScript's `JSON.stringify` has it: the payload itself
    /// where it has no `$` keys, else encoded anew, once.
    #[doc(hidden)]
    pub fn json_text(&self) -> &Printed {
        if !self.scan.special {
            return &self.payload;
        }
        let Decoded { value, json, .. } = self.decoded();
        json.get_or_init(|| ejson::to_json(value).into())
    }

    fn decoded(&self) -> &Decoded {
        self.decoded.get_or_init(|| {
            // `check` has seen one JSON value within the same limits, so neither step fails.
            let text = std::str::from_utf8(self.payload()).unwrap_or("null");
            let value = ejson::parse(text, &self.limits);
            Box::new(Decoded {
                value: value.map_or(Value::Null, Value::decode_lenient),
                ejson: OnceLock::new(),
                json: OnceLock::new(),
            })
        })
    }
}

impl fmt::Debug for Message {
    // Payloads do not belong in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("channel", &self.channel)
            .field("bytes", &self.payload().len())
            .finish_non_exhaustive()
    }
}

impl PayloadLimits {
    pub(crate) fn check(&self, payload: &[u8]) -> Result<Scan, PayloadError> {
        if payload.len() > self.bytes {
            return Err(PayloadError::TooLarge);
        }
        ejson::scan(payload, &self.json).map_err(PayloadError::Invalid)
    }
}

impl Default for PayloadLimits {
    fn default() -> Self {
        // The size bounds how many members there can be.
        Self {
            bytes: 1024 * 1024,
            json: JsonLimits::new(64, usize::MAX),
        }
    }
}

impl fmt::Display for PayloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => f.write_str("larger than allowed"),
            Self::Invalid(error) => error.fmt(f),
        }
    }
}

impl Error for PayloadError {}

impl fmt::Display for MessageParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the message is not of the expected shape")
    }
}

impl Error for MessageParseError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}
