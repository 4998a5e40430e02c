//! DDP messages: what a client may say, and the exact bytes of what a server answers.
//!
//! A frame is one JSON object. EJSON lives in `fields`, `params` and `result` only; everything else is plain JSON.

mod client;
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
pub(crate) use event::{EventShape, EventValue};
pub(crate) use server::answered_call;

/// A DDP message on its way to a client.
///
/// An event keeps the part that all subscribers share as a reference until it is written.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Frame {
    /// A message of its own, complete.
    Text(Box<str>),
    /// A message of the connection, not of the session: `connected`, a ping, a pong. A client that resumes its session
    /// over another connection has no use for it.
    Transient(Box<str>),
    /// An event: what is particular to the subscription, then what is shared.
    Event {
        /// The frame up to the event's value.
        head: Head,
        /// The event's value and the brackets that end the frame.
        tail: Tail,
    },
}

impl Frame {
    /// Length in bytes of the message's text.
    pub fn len(&self) -> usize {
        FrameRef::from(self).len()
    }

    /// Whether there is nothing in it; no DDP message is empty.
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
