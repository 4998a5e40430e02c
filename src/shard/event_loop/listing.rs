//! Answers who asks for the list of clients.

use super::EventLoop;
use crate::shard::inbox::Letter;
use crate::shard::listing::{ConnectionInfo, Listing};

/// Places that are looked at in one turn.
const SLICE: usize = 256;

impl EventLoop {
    /// Goes on with a list. What is left of it is a letter behind all others.
    pub(super) fn list(&self, mut listing: Box<Listing>) {
        if listing.asked_by.is_closed() {
            return;
        }
        let end = self.clients.places_end();
        let until = end.min(listing.next.saturating_add(SLICE));
        let clients = (listing.next..until).filter_map(|index| self.clients.get(index));
        listing.found.extend(clients.map(ConnectionInfo::of));
        if until < end {
            listing.next = until;
            self.shard.inbox.put(Letter::List(listing));
        } else {
            // Whoever asked may have gone.
            listing.asked_by.send(listing.found).ok();
        }
    }
}
