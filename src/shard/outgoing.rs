//! The output that waits for one client: references until the moment of writing.

mod writer;

use std::time::Duration;

use updraft_protocol::message::{Frame, Frames, Head, Tail};
use updraft_protocol::sockjs::Escaper;

use crate::base::memory::Share;
use crate::transport::Framing;

pub(super) use writer::{Flushed, Wire};

/// Bytes that may wait for their turn without being counted: what fits into one write.
const UNCOUNTED: usize = writer::WRITE_BYTES;

/// The output of one connection.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// Filled by the session, drained by `flush`. Above `ClientLimits::flow` no more mail is read,
    /// above `ClientLimits::events` events are dropped.
    queue: Frames,
    /// Bytes of `queue` that the shard has counted in its list of unsent output.
    counted: u32,
    /// The shard's count of these bytes, while the socket is full or the bytes are many. A small
    /// amount is not counted: it is gone as soon as the connection has its turn.
    share: Share,
    /// Set while the socket does not accept all that is written.
    stuck: Option<Box<Stuck>>,
    /// Whether the connection stands in the shard's list of connections with unsent output.
    pub(super) is_listed: bool,
    /// Whether the socket is full. The poll reports when it accepts bytes again.
    pub(super) is_blocked: bool,
}

/// The state of a socket that does not accept all that is written.
#[derive(Debug, Default)]
struct Stuck {
    /// The rest of a write of which the socket has accepted a part; it is written first.
    partial: Vec<u8>,
    /// Since when there has been no sign of life, if output waits: the socket has accepted nothing,
    /// and nothing has arrived.
    since: Option<Duration>,
    /// The time of the latest write.
    tried: Duration,
    /// When the socket became full, and how many bytes it has accepted since: the pace of the
    /// client.
    full: Option<(Duration, usize)>,
}

/// Output that waits for a connection that is moved, in the form in which it is written.
#[derive(Debug)]
pub(super) struct Unsent {
    partial: Vec<u8>,
    queue: Frames,
}

impl Outgoing {
    pub(super) fn new(share: Share) -> Self {
        Self {
            queue: Frames::default(),
            counted: 0,
            share,
            stuck: None,
            is_listed: false,
            is_blocked: false,
        }
    }

    pub(super) fn push(&mut self, frame: Frame) {
        self.queue.push(frame);
        self.count();
    }

    pub(super) fn push_event(&mut self, head: &Head, tail: Tail) {
        self.queue.push_event(head, tail);
        self.count();
    }

    pub(super) fn push_control(&mut self, frame: Vec<u8>) {
        self.queue.push_raw(frame);
        self.count();
    }

    /// Bytes that wait for a write of their own: all but the rest of the write in progress.
    pub(super) fn queued(&self) -> usize {
        self.queue.bytes()
    }

    /// How many messages wait for a write of their own.
    pub(super) fn queued_messages(&self) -> usize {
        self.queue.len()
    }

    /// Whether anything waits besides pings and records of topics.
    pub(super) fn has_own_messages(&self) -> bool {
        self.queue.own_messages() > 0
    }

    /// Returns the waiting bytes that have not been counted, and counts them.
    pub(super) fn count_queued(&mut self) -> usize {
        let queued = self.queued();
        let more = queued.saturating_sub(self.counted as usize);
        if more > 0 {
            self.counted = u32::try_from(queued).unwrap_or(u32::MAX);
        }
        more
    }

    /// The connection has its turn. Returns what was counted, and counts it no longer.
    pub(super) fn take_counted(&mut self) -> usize {
        std::mem::take(&mut self.counted) as usize
    }

