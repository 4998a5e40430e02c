//! What handlers tell their sessions, and the addresses they send it to. Handlers and sessions do
//! not know each other: the owner of the connections receives mail through [`Post`].
//!
//! Order is kept: mail of one handler arrives in the order in which it was sent. Sending never
//! waits. Mail is bounded by the memory limit of the process: while much of it is on its way to a
//! client, the client's handlers wait at their next await of a context.

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
use updraft_topics::TopicError;

use crate::cursor::Cursor;
use crate::feed::{Beginning, Feed, Policies};
use crate::mapping::{Event, Mapper, OnGap, OnLost, RecordMapper};

/// A connection's place in its shard. Indexes are reused, so a place also has a number that is
/// never reused.
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
    /// What has the client of this Vent publication asked for?
    Requested(Run, WhatWasRequested),
    /// Follow a topic.
    Follow(Run, Box<FollowTopic>),
    /// Where the follower of a topic goes on that has lost records.
    GoOn(Run, Box<Result<Beginning, TopicError>>),
    /// The event that an asynchronous mapping function returned for a message.
    Event {
        run: Run,
        message: Arc<Message>,
        event: Event,
    },
    /// An event that its handler sends, of which the handler bounds how many there are.
    OwnEvent(Run, Event, Sent),
    /// This call changes the user.
    SetUser(Run, Option<Arc<str>>, UserChanged),
    BeginWrite(Run),
    EndWrite(Run),
    /// A publication's handler waits for its client.
    Waits(Run),
    /// It has stopped waiting.
    GoesOn(Run),
    Close,
    /// A message for a client of a SockJS service that the program provides.
    Text(Box<str>),
    /// A handler of such a service has read a message.
    Read,
    /// Close with this code and reason.
    CloseWith(u16, Box<str>),
}

/// Resolved with the Vent id and the other parameters; dropped when the subscription is over.
pub(crate) type WhatWasRequested = oneshot::Sender<(Arc<str>, Vec<Value>)>;

/// Resolved when a change of the user is complete or refused; dropped when the session is gone.
pub(crate) type UserChanged = oneshot::Sender<Result<(), Unblocked>>;

/// Resolved when an event is on its way to the client; dropped when it will never be.
pub(crate) type Sent = oneshot::Sender<()>;

/// A document as a handler publishes it, with its id as on the wire.
pub(crate) struct Document {
    pub(crate) collection: String,
    pub(crate) id: String,
    pub(crate) fields: Fields,
}

/// What follows a topic for a subscription.
pub(crate) struct FollowTopic {
    pub(crate) feed: Arc<Feed>,
    pub(crate) beginning: Beginning,
    pub(crate) mapper: RecordMapper,
    pub(crate) policies: Policies,
    pub(crate) on_lost: Option<OnLost>,
    /// Keeps the place of a client that does not.
    pub(crate) cursor: Option<Cursor>,
}

impl Mail {
    /// The bytes that it counts for: exact enough to bound memory, cheap enough to compute for each
    /// mail.
    fn size(&self) -> usize {
        const SMALL: usize = 128;
        match self {
            Self::Added(_, document) | Self::Changed(_, document) => document.size() + SMALL,
            Self::Event { message, event, .. } => event.size(Some(message)) + SMALL,
            Self::OwnEvent(_, event, _) => event.size(None) + SMALL,
            Self::Text(text) => text.len() + SMALL,
            Self::Returned(_, Ok(value)) => value.memory() + SMALL,
            _ => SMALL,
        }
    }

    /// Whether it may be read later, when the client has taken more. Mail that decides which
    /// messages reach the session must not be late, or earlier messages would be lost.
    pub(crate) fn can_wait(&self) -> bool {
        !matches!(
            self,
            Self::On { .. }
                | Self::OnGap(..)
                | Self::Requested(..)
                | Self::Follow(..)
                | Self::GoOn(..)
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
