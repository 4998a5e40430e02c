//! The result of a mapping function.

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use updraft_bus::Message;
use updraft_protocol::ejson::{self, JsonLimits, Print, Scan, Value};
use updraft_protocol::message::Tail;
use updraft_protocol::vent::Encoding;
use updraft_topics as topics;

use crate::base::error::Result;

/// A longer text is shared by its receivers instead of copied for each.
const LONG: usize = 4 * 1024;

/// An event for a client, or none.
///
/// Most mapping functions return `Option<impl Serialize>`, which is converted to an event.
#[derive(Clone, Debug, Default)]
pub struct Event(EventKind);

#[derive(Clone, Debug, Default)]
enum EventKind {
    #[default]
    Nothing,
    AsItCame,
    /// Printed when it was created. It contains no EJSON types, so every encoding has this text.
    Plain(Box<str>),
    /// Like `Plain`, and the value is an array.
    Array(Box<str>),
    /// Like `Plain` or `Array`, but long, so that clones share the text.
    Long {
        text: Bytes,
        array: bool,
    },
    /// Printed once the encoding is known.
    Value(Arc<Value>),
}

impl Event {
    /// No event.
    pub fn none() -> Self {
        Self(EventKind::Nothing)
    }

    /// An event for any value, including those that JavaScript treats as false, which otherwise
    /// mean no event.
    ///
    /// The value may be serialized twice, for example if it contains a date.
    ///
    /// # Errors
    ///
    /// If the value cannot be written as EJSON.
    pub fn always(value: impl Serialize) -> Result<Self> {
        Ok(Self::printed(ejson::print(&value)?))
    }

    fn printed(print: Print) -> Self {
        Self(match print {
            Print::Plain { text, array, .. } if text.len() > LONG => EventKind::Long {
                text: text.into_boxed_bytes().into(),
                array,
            },
            Print::Plain { text, array, .. } if array => EventKind::Array(text),
            Print::Plain { text, .. } => EventKind::Plain(text),
            Print::Value(value) => EventKind::Value(Arc::new(value)),
        })
    }

    /// The event as it is sent in an encoding; `None` for no event.
    pub(crate) fn into_tail(self, message: &Message, encoding: Encoding) -> Option<Tail> {
        self.tail(Some(message), encoding)
    }

    /// Like [`into_tail`](Self::into_tail), for an event that does not come from a message.
    pub(crate) fn into_tail_alone(self, encoding: Encoding) -> Option<Tail> {
        self.tail(None, encoding)
    }

    /// The event of a record as it is sent in an encoding, in a form that many subscribers can
    /// share; `None` for no event.
    pub(crate) fn into_record_tail(
        self,
        record: &topics::Message,
        encoding: Encoding,
    ) -> Option<Tail> {
        let of_value = |value: &Value| {
            if encoding.is_ejson() {
                ejson::to_ejson(value)
            } else {
                ejson::to_json(value)
            }
        };
        let position = record.position();
        let tail = |text: &str| encoding.record_tail(text, &position);
        Some(match self.0 {
            EventKind::Nothing => return None,
            EventKind::AsItCame => {
                let (payload, scan) = scanned(record)?;
                if scan.special {
                    let value = record.value().ok().filter(|value| !value.is_falsy())?;
                    tail(&of_value(&value))
                } else if scan.falsy {
                    return None;
                } else {
                    tail(payload)
                }
            }
            EventKind::Plain(text) | EventKind::Array(text) => tail(&text),
            EventKind::Long { text, .. } => tail(std::str::from_utf8(&text).ok()?),
            EventKind::Value(value) => tail(&of_value(&value)),
        })
    }

    fn tail(self, message: Option<&Message>, encoding: Encoding) -> Option<Tail> {
        Some(match self.0 {
            EventKind::Nothing => return None,
            EventKind::AsItCame => {
                let message = message.filter(|message| !message.is_falsy())?;
                let text = if encoding.is_ejson() {
                    message.ejson_text()
                } else {
                    message.json_text()
                };
                encoding.tail(text.clone(), message.scan().array)
            }
            EventKind::Plain(text) => encoding.own_tail(text, false),
            EventKind::Array(text) => encoding.own_tail(text, true),
            EventKind::Long { text, array } => encoding.tail(text, array),
            EventKind::Value(value) => {
                let text = if encoding.is_ejson() {
                    ejson::to_ejson(&value)
                } else {
                    ejson::to_json(&value)
                };
                encoding.own_tail(text.into_boxed_str(), matches!(*value, Value::Array(_)))
            }
        })
    }

