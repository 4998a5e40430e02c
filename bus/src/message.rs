//! One message of a channel. It is checked once on receipt, then shared by everything in this
//! process. Its other forms (the tree, the re-encoded texts) are made on first use, at most once.

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
/// There is one per message and process, however many subscribers it has; no subscriber can change
/// it for others.
pub struct Message {
    channel: Arc<str>,
    payload: Printed,
    scan: Scan,
    limits: JsonLimits,
    /// Filled by the first caller that asks for another form; lives as long as the message.
    decoded: OnceLock<Box<Decoded>>,
}

/// The other forms of a message. Each is at most a small multiple of the payload. Most messages
/// have none.
struct Decoded {
    value: Value,
    ejson: OnceLock<Printed>,
    json: OnceLock<Printed>,
}

/// Limits on a payload.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct PayloadLimits {
    /// Bytes of its text: 1 MiB by default.
    pub bytes: usize,
    /// Limits on its JSON: 64 levels of nesting by default, with any number of entries that fits
    /// `bytes`.
    pub json: JsonLimits,
}

/// Why a payload was dropped.
#[derive(Debug)]
#[non_exhaustive]
pub enum PayloadError {
    /// It has too many bytes.
    TooLarge,
    /// It is not one JSON value in UTF-8, or is nested too deeply.
    Invalid(ScanError),
}

/// A message does not have the expected shape.
#[derive(Debug)]
pub struct MessageParseError(Box<dyn Error + Send + Sync>);

impl Message {
    /// Checks a payload in one pass, without building a tree: UTF-8, one JSON value, depth and
    /// size.
    ///
    /// # Errors
    ///
    /// What is wrong with the payload.
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

    /// The text as received: one JSON value in UTF-8, byte for byte as emitted.
    pub fn payload(&self) -> &Bytes {
        self.payload.bytes()
    }

    /// The value, with EJSON's types decoded; what looks like EJSON but has no known type stays a
    /// plain object.
    ///
    /// Built on the first call in this process.
    pub fn value(&self) -> &Value {
        &self.decoded().value
    }

