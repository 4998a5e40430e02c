//! What waits to be written to one client: references until the moment of writing.

mod writer;

use std::time::Duration;

use updraft_protocol::message::{Frame, Frames, Head, Tail};
use updraft_protocol::sockjs::Escaper;

use crate::base::memory::Share;
use crate::transport::Framing;

pub(super) use writer::{Flushed, Wire};

/// What may wait for its turn without being counted: less than what is written at once.
const UNCOUNTED: usize = writer::WRITE;

/// The output of one connection.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// Filled by the session, drained by `flush`. Over the shard's limit on its bytes no more mail is read; over another,
    /// events find no room.
    queue: Frames,
    /// Bytes of `queue` that the shard has counted as waiting for their turn.
    counted: u32,
    /// `bytes` while the socket is full or they are many, as the shard counts them. A little that waits for its turn is gone
    /// when that has come.
    share: Share,
    /// There while the socket does not take all that it is given.
    stuck: Option<Box<Stuck>>,
    /// Whether the connection stands in the shard's list of those with unsent output.
    pub(super) is_listed: bool,
    /// Whether the socket is full; it says when it is not.
    pub(super) is_blocked: bool,
}

/// What is known of a socket that does not take all that it is given.
#[derive(Debug, Default)]
struct Stuck {
    /// The rest of a write that the socket took in part; it goes first.
    partial: Vec<u8>,
    /// Since when nothing is known of the client, if anything waits for it: its socket has taken nothing, and it has said
    /// nothing.
    since: Option<Duration>,
    /// When a write was tried last.
    tried: Duration,
    /// When the socket became full, and how many bytes it has taken since: how fast the client is.
    full: Option<(Duration, usize)>,
}

/// What waits for a connection that is moved, in the form in which it is written.
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

    /// Bytes that wait for a write of their own: all but those of the write under way.
    pub(super) fn queued(&self) -> usize {
        self.queue.bytes()
    }

    /// The bytes that wait and have not been counted, which they are with this.
    pub(super) fn count_queued(&mut self) -> usize {
        let queued = self.queued();
        let more = queued.saturating_sub(self.counted as usize);
        if more > 0 {
            self.counted = u32::try_from(queued).unwrap_or(u32::MAX);
        }
        more
    }

    /// Its turn has come: what was counted, and is not any more.
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

    /// Says since when the socket has taken nothing; when it takes all, nothing more is kept of that.
    fn set_stuck_since(&mut self, since: Option<Duration>) {
        if since.is_some() || !self.partial().is_empty() {
            self.stuck.get_or_insert_default().since = since;
        } else {
            self.stuck = None;
        }
    }

    /// Bytes that wait, where they are many or the socket is full.
    pub(super) fn counted_bytes(&self) -> usize {
        self.share.bytes()
    }

    /// Since when nothing is known of the client, although something waits for it.
    pub(super) fn stuck_since(&self) -> Option<Duration> {
        self.stuck.as_ref()?.since
    }

    /// When a write is to be tried again: within a tenth of the time in which the socket must take something. A socket says
    /// late that there is room, when much of it is free; so a slow reader shows sooner that it reads, and what was free
    /// from the beginning is not taken for a sign of life at the end.
    pub(super) fn next_try(&self, timeout: Duration) -> Option<Duration> {
        let stuck = self.stuck.as_ref().filter(|stuck| stuck.since.is_some())?;
        Some(stuck.tried.saturating_add(timeout / 10))
    }

    /// The client has said something: that it does not take what waits may not be its own fault. With more than `limit`
    /// waiting it must take something.
    pub(super) fn heard(&mut self, limit: usize, now: Duration) {
        let queued = self.queued();
        if let Some(stuck) = &mut self.stuck
            && let Some(since) = &mut stuck.since
            && queued <= limit
        {
            *since = now;
        }
    }

    /// Drops what waits, but for the frame that is under way and those in the same write.
    pub(super) fn drop_queue(&mut self) {
        self.queue = Frames::default();
        self.count();
    }

    /// Gives the messages that wait the form in which they are written, which is for this connection alone.
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

    /// The connection is gone: what waits for it is of no use any more but for the messages, which nobody has got.
    pub(super) fn abandon(&mut self) -> Frames {
        self.stuck = None;
        self.is_blocked = false;
        self.share.set(0);
        std::mem::take(&mut self.queue)
    }

    /// What waits, for the connection that takes its client to another session.
    pub(super) fn into_unsent(mut self, framing: Framing) -> Unsent {
        self.seal(framing, Frames::drop_front);
        Unsent {
            partial: self.take_partial(),
            queue: self.queue,
        }
    }

    /// This is written before anything else.
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
