//! What handlers tell their sessions, and where they send it. Neither end's insides are known here: whoever owns the
//! connections takes mail in by [`Post`].
//!
//! Order is kept: what one handler sends arrives as it was sent. Sending never waits. Mail is bounded by the memory of the
//! process: while much of it is on its way to a client, its handlers wait where they await something.

mod address;
mod backlog;

pub(crate) use address::{Address, Post};
pub(crate) use backlog::Backlog;

use std::sync::Arc;

use tokio::sync::oneshot;
use updraft_bus::{Lease, Message};
use updraft_protocol::ejson::Value;
use updraft_protocol::message::WireError;
use updraft_protocol::session::{Run, Unblocked};
use updraft_protocol::view::Fields;

use crate::mapping::{Event, Mapper, OnGap};

/// A connection's place in its shard. Places are used again, so it carries a number that is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) index: usize,
    pub(crate) generation: u64,
}

/// What a handler can tell its session.
pub(crate) enum Mail {
    Published(Run, Result<(), WireError>),
    Returned(Run, Result<Value, WireError>),
    Unblock(Run),
    HoldReady(Run),
    Ready(Run),
    Added(Run, Box<Document>),
    Changed(Run, Box<Document>),
    Removed(Run, Box<(String, String)>),
    Stop(Run, Option<Box<WireError>>),
    /// Call this mapper for each message of these channels.
    On {
        run: Run,
        leases: Vec<Lease>,
        mapper: Mapper,
    },
    OnGap(Run, OnGap),
    /// What an asynchronous mapping function made of a message.
    Event {
        run: Run,
        message: Arc<Message>,
        event: Event,
    },
    /// The user changes, on behalf of this call.
    SetUser(Run, Option<Arc<str>>, UserChanged),
    BeginWrite(Run),
    EndWrite(Run),
    /// A publication's handler waits for its client.
    Waits(Run),
    /// It does not any more.
    GoesOn(Run),
    Close,
    /// A message of a service of the program's own.
    Text(Box<str>),
    /// A handler of such a service has read a message.
    Read,
    /// Close with this code and reason.
    CloseWith(u16, Box<str>),
}

/// Told when a change of the user is complete, or refused; dropped when the session is gone.
pub(crate) type UserChanged = oneshot::Sender<Result<(), Unblocked>>;

/// A document as a handler publishes it, its id as on the wire.
pub(crate) struct Document {
    pub(crate) collection: String,
    pub(crate) id: String,
    pub(crate) fields: Fields,
}

impl Mail {
    /// What it counts for, in bytes: near enough to bound memory, cheap enough to ask for each.
    fn size(&self) -> usize {
        const SMALL: usize = 128;
        match self {
            Self::Added(_, document) | Self::Changed(_, document) => document.size() + SMALL,
            Self::Event { message, event, .. } => event.size(message) + SMALL,
            Self::Text(text) => text.len() + SMALL,
            Self::Returned(_, Ok(value)) => value.memory() + SMALL,
            _ => SMALL,
        }
    }

    /// Whether it may be read later, when the client has taken more. What says which messages are for the session is not
    /// to be late: those that came before it would be lost.
    pub(crate) fn can_wait(&self) -> bool {
        !matches!(
            self,
            Self::On { .. }
                | Self::OnGap(..)
                | Self::Event { .. }
                | Self::Waits(_)
                | Self::GoesOn(_)
                | Self::Read
        )
    }
}

impl Document {
    fn size(&self) -> usize {
        self.collection.len() + self.id.len() + self.fields.memory()
    }
}
