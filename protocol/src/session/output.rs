//! What a session asks of its host.

#[cfg(doc)]
use super::Session;
use super::{Run, SessionId};
use crate::ejson::Value;
use crate::message::{ErrorCode, Frame};

/// What a session wants done. The host sends the frames and performs the actions, each in order.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Output {
    /// Messages for the client.
    pub frames: Vec<Frame>,
    /// Things that the host must do.
    pub actions: Vec<Action>,
    /// Messages for the Meteor server behind this one.
    pub upstream: Vec<Box<str>>,
}

/// What a client may ask for by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Requested {
    /// A `sub`.
    Publication,
    /// A `method`.
    Method,
}

/// Something that only the host can do.
#[derive(Debug)]
#[non_exhaustive]
pub enum Action {
    /// The client has connected. From now on the session can be found by its id.
    Connected,
    /// The client had a session before and wants it back. This session waits until the host has
    /// found the earlier one ([`Session::resume`], [`Session::take_backlog`]) or failed to find it
    /// ([`Session::resume_refused`]).
    Resume {
        /// The session that the client had.
        session: SessionId,
        /// How many messages the client says it has received; `None` if that is not a count.
        received: Option<u64>,
    },
    /// The session is in front of a Meteor server, and waits until the host has opened a connection
    /// there and calls [`Session::upstream_connected`].
    OpenUpstream,
    /// Meteor has said who the user is. The handlers that start next run for this user.
    User(Option<Box<str>>),
    /// The upstream is silent: it is lost.
    UpstreamLost,
    /// The upstream has sent something that is no message; it was dropped.
    UnreadableUpstream,
    /// Meteor has sent data of a collection that is this server's; they were dropped.
    NotMeteors(Box<str>),
    /// A handler has added a document to a collection that is Meteor's. Its subscription is stopped
    /// next.
    NotOwned(Run),
    /// Start a publication's handler. When it ends, the host calls [`Session::published`].
    Publish {
        /// The run that the handler passes to each call of the session.
        run: Run,
        /// The host's number of the publication.
        publication: usize,
        /// The parameters for the handler.
        params: Vec<Value>,
    },
    /// Start a method. When it ends, the host calls [`Session::returned`].
    Call {
        /// The run that the method passes to each call of the session.
        run: Run,
        /// The host's number of the method.
        method: usize,
        /// The parameters.
        params: Vec<Value>,
        /// The client's seed for random ids.
        seed: Option<String>,
    },
    /// The session has refused a request before any handler, and the client is told; for logs.
    Refused {
        /// What was asked for.
        what: Requested,
        /// The name that the client has sent.
        name: Box<str>,
        /// What the client was told.
        code: ErrorCode,
    },
    /// A subscription has ended: drop its handler if it still runs, release its channels and run
    /// its stop callbacks.
    Stop(Run),
    /// The user changes, and the subscription starts again under another run. Do as for
    /// [`Stop`](Self::Stop), but keep the messages of its channels until
    /// [`UserChanged`](Self::UserChanged), for the new run if it follows the same channels.
    Deactivate {
        /// The run that has ended.
        run: Run,
        /// The run that replaces it; it is started next.
        next: Run,
    },
    /// The change of the user is complete: the client has been sent the difference and the `ready`
    /// messages.
    UserChanged,
    /// A publication's handler has taken too long. Its subscription is stopped next.
    Expired(Run),
    /// A handler has changed or removed a document that it does not publish. Nothing was sent to
    /// the client.
    NotPublished(Run),
    /// A ping was sent while no other was unanswered: its answer is the next
    /// [`Answered`](Self::Answered).
    Pinged,
    /// The client has answered: it has everything that was sent before the latest
    /// [`Pinged`](Self::Pinged).
    Answered,
    /// Events for this subscription were dropped, because too many came before it was ready. Tell
    /// its handler, and call [`Session::gap`].
    Gap(Run),
    /// The client is silent. Close the connection once the frames are sent. The session can wait
    /// for another connection, so [park](Session::park) it.
    Lost {
        /// WebSocket close code.
        code: u16,
        /// WebSocket close reason.
        reason: &'static str,
    },
    /// Close the connection once the frames are sent. Nothing follows.
    Close {
        /// WebSocket close code.
        code: u16,
        /// WebSocket close reason.
        reason: &'static str,
    },
}
