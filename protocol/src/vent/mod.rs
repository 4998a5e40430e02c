//! The three encodings of an event: what stands before its value for one subscription (the head) and what all
//! subscribers share (the tail).
//!
//! | encoding | frame |
//! | --- | --- |
//! | collection | `{"msg":"changed","collection":ID,"id":"id","fields":{"event":E}}` |
//! | vent | `{"msg":"changed","__vent":"1","id":"ID.name","e":E}` |
//! | streamer | `{"msg":"changed","collection":"stream-NAME","id":"id","fields":{"eventName":N,"args":[…]}}` |

mod delivery;

pub use delivery::Delivery;

use std::sync::{Arc, OnceLock};

use arcstr::ArcStr;
use bytes::Bytes;

use crate::sockjs;

/// How the events of a subscription are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// `changed` on a collection of the subscription's own; any DDP client reads it.
    Collection,
    /// The frame that redis-oplog's `Vent.subscribe` looks for. Its value is plain JSON.
    Vent,
    /// As [`Vent`](Self::Vent), with the value in EJSON.
    VentEjson,
    /// Rocket.Chat's `stream-NAME`.
    Streamer,
}

/// Which encoding a Vent publication uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Choice {
    /// By the Vent id: exactly 17 characters of Meteor's id alphabet mean [`Encoding::Vent`], anything else
    /// [`Encoding::Collection`].
    #[default]
    Auto,
    /// Always [`Encoding::Collection`].
    Collection,
    /// Always [`Encoding::Vent`].
    Vent,
}

/// Settings of one Vent publication.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct VentOptions {
    /// Which encoding; `None` leaves it to the server's setting.
    pub encoding: Option<Choice>,
    /// Whether the collection encoding says `"n"`, the event's number in its subscription, before `"event"`.
    pub numbered: bool,
    /// Whether the vent encoding carries EJSON instead of the plain JSON that redis-oplog has always sent.
    pub ejson: bool,
}

impl VentOptions {
    /// The defaults: the server's choice of encoding, not numbered, plain JSON in the vent encoding.
    pub fn new() -> Self {
        Self::default()
    }

    /// Uses this encoding whatever the server's setting.
    #[must_use]
    pub fn encoding(mut self, choice: Choice) -> Self {
        self.encoding = Some(choice);
        self
    }

    /// Numbers the events of each subscription from 1, as `"n"` before `"event"` in the collection encoding. A number is
    /// skipped where events may be missing: so a client can see that. It can also tell whether it saw each event, if its API
    /// shows only the latest of a collection.
    #[must_use]
    pub fn numbered(mut self) -> Self {
        self.numbered = true;
        self
    }

    /// Sends EJSON in the vent encoding too. Stock redis-oplog clients then see `{"$date":…}` where they saw a string.
    #[must_use]
    pub fn ejson(mut self) -> Self {
        self.ejson = true;
        self
    }
}

/// What stands before the value of an event, up to it; clones are the same text.
#[derive(Clone, Debug)]
pub struct Head(ArcStr);

/// What stands behind the head of an event: its value, which is printed once for all who share it, and the brackets around
/// that.
#[derive(Clone, Debug)]
pub struct Tail {
    text: Text,
    shape: Shape,
}

/// The value of an event.
#[derive(Clone, Debug)]
pub(crate) enum Text {
    /// There are others who have it.
    Shared(Printed),
    /// Made for one subscriber.
    Own(Box<str>),
}

/// A value, printed once; clones are the same text.
#[derive(Clone, Debug)]
pub struct Printed(Arc<Body>);

#[derive(Debug)]
struct Body {
    plain: Bytes,
    /// As it stands in a SockJS frame. Made for the first client that needs it, shared by the others.
    escaped: OnceLock<Box<[u8]>>,
}

/// The brackets around a value, by encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Vent,
    Fields,
    /// A value that is not an array becomes the only argument.
    OneArgument,
}

impl Encoding {
    /// Whether the value is printed as EJSON; otherwise as plain JSON.
    pub fn is_ejson(self) -> bool {
        self != Self::Vent
    }

    /// Puts a printed value into its brackets; `is_array` says whether the value is an array.
    pub fn tail(self, value: impl Into<Printed>, is_array: bool) -> Tail {
        Tail::of(Text::Shared(value.into()), self.shape(is_array))
    }

    /// As [`tail`](Self::tail), for an event that only one subscriber has.
    pub fn own_tail(self, value: Box<str>, is_array: bool) -> Tail {
        Tail::of(Text::Own(value), self.shape(is_array))
    }

    fn shape(self, is_array: bool) -> Shape {
        match self {
            Self::Vent | Self::VentEjson => Shape::Vent,
            Self::Collection => Shape::Fields,
            Self::Streamer if is_array => Shape::Fields,
            Self::Streamer => Shape::OneArgument,
        }
    }
}

impl Head {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the two are clones of one, which tells without a look at the text.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        ArcStr::ptr_eq(&self.0, &other.0)
    }
}

impl From<String> for Head {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl Printed {
    /// The text.
    pub fn bytes(&self) -> &Bytes {
        &self.0.plain
    }

    /// As it stands in a SockJS frame.
    pub(crate) fn escaped(&self) -> &[u8] {
        let Body { plain, escaped } = &*self.0;
        escaped.get_or_init(|| {
            let mut out = Vec::with_capacity(plain.len() + plain.len() / 8);
            sockjs::escape(plain, &mut out);
            out.into_boxed_slice()
        })
    }
}

impl<T: Into<Bytes>> From<T> for Printed {
    fn from(text: T) -> Self {
        Self(Arc::new(Body {
            plain: text.into(),
            escaped: OnceLock::new(),
        }))
    }
}

impl Tail {
    pub(crate) fn of(text: Text, shape: Shape) -> Self {
        Self { text, shape }
    }

    /// The same, for many to have.
    #[must_use]
    pub fn shared(self) -> Self {
        Self::of(Text::Shared(self.text.into()), self.shape)
    }

    pub(crate) fn len(&self) -> usize {
        let value = match &self.text {
            Text::Shared(text) => text.bytes().len(),
            Text::Own(text) => text.len(),
        };
        value.saturating_add(self.shape.len())
    }

    pub(crate) fn text(&self) -> &Text {
        &self.text
    }

    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    pub(crate) fn into_parts(self) -> (Text, Shape) {
        (self.text, self.shape)
    }
}

impl From<Text> for Printed {
    fn from(text: Text) -> Self {
        match text {
            Text::Shared(text) => text,
            Text::Own(text) => Bytes::from(text.into_boxed_bytes()).into(),
        }
    }
}

impl Shape {
    /// Bytes of the brackets.
    pub(crate) fn len(self) -> usize {
        let (open, close) = self.brackets();
        open.len().saturating_add(close.len())
    }

    /// What stands before the value, and what behind it.
    pub(crate) fn brackets(self) -> (&'static str, &'static str) {
        match self {
            Self::Vent => ("", "}"),
            Self::Fields => ("", "}}"),
            Self::OneArgument => ("[", "]}}"),
        }
    }
}
