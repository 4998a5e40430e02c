//! The three encodings of an event: the head before its value, and the text around it.
//!
//! | encoding | frame |
//! | --- | --- |
//! | collection | `{"msg":"changed","collection":ID,"id":"id","fields":{"event":E}}` |
//! | vent | `{"msg":"changed","__vent":"1","id":"ID.name","e":E}` |
//! | streamer | `{"msg":"changed","collection":"stream-NAME","id":"id","fields":{"eventName":N,"args":[…]}}` |

mod delivery;

use std::fmt;

use bytes::Bytes;

pub use delivery::EventDelivery;

use crate::message::{EventShape, EventValue, Printed, Tail};

/// How the events of a subscription are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "the fan-out has a place for each")]
pub enum Encoding {
    /// `changed` on a collection of the subscription's own; any DDP client understands it.
    Collection,
    /// The frame that redis-oplog's `Vent.subscribe` expects. Its value is plain JSON.
    Vent,
    /// As [`Vent`](Self::Vent), with the value in EJSON.
    VentEjson,
    /// Rocket.Chat's `stream-NAME`.
    Streamer,
}

/// Which encoding a Vent publication uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodingChoice {
    /// Chosen by the Vent id: exactly 17 characters of Meteor's id alphabet mean redis-oplog's
    /// frames, as [`Vent`](Self::Vent), anything else a collection, as
    /// [`Collection`](Self::Collection). The alphabet is
    /// `23456789ABCDEFGHJKLMNPQRSTWXYZabcdefghijkmnopqrstuvwxyz`.
    #[default]
    Auto,
    /// Always `changed` messages on a collection of the subscription's own, which any DDP client
    /// understands.
    Collection,
    /// Always the frames that redis-oplog's `Vent.subscribe` expects.
    Vent,
}

/// Settings of one Vent publication.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct VentOptions {
    /// The encoding; `None` uses the server's setting.
    pub encoding: Option<EncodingChoice>,
    /// Whether the collection encoding has `"n"`, the event's number in its subscription, before
    /// `"event"`.
    pub numbered: bool,
    /// Whether the vent encoding carries EJSON instead of the plain JSON that redis-oplog has
    /// always sent.
    pub ejson: bool,
}

impl VentOptions {
    /// The defaults: the server's choice of encoding, no numbers, plain JSON in the vent encoding.
    pub fn new() -> Self {
        Self::default()
    }

    /// Uses this encoding whatever the server's setting.
    #[must_use]
    pub fn encoding(mut self, choice: EncodingChoice) -> Self {
        self.encoding = Some(choice);
        self
    }

    /// Numbers the events of each subscription from 1, as `"n"` before `"event"` in the collection
    /// encoding. A number is skipped where events may be missing, so that the client can see the
    /// gap. The numbers also show a client whether it saw each event, if its API only shows the
    /// latest document of a collection.
    #[must_use]
    pub fn numbered(mut self) -> Self {
        self.numbered = true;
        self
    }

    /// Sends EJSON in the vent encoding too. Stock redis-oplog clients then see `{"$date":…}` where
    /// they saw a string.
    #[must_use]
    pub fn ejson(mut self) -> Self {
        self.ejson = true;
        self
    }
}

impl Encoding {
    /// Whether the value is printed as EJSON; otherwise as plain JSON.
    pub fn is_ejson(self) -> bool {
        self != Self::Vent
    }

    /// Puts a printed value into the text around it; `is_array` says whether the value is an array.
    pub fn tail(self, value: impl Into<Printed>, is_array: bool) -> Tail {
        Tail::of(EventValue::Shared(value.into()), self.shape(is_array))
    }

    /// As [`tail`](Self::tail), for an event that only one subscriber gets.
    pub fn own_tail(self, value: Box<str>, is_array: bool) -> Tail {
        Tail::of(EventValue::Own(value), self.shape(is_array))
    }

    /// As [`tail`](Self::tail), for a record of a topic: its position follows the value. Many
    /// subscribers can share it.
    pub fn record_tail(self, value: &str, position: &impl fmt::Display) -> Tail {
        let (name, shape) = match self {
            Self::Vent | Self::VentEjson => ("p", EventShape::VentRecord),
            Self::Collection | Self::Streamer => ("position", EventShape::FieldsRecord),
        };
        let text = format!(r#"{value},"{name}":"{position}""#);
        Tail::of(EventValue::Shared(Bytes::from(text).into()), shape)
    }

    fn shape(self, is_array: bool) -> EventShape {
        match self {
            Self::Vent | Self::VentEjson => EventShape::Vent,
            Self::Collection => EventShape::Fields,
            Self::Streamer if is_array => EventShape::Fields,
            Self::Streamer => EventShape::OneArgument,
        }
    }
}
