//! The connections with unsent output, and how far what waits for them is ahead of what is written.

use std::collections::VecDeque;

use crate::shard::outgoing::Outgoing;

/// What may wait for connections whose turn to be written to has not come, in bytes: so much for all
/// together, or so much for each of them. It is enough for many messages to share a write. More would
/// only cost memory, and keep others waiting behind it.
const AHEAD: usize = 4 * 1024 * 1024;
const AHEAD_EACH: usize = 32 * 1024;

#[derive(Debug, Default)]
pub(super) struct UnsentQueue {
    /// Each once; `Outgoing::is_listed` says which. Filled by whatever sends, drained by `write`.
    connections: VecDeque<usize>,
    /// Bytes that were counted for them; those of connections that are gone are forgotten when there
    /// is none left.
    ahead: usize,
}

impl UnsentQueue {
    pub(super) fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// A connection has something to write. What is added to one that is listed is not counted.
    pub(super) fn add(&mut self, index: usize, outgoing: &mut Outgoing) {
        if !outgoing.is_listed && !outgoing.is_blocked && !outgoing.is_empty() {
            outgoing.is_listed = true;
            self.connections.push_back(index);
            self.ahead = self.ahead.saturating_add(outgoing.count_queued());
        }
    }

    /// A connection has been given an event of a channel: all that waits for it counts.
    pub(super) fn add_event(&mut self, index: usize, outgoing: &mut Outgoing) {
        if !outgoing.is_listed && !outgoing.is_blocked {
            outgoing.is_listed = true;
            self.connections.push_back(index);
        }
        if outgoing.is_listed {
            self.ahead = self.ahead.saturating_add(outgoing.count_queued());
        }
    }

    /// Whose turn it is. It may be gone, and its place given to another, which is not listed.
    pub(super) fn next(&mut self) -> Option<usize> {
        let next = self.connections.pop_front();
        if next.is_none() {
            self.ahead = 0;
        }
        next
    }

    /// Takes a connection from the list, if it stands there.
    pub(super) fn take(&mut self, outgoing: &mut Outgoing) -> bool {
        let is_listed = std::mem::take(&mut outgoing.is_listed);
        if is_listed {
            self.ahead = self.ahead.saturating_sub(outgoing.take_counted());
        }
        is_listed
    }

    /// Whether so much waits that no more messages of the bus are to be delivered before some is
    /// written.
    pub(super) fn is_far_ahead(&self) -> bool {
        self.ahead > AHEAD.max(self.connections.len().saturating_mul(AHEAD_EACH))
    }
}
