//! The connections with unsent output, and how far that output is ahead of the writes.

use std::collections::VecDeque;

use crate::shard::outgoing::Outgoing;

/// Bytes of output that may wait for connections which have not had their turn: `AHEAD_TOTAL` for
/// all together, or `AHEAD_EACH` for each of them, whichever is more. That is enough for many
/// messages to share a write. More would only cost memory, and delay others.
const AHEAD_TOTAL: usize = 4 * 1024 * 1024;
const AHEAD_EACH: usize = 32 * 1024;

#[derive(Debug, Default)]
pub(super) struct UnsentQueue {
    /// Each connection once; `Outgoing::is_listed` marks those that are in it. Filled by every
    /// function that queues output, drained by `write`.
    connections: VecDeque<usize>,
    /// Bytes that were counted for these connections. The bytes of connections that are gone are
    /// forgotten when the list is empty.
    ahead: usize,
}

impl UnsentQueue {
    pub(super) fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// Lists a connection that has something to write. Output that is added to a listed connection
    /// later is not counted.
    pub(super) fn add(&mut self, index: usize, outgoing: &mut Outgoing) {
        if !outgoing.is_listed && !outgoing.is_blocked && !outgoing.is_empty() {
            outgoing.is_listed = true;
            self.connections.push_back(index);
            self.ahead = self.ahead.saturating_add(outgoing.count_queued());
        }
    }

    /// Lists a connection that was given an event of a channel. All its waiting output counts.
    pub(super) fn add_event(&mut self, index: usize, outgoing: &mut Outgoing) {
        if !outgoing.is_listed && !outgoing.is_blocked {
            outgoing.is_listed = true;
            self.connections.push_back(index);
        }
        if outgoing.is_listed {
            self.ahead = self.ahead.saturating_add(outgoing.count_queued());
        }
    }

    /// The next connection. It may be gone, and its place given to another, which is not listed.
    pub(super) fn next(&mut self) -> Option<usize> {
        let next = self.connections.pop_front();
        if next.is_none() {
            self.ahead = 0;
        }
        next
    }

    /// Removes a connection from the list, if it is listed.
    pub(super) fn take(&mut self, outgoing: &mut Outgoing) -> bool {
        let is_listed = std::mem::take(&mut outgoing.is_listed);
        if is_listed {
            self.ahead = self.ahead.saturating_sub(outgoing.take_counted());
        }
        is_listed
    }

    /// Whether so much output waits that some must be written before more bus messages are
    /// delivered.
    pub(super) fn is_far_ahead(&self) -> bool {
        self.ahead > AHEAD_TOTAL.max(self.connections.len().saturating_mul(AHEAD_EACH))
    }
}
