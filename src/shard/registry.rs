//! Finds the shard that has the session which a client wants to resume. Session ids are
//! credentials: nothing here prints one.

use std::fmt;
use std::sync::Arc;

use dashmap::DashMap;

use super::inbox::Inbox;
use crate::mail::{Address, Place};

/// The resumable sessions of all shards.
pub(crate) struct ResumableSessions {
    /// Filled when a client has connected, drained when its session ends.
    sessions: DashMap<Arc<str>, Arc<Address>>,
    /// The inboxes of the shards, by shard number.
    inboxes: Box<[Arc<Inbox>]>,
}

impl ResumableSessions {
    pub(crate) fn of(inboxes: impl IntoIterator<Item = Arc<Inbox>>) -> Self {
        Self {
            sessions: DashMap::new(),
            inboxes: inboxes.into_iter().collect(),
        }
    }

    pub(super) fn insert(&self, id: Arc<str>, address: Arc<Address>) {
        self.sessions.insert(id, address);
    }

    pub(super) fn remove(&self, id: &str) {
        self.sessions.remove(id);
    }

    /// The inbox of the shard that has the session, and the place of the session there.
    pub(super) fn find(&self, id: &str) -> Option<(Arc<Inbox>, Place)> {
        let address = self.sessions.get(id)?;
        let inbox = self.inboxes.get(address.shard())?;
        Some((inbox.clone(), address.place()))
    }
}

impl fmt::Debug for ResumableSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResumableSessions")
            .field("sessions", &self.sessions.len())
            .finish_non_exhaustive()
    }
}
