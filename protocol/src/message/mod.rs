//! DDP messages: what a client may say, and the exact bytes of what a server answers.
//!
//! A frame is one JSON object. EJSON lives in `fields`, `params` and `result` only; everything else is plain JSON.

mod client;
mod error;
mod server;

pub use client::{Bounds, Call, Quote, Request, Subscribe, Unreadable, decode};
pub use error::{Code, WireError};
pub use server::ServerMessage;

pub(crate) use client::{is_name, is_short};
pub(crate) use server::answered_call;

use crate::vent::{Head, Tail};

/// A DDP message on its way to a client.
///
/// An event keeps the part that all subscribers share as a reference until it is written.
#[derive(Clone, Debug)]
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
        match self {
            Self::Text(text) | Self::Transient(text) => text.len(),
            Self::Event { head, tail } => head.as_str().len().saturating_add(tail.len()),
        }
    }

    /// Whether there is nothing in it; no DDP message is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it is of no use over another connection.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Transient(_))
    }

    /// Appends the message's text.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Text(text) | Self::Transient(text) => out.extend_from_slice(text.as_bytes()),
            Self::Event { head, tail } => {
                out.extend_from_slice(head.as_str().as_bytes());
                tail.write(out);
            }
        }
    }

    /// The message's text, in one piece.
    pub fn to_text(&self) -> String {
        let mut out = Vec::with_capacity(self.len());
        self.write(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }
}