    /// A member of the value, if it is an object: `message.get("text")?.as_str()`.
    ///
    /// The value is built on the first call in this process, as by [`value`](Self::value). For all
    /// members at once use [`parse`](Self::parse).
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.value().get(name)
    }

    /// The value as a type of the caller's choice.
    ///
    /// # Errors
    ///
    /// The value does not have the shape of that type.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, MessageParseError> {
        // Parsing the text is faster, but correct only if it has nothing to decode. If it has a
        // lone surrogate, which a Rust string cannot hold, the value has the replacement character
        // instead.
        if !self.scan.special
            && let Ok(value) = serde_json::from_slice(self.payload())
        {
            return Ok(value);
        }
        ejson::from_value(self.value().clone()).map_err(|error| MessageParseError(error.into()))
    }

    /// Whether it came on this internal channel.
    #[doc(hidden)]
    pub fn is_on(&self, channel: InternalChannel) -> bool {
        *self.channel == *channel.name()
    }

    /// What the check found out.
    #[doc(hidden)]
    pub fn scan(&self) -> Scan {
        self.scan
    }

    /// Whether the value is falsy in JavaScript: then it is not an event.
    pub fn is_falsy(&self) -> bool {
        if self.scan.special {
            self.value().is_falsy()
        } else {
            self.scan.falsy
        }
    }

    /// The value as EJSON text: the payload itself if it has no `$` keys, else re-encoded, once.
    #[doc(hidden)]
    pub fn ejson_text(&self) -> &Printed {
        if !self.scan.special {
            return &self.payload;
        }
        let Decoded { value, ejson, .. } = self.decoded();
        ejson.get_or_init(|| ejson::to_ejson(value).into())
    }

    /// The value as plain JSON text, as by JavaScript's `JSON.stringify`: the payload itself if it
    /// has no `$` keys, else re-encoded, once.
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
            // `check` has parsed one JSON value within the same limits, so neither step fails.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn message(payload: &'static [u8]) -> Message {
        Message::check(
            Arc::from("c"),
            Bytes::from_static(payload),
            &PayloadLimits::default(),
        )
        .unwrap()
    }

    fn text(bytes: &[u8]) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn vent_043_047_row_090_what_is_not_one_json_value_is_refused() {
        let large = format!("\"{}\"", "x".repeat(1024 * 1024));
        let deep = "[".repeat(65) + &"]".repeat(65);
        for payload in [
            &b""[..],
            b" ",
            b"{",
            b"nonsense",
            b"{} {}",
            b"\"\xff\"",
            large.as_bytes(),
            deep.as_bytes(),
        ] {
            let payload = Bytes::copy_from_slice(payload);
            let refused =
                Message::check(Arc::from("c"), payload.clone(), &PayloadLimits::default());
            assert!(
                refused.is_err(),
                "{:?}",
                payload.slice(..payload.len().min(20))
            );
        }
    }

    #[test]
    fn vent_046_a_message_without_dollar_keys_is_passed_on_byte_for_byte() {
        for payload in [
            &br#"{"b":1.0, "a":"\u0041"}"#[..],
            br#""str""#,
            b"5",
            b" 5 ",
        ] {
            let message = message(payload);
            assert_eq!(message.payload(), payload);
            assert_eq!(message.ejson_text().bytes(), payload);
            assert_eq!(message.json_text().bytes(), payload);
            assert!(!message.is_falsy());
        }
        assert!(message(b"[]").scan().array);
    }

    #[test]
    fn falsy_is_what_javascript_takes_for_false() {
        for payload in [
            &b"0"[..],
            b"-0",
            b"0.0",
            b"\"\"",
            b"false",
            b"null",
            br#"{"$InfNaN":0}"#,
        ] {
            assert!(message(payload).is_falsy(), "{}", text(payload));
        }
        for payload in [
            &b"1"[..],
            b"\"0\"",
            b"{}",
            b"[]",
            b"true",
            br#"{"$date":0}"#,
        ] {
            assert!(!message(payload).is_falsy(), "{}", text(payload));
        }
    }

    #[test]
    fn vent_044_069_dollar_keys_are_decoded_once_and_written_anew() {
        let date = message(br#"{ "at": {"$date":5} }"#);
        assert_eq!(text(date.ejson_text().bytes()), r#"{"at":{"$date":5}}"#);
        assert_eq!(
            text(date.json_text().bytes()),
            r#"{"at":"1970-01-01T00:00:00.005Z"}"#
        );
        assert!(std::ptr::eq(date.ejson_text(), date.ejson_text()));
        assert!(std::ptr::eq(date.value(), date.value()));
        let escaped = message(br#"{"$escape":{"$date":5}}"#);
        assert_eq!(text(escaped.json_text().bytes()), r#"{"$date":5}"#);
        assert_eq!(
            text(escaped.ejson_text().bytes()),
            r#"{"$escape":{"$date":5}}"#
        );
        let unknown = message(br#"{"$type":"nobody's","$value":1}"#);
        assert_eq!(
            text(unknown.json_text().bytes()),
            r#"{"$type":"nobody's","$value":1}"#
        );
        // A client that does not know the type either gets a plain object instead of an error.
        let plain = r#"{"$escape":{"$type":"nobody's","$value":1}}"#;
        assert_eq!(text(unknown.ejson_text().bytes()), plain);
    }

    #[test]
    fn a_message_is_read_into_the_types_of_who_asks() {
        let plain = message(br#"{"thread":"7","n":2}"#);
        #[derive(serde::Deserialize)]
        struct Note {
            thread: String,
            n: u32,
        }
        let note: Note = plain.parse().unwrap();
        assert_eq!((note.thread.as_str(), note.n), ("7", 2));
        assert!(plain.parse::<Vec<u8>>().is_err());
        let surrogate = message(br#""\ud800x""#);
        assert_eq!(surrogate.parse::<String>().unwrap(), "\u{fffd}x");
    }
}
