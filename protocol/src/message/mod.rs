//! DDP messages: what a client may send, and the exact bytes of a server's answers.
//!
//! A frame is one JSON object. Only `fields`, `params` and `result` hold EJSON; everything else is
//! plain JSON.

mod client;
mod envelope;
mod error;
mod event;
mod frames;
mod server;

pub use client::{ClientRequest, MessageBounds, MethodCall, Quote, Subscribe, Unreadable, decode};
pub use error::{ErrorCode, WireError};
pub use event::{Head, Tail};
pub use server::ServerMessage;
// How the server keeps and writes many of them; subject to no promise.
#[doc(hidden)]
pub use event::Printed;
#[doc(hidden)]
pub use frames::{FrameRef, Frames, FramesIter};

pub(crate) use client::{is_name, is_short, memory};
pub(crate) use envelope::{Members, is_falsy, string as string_of, strings as strings_of};
pub(crate) use event::{EventShape, EventValue};
pub(crate) use server::answered_call;

/// A DDP message for a client.
///
/// An event holds the part that all subscribers share as a reference until it is written.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Frame {
    /// A complete message that is not shared.
    Text(Box<str>),
    /// A message that belongs to the connection, not to the session: `connected`, a ping, a pong.
    /// It is not sent again to a client that resumes its session over another connection.
    Transient(Box<str>),
    /// An event: the subscription's part, then the shared part.
    Event {
        /// The frame up to the event's value.
        head: Head,
        /// The event's value and the brackets that end the frame.
        tail: Tail,
    },
}

impl Frame {
    /// Length of the message's text in bytes.
    pub fn len(&self) -> usize {
        FrameRef::from(self).len()
    }

    /// Whether the text is empty; no DDP message is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends the message's text.
    pub fn write(&self, out: &mut Vec<u8>) {
        FrameRef::from(self).write(out);
    }

    /// The message's text, in one piece.
    pub fn to_text(&self) -> String {
        let mut out = Vec::with_capacity(self.len());
        self.write(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }
}
