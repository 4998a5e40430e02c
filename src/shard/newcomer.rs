//! A client that wants the session of another shard back, on its way there.

use super::conversation::Conversation;
use super::link::Link;
use super::outgoing::Unsent;
use crate::handler::Connection;
use crate::mail::Place;

/// A client on its way to the shard of the session that it had before.
pub(crate) struct Newcomer {
    pub(super) link: Link,
    /// Written to the link before anything else.
    pub(super) unsent: Unsent,
    /// Holds what the client says meanwhile.
    pub(super) session: Conversation,
    pub(super) context: Connection,
    pub(super) claim: Claim,
}

/// What a client wants back.
#[derive(Clone, Copy)]
pub(super) struct Claim {
    /// The session that it had.
    pub(super) session: Place,
    /// What it says that it has received.
    pub(super) received: Option<u64>,
}
