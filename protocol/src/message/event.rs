//! An event in its two parts: what stands before its value for one subscription (the head) and what all
//! subscribers share (the tail).

use std::sync::{Arc, OnceLock};

use arcstr::ArcStr;
use bytes::Bytes;

/// What stands before the value of an event, up to it; clones are the same text.
#[derive(Clone, Debug)]
pub struct Head(ArcStr);

/// What stands behind the head of an event: its value, which is printed once for all who share it, and the brackets around
/// that.
#[derive(Clone, Debug)]
pub struct Tail {
    text: EventValue,
    shape: EventShape,
}

/// The value of an event.
#[derive(Clone, Debug)]
pub(crate) enum EventValue {
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
pub(crate) enum EventShape {
    Vent,
    Fields,
    /// A value that is not an array becomes the only argument.
    OneArgument,
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

    /// As it stands in a SockJS frame, which is what `escape` appends.
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

    /// The same, for many to have.
    #[must_use]
    pub fn shared(self) -> Self {
        Self::of(EventValue::Shared(self.text.into()), self.shape)
    }

    pub(crate) fn len(&self) -> usize {
        let value = match &self.text {
            EventValue::Shared(text) => text.bytes().len(),
            EventValue::Own(text) => text.len(),
        };
        value.saturating_add(self.shape.len())
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

    /// What stands before the value, and what behind it.
    pub(crate) fn brackets(self) -> (&'static str, &'static str) {
        match self {
            Self::Vent => ("", "}"),
            Self::Fields => ("", "}}"),
            Self::OneArgument => ("[", "]}}"),
        }
    }
}