    /// Bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.queued().saturating_add(self.partial().len())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.partial().is_empty()
    }

    fn partial(&self) -> &[u8] {
        self.stuck.as_deref().map_or(&[], |stuck| &stuck.partial)
    }

    fn take_partial(&mut self) -> Vec<u8> {
        let stuck = self.stuck.as_deref_mut();
        stuck.map_or_else(Vec::new, |stuck| std::mem::take(&mut stuck.partial))
    }

    fn set_partial(&mut self, partial: Vec<u8>) {
        if !partial.is_empty() {
            self.stuck.get_or_insert_default().partial = partial;
        }
    }

    /// Sets since when the socket has accepted nothing. `None` frees the state of a socket that
    /// accepts everything.
    fn set_stuck_since(&mut self, since: Option<Duration>) {
        if since.is_some() || !self.partial().is_empty() {
            self.stuck.get_or_insert_default().since = since;
        } else {
            self.stuck = None;
        }
    }

    /// The waiting bytes as the shard counts them: zero if they are few and the socket is not full.
    pub(super) fn counted_bytes(&self) -> usize {
        self.share.bytes()
    }

    /// Since when there has been no sign of life, although output waits.
    pub(super) fn stuck_since(&self) -> Option<Duration> {
        self.stuck.as_ref()?.since
    }

    /// When a write is to be tried again: after a tenth of the time within which the socket must
    /// accept something. The kernel reports room late, when much of it is free. Trying sooner shows
    /// earlier that a slow client reads. It also uses up the room that was free from the beginning,
    /// which would otherwise look like a sign of life at the end of the timeout.
    pub(super) fn next_try(&self, timeout: Duration) -> Option<Duration> {
        let stuck = self.stuck.as_ref().filter(|stuck| stuck.since.is_some())?;
        Some(stuck.tried.saturating_add(timeout / 10))
    }

    /// Something has arrived from the client, so the timeout for its output starts again: the
    /// network may be slow, not the client. With more than `limit` bytes waiting only accepted
    /// output counts.
    pub(super) fn heard(&mut self, limit: usize, now: Duration) {
        let queued = self.queued();
        if let Some(stuck) = &mut self.stuck
            && let Some(since) = &mut stuck.since
            && queued <= limit
        {
            *since = now;
        }
    }

    /// The timeout for its output starts again.
    pub(super) fn wait_anew(&mut self, now: Duration) {
        if let Some(stuck) = &mut self.stuck
            && let Some(since) = &mut stuck.since
        {
            *since = now;
        }
    }

    /// Drops the waiting output, except the write in progress.
    pub(super) fn drop_queue(&mut self) {
        self.queue = Frames::default();
        self.count();
    }

    /// Converts the waiting messages to the bytes that are written, which only this connection can
    /// use.
    pub(super) fn seal(&mut self, framing: Framing, written: impl FnOnce(&mut Frames, usize)) {
        let mut messages = std::mem::take(&mut self.queue);
        let mut escaper = Escaper::default();
        for message in &messages {
            let mut bytes = Vec::new();
            framing.write(message, &mut escaper, &mut bytes);
            self.queue.push_raw(bytes);
        }
        let count = messages.len();
        written(&mut messages, count);
        self.count();
    }

    /// The connection is gone. Returns the messages that were not written, and drops everything
    /// else.
    pub(super) fn abandon(&mut self) -> Frames {
        self.stuck = None;
        self.is_blocked = false;
        self.share.set(0);
        std::mem::take(&mut self.queue)
    }

    /// Takes the waiting output with it when the connection moves to another session.
    pub(super) fn into_unsent(mut self, framing: Framing) -> Unsent {
        self.seal(framing, Frames::drop_front);
        Unsent {
            partial: self.take_partial(),
            queue: self.queue,
        }
    }

    /// Queues `unsent` before everything else.
    pub(super) fn write_first(&mut self, unsent: Unsent) {
        let Unsent { partial, mut queue } = unsent;
        self.set_partial(partial);
        self.queue.iter().for_each(|frame| queue.push_ref(frame));
        self.queue = queue;
        self.count();
    }

    fn count(&mut self) {
        let bytes = self.bytes();
        let counted = if self.is_blocked || bytes > UNCOUNTED {
            bytes
        } else {
            0
        };
        if counted != self.share.bytes() {
            self.share.set(counted);
        }
    }
}

#[cfg(test)]
mod tests;