    /// Whether it is the unchanged message.
    pub(crate) fn is_as_it_came(&self) -> bool {
        matches!(self.0, EventKind::AsItCame)
    }

    /// Roughly how much memory it takes, with the message that it comes from.
    pub(crate) fn size(&self, message: Option<&Message>) -> usize {
        match &self.0 {
            EventKind::Nothing => 0,
            EventKind::AsItCame => message.map_or(0, |message| message.payload().len()),
            EventKind::Plain(text) | EventKind::Array(text) => text.len(),
            EventKind::Long { text, .. } => text.len(),
            EventKind::Value(value) => value.memory(),
        }
    }
}

/// The payload of a record, if it is EJSON.
fn scanned(record: &topics::Message) -> Option<(&str, Scan)> {
    const LIMITS: JsonLimits = JsonLimits::new(64, usize::MAX);
    let payload = record
        .payload()
        .filter(|_| record.content_type().is_none())?;
    let scan = ejson::scan(payload, &LIMITS).ok()?;
    Some((std::str::from_utf8(payload).ok()?, scan))
}

/// Turns a [`Message`] of the bus, or a [record](topics::Message) of a topic, into an event.
pub trait MessageEvent {
    /// The unchanged message: the same bytes for every subscriber, and nothing is parsed. Of a
    /// record it is the payload; a tombstone, and a payload that is not EJSON, are no event.
    fn event(&self) -> Event;
}

impl MessageEvent for topics::Message {
    fn event(&self) -> Event {
        Event(EventKind::AsItCame)
    }
}

impl MessageEvent for Message {
    fn event(&self) -> Event {
        Event(EventKind::AsItCame)
    }
}

/// What a mapping function may return: an [`Event`], an `Option` of any serializable type, or a
/// [`Result`](crate::Result) of these. `?` converts other errors to the error of this result.
#[diagnostic::on_unimplemented(
    message = "a mapping function cannot return `{Self}`",
    note = "it returns `Option<T>`, where `T` implements `Serialize`, an `Event`, or an `updraft::Result` of these",
    note = "the error is `updraft::Error`, to which `?` converts others",
    note = "a function that awaits, with an `async` block, is given to `on_async` instead of `on`"
)]
pub trait IntoEvent {
    /// The event.
    ///
    /// # Errors
    ///
    /// An error costs this one event of this one subscription; it is logged and counted.
    fn into_event(self) -> Result<Event>;
}

/// What a function that is called for gaps may return: what a mapping function may, or nothing at
/// all.
#[diagnostic::on_unimplemented(
    message = "a function that is told of gaps cannot return `{Self}`",
    note = "it returns nothing, `Option<T>`, where `T` implements `Serialize`, an `Event`, or an `updraft::Result` of these"
)]
pub trait IntoGapEvent {
    /// The event.
    ///
    /// # Errors
    ///
    /// An error costs this one event; it is logged and counted.
    fn into_gap_event(self) -> Result<Event>;
}

impl<E: IntoEvent> IntoGapEvent for E {
    fn into_gap_event(self) -> Result<Event> {
        self.into_event()
    }
}

impl IntoGapEvent for () {
    fn into_gap_event(self) -> Result<Event> {
        Ok(Event::none())
    }
}

impl IntoEvent for Event {
    fn into_event(self) -> Result<Event> {
        Ok(self)
    }
}

impl IntoEvent for Option<Event> {
    fn into_event(self) -> Result<Event> {
        Ok(self.unwrap_or_default())
    }
}

impl<T: Serialize> IntoEvent for Option<T> {
    fn into_event(self) -> Result<Event> {
        let Some(value) = self else {
            return Ok(Event::none());
        };
        Ok(match ejson::print(&value)? {
            Print::Plain { falsy: true, .. } => Event::none(),
            Print::Value(value) if value.is_falsy() => Event::none(),
            print => Event::printed(print),
        })
    }
}

impl<T: IntoEvent> IntoEvent for Result<T> {
    fn into_event(self) -> Result<Event> {
        self?.into_event()
    }
}
