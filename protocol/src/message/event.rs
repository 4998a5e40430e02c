//! An event in its two parts: the head, which stands before the value and belongs to one
//! subscription, and the tail, which all subscribers share.

use std::sync::{Arc, OnceLock};

use arcstr::ArcStr;
use bytes::Bytes;

/// The text of an event before its value. Clones share the text.
#[derive(Clone, Debug)]
pub struct Head(ArcStr);

/// The text of an event after its head: the value, printed once for all subscribers, and the
/// brackets around it.
#[derive(Clone, Debug)]
pub struct Tail {
    text: EventValue,
    shape: EventShape,
}

/// The value of an event.
#[derive(Clone, Debug)]
pub(crate) enum EventValue {
    /// Several subscribers share it.
    Shared(Printed),
    /// Made for one subscriber.
    Own(Box<str>),
}

/// A value that was printed once. Clones share the text.
#[derive(Clone, Debug)]
pub struct Printed(Arc<Body>);

#[derive(Debug)]
struct Body {
    plain: Bytes,
    /// The text as escaped in a SockJS frame. Made for the first client that needs it, shared by
    /// the others.
    escaped: OnceLock<Box<[u8]>>,
}

/// The brackets around a value, by encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventShape {
    Vent,
    Fields,
    /// As `Vent`, for a record of a topic.
    VentRecord,
    /// As `Fields`, for a record of a topic.
    FieldsRecord,
    /// A value that is not an array becomes the only argument.
    OneArgument,
}

impl Head {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the two are clones of each other. This does not compare the text.
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

    /// The text as escaped in a SockJS frame; `escape` appends it.
    pub(crate) fn escaped(&self, escape: impl FnOnce(&[u8], &mut Vec<u8>)) -> &[u8] {
        let Body { plain, escaped } = &*self.0;
        escaped.get_or_init(|| {
            let mut out = Vec::with_capacity(plain.len() + plain.len() / 8);
            escape(plain, &mut out);
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
    pub(crate) fn of(text: EventValue, shape: EventShape) -> Self {
        Self { text, shape }
    }

    /// The same tail in a form that many subscribers can share.
    #[must_use]
    pub fn shared(self) -> Self {
        Self::of(EventValue::Shared(self.text.into()), self.shape)
    }

    /// Bytes of the text.
    pub fn len(&self) -> usize {
        let value = match &self.text {
            EventValue::Shared(text) => text.bytes().len(),
            EventValue::Own(text) => text.len(),
        };
        value.saturating_add(self.shape.len())
    }

    /// Whether there is no text; there are always the brackets.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn text(&self) -> &EventValue {
        &self.text
    }

    pub(crate) fn shape(&self) -> EventShape {
        self.shape
    }

    pub(crate) fn into_parts(self) -> (EventValue, EventShape) {
        (self.text, self.shape)
    }
}

impl From<EventValue> for Printed {
    fn from(text: EventValue) -> Self {
        match text {
            EventValue::Shared(text) => text,
            EventValue::Own(text) => Bytes::from(text.into_boxed_bytes()).into(),
        }
    }
}

impl EventShape {
    /// Bytes of the brackets.
    pub(crate) fn len(self) -> usize {
        let (open, close) = self.brackets();
        open.len().saturating_add(close.len())
    }

    /// Whether the event is a record of a topic, which the client can get again from there.
    pub(crate) fn is_record(self) -> bool {
        matches!(self, Self::VentRecord | Self::FieldsRecord)
    }

    /// The text before the value, and the text after it.
    pub(crate) fn brackets(self) -> (&'static str, &'static str) {
        match self {
            Self::Vent | Self::VentRecord => ("", "}"),
            Self::Fields | Self::FieldsRecord => ("", "}}"),
            Self::OneArgument => ("[", "]}}"),
        }
    }
}
