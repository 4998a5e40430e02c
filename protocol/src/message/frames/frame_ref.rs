//! A reference to one message, in a queue or by itself.

use super::super::{EventShape, EventValue, Frame, Head, Printed, Tail};

/// A reference to one message of [`Frames`](super::Frames), or to a [`Frame`].
#[derive(Clone, Copy, Debug)]
pub struct FrameRef<'a> {
    pub(super) kind: FrameKind,
    /// The head, if the message is an event.
    pub(super) head: Option<&'a Head>,
    pub(super) text: TextRef<'a>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum TextRef<'a> {
    Inline(&'a [u8]),
    Separate(&'a Printed),
}

/// The kind of a message, which says what surrounds its own text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FrameKind {
    Message,
    Transient,
    Raw,
    Event(EventShape),
}

impl<'a> FrameRef<'a> {
    /// Length of the message's text in bytes.
    pub fn len(self) -> usize {
        let head = self.head.map_or(0, |head| head.as_str().len());
        self.kind.len(head, self.value().len())
    }

    /// Whether the text is empty; no DDP message is.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Whether it belongs to the session, so that a client that has missed it gets it over another
    /// connection.
    pub fn is_kept(self) -> bool {
        self.kind.is_kept()
    }

    /// Whether it is a record of a topic.
    pub(crate) fn is_record(self) -> bool {
        self.kind.is_record()
    }

    /// The host's [own bytes](super::Frames::push_raw), if it is no message.
    pub fn as_raw(self) -> Option<&'a [u8]> {
        (self.kind == FrameKind::Raw).then(|| self.value())
    }

    /// The text, if it is a [complete message](Frame::Text).
    pub(crate) fn as_message(self) -> Option<&'a str> {
        let text = (self.kind == FrameKind::Message).then(|| self.value());
        text.and_then(|text| std::str::from_utf8(text).ok())
    }

    /// Appends the message's text.
    pub fn write(self, out: &mut Vec<u8>) {
        let (open, close) = self.brackets();
        if let Some(head) = self.head {
            out.extend_from_slice(head.as_str().as_bytes());
        }
        out.extend_from_slice(open.as_bytes());
        out.extend_from_slice(self.value());
        out.extend_from_slice(close.as_bytes());
    }

    /// The head, if it is an event.
    pub(crate) fn head(self) -> Option<&'a Head> {
        self.head
    }

    /// The brackets around the value of an event.
    pub(crate) fn brackets(self) -> (&'static str, &'static str) {
        self.kind.brackets()
    }

    /// The value of an event, or the whole text of another message.
    pub(crate) fn value(self) -> &'a [u8] {
        match self.text {
            TextRef::Inline(text) => text,
            TextRef::Separate(text) => text.bytes(),
        }
    }

    /// The value as escaped in a SockJS frame, if it is stored with the value; `escape` appends it.
    pub(crate) fn escaped_value(
        self,
        escape: impl FnOnce(&[u8], &mut Vec<u8>),
    ) -> Option<&'a [u8]> {
        match (self.kind, self.text) {
            (FrameKind::Event(_), TextRef::Separate(text)) => Some(text.escaped(escape)),
            _ => None,
        }
    }

    /// A frame with this message; `None` for raw bytes.
    pub fn to_frame(self) -> Option<Frame> {
        let text = || Box::from(String::from_utf8_lossy(self.value()));
        Some(match self.kind {
            FrameKind::Message => Frame::Text(text()),
            FrameKind::Transient => Frame::Transient(text()),
            FrameKind::Raw => return None,
            FrameKind::Event(shape) => {
                let text = match self.text {
                    TextRef::Inline(text) => {
                        EventValue::Own(Box::from(String::from_utf8_lossy(text)))
                    }
                    TextRef::Separate(text) => EventValue::Shared(text.clone()),
                };
                Frame::Event {
                    head: self.head?.clone(),
                    tail: Tail::of(text, shape),
                }
            }
        })
    }
}

impl<'a> From<&'a Frame> for FrameRef<'a> {
    fn from(frame: &'a Frame) -> Self {
        let of = |kind, text: &'a str| FrameRef {
            kind,
            head: None,
            text: TextRef::Inline(text.as_bytes()),
        };
        match frame {
            Frame::Text(text) => of(FrameKind::Message, text),
            Frame::Transient(text) => of(FrameKind::Transient, text),
            Frame::Event { head, tail } => FrameRef {
                kind: FrameKind::Event(tail.shape()),
                head: Some(head),
                text: match tail.text() {
                    EventValue::Own(text) => TextRef::Inline(text.as_bytes()),
                    EventValue::Shared(text) => TextRef::Separate(text),
                },
            },
        }
    }
}

impl FrameKind {
    /// Length of a message with this length of its head, if it has one, and of its own text.
    pub(super) fn len(self, head: usize, text: usize) -> usize {
        match self {
            Self::Event(shape) => head.saturating_add(text).saturating_add(shape.len()),
            Self::Message | Self::Transient | Self::Raw => text,
        }
    }

    /// Whether it belongs to the session, not to its connection.
    pub(super) fn is_kept(self) -> bool {
        matches!(self, Self::Message | Self::Event(_))
    }

    /// Whether it is a record of a topic.
    pub(super) fn is_record(self) -> bool {
        matches!(self, Self::Event(shape) if shape.is_record())
    }

    pub(super) fn brackets(self) -> (&'static str, &'static str) {
        match self {
            Self::Event(shape) => shape.brackets(),
            Self::Message | Self::Transient | Self::Raw => ("", ""),
        }
    }
}
