//! Which shard has the session that a client wants back.
//! Session ids are credentials: nothing here prints one.

use std::fmt;
use std::sync::Arc;

use dashmap::DashMap;

use super::conversation::Conversation;
use super::link::Link;
use super::outgoing::Unsent;
use crate::connection::Connection;
use crate::mailbox::{Address, Place};

/// The sessions that their clients can come back to, of all shards.
#[derive(Default)]
pub(crate) struct Registry(
    /// Filled when a client has connected, drained when its session ends.
    DashMap<Arc<str>, Arc<Address>>,
);

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

impl Registry {
    pub(super) fn insert(&self, id: Arc<str>, address: Arc<Address>) {
        self.0.insert(id, address);
    }

    pub(super) fn remove(&self, id: &str) {
        self.0.remove(id);
    }

    pub(super) fn find(&self, id: &str) -> Option<Arc<Address>> {
        self.0.get(id).map(|address| address.clone())
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("sessions", &self.0.len())
            .finish_non_exhaustive()
    }
}
