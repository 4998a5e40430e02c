//! A client that moves to another shard, because that shard has the session which it wants to
//! resume.

use super::conversation::Conversation;
use super::link::Link;
use super::outgoing::Unsent;
use super::upstream::Upstream;
use crate::handler::Connection;
use crate::mail::Place;

/// A client on its way to the shard of its former session.
pub(crate) struct Newcomer {
    pub(super) link: Link,
    /// Output that is written to the link before anything else.
    pub(super) unsent: Unsent,
    /// Queues the messages that the client sends meanwhile.
    pub(super) session: Conversation,
    pub(super) context: Connection,
    pub(super) upstream: Option<Box<Upstream>>,
    pub(super) claim: Claim,
}

/// The session that a client wants to resume.
#[derive(Clone, Copy)]
pub(super) struct Claim {
    /// The place of that session.
    pub(super) session: Place,
    /// How many messages the client says it has received.
    pub(super) received: Option<u64>,
}
