//! What waits to be written to one client: references until the moment of writing, then as few writes as the socket
//! allows.

use std::io::{self, ErrorKind};
use std::time::Duration;

use updraft_protocol::message::{Frame, FrameRef, Frames, Head, Tail};
use updraft_protocol::sockjs::{self, Escaper};

use super::polling::{Polling, Readiness};
use crate::base::memory::Share;
use crate::transport::Framing;

/// What the kernel may hold for one client, on either side. Only the time that it takes is estimated from that.
const IN_KERNEL: u128 = 512 * 1024;

/// The longest that a client is waited for because of what the kernel may hold.
const ON_THE_WAY: Duration = Duration::from_secs(60);

/// What may wait for its turn without being counted: less than what is written at once.
const UNCOUNTED: usize = WRITE;

/// How much is put together for one write. Larger writes cost memory in the kernel and save nothing more.
const WRITE: usize = 64 * 1024;

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

/// What a client's socket has taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// Whether it was full, and has taken something.
    pub(super) has_moved: bool,
    /// How long the client is likely to take for what the kernel has of it, where it has been slower than we are.
    pub(super) on_the_way: Duration,
}

/// What waits for a connection that is moved, in the form in which it is written.
#[derive(Debug)]
pub(super) struct Unsent {
    partial: Vec<u8>,
    queue: Frames,
}

/// Where output goes in the end.
pub(super) trait Wire {
    /// Gives what is to be written next the form in which it travels, which in the open is the same.
    fn encrypt(&mut self, bytes: &mut Vec<u8>) -> io::Result<()>;

    /// As [`io::Write::write`].
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
}

/// How a flush went.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Flushed {
    /// Everything is written.
    All,
    /// The socket is full.
    Blocked,
    /// The socket is gone.
    Lost,
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

    /// Writes as much as the socket takes. `scratch` is the shard's; `written` takes those messages out of the queue that
    /// are under way, which are so many of the first.
    pub(super) fn flush(
        &mut self,
        socket: &mut impl Wire,
        framing: Framing,
        scratch: &mut Vec<u8>,
        now: Duration,
        written: impl FnMut(&mut Frames, usize),
    ) -> (Flushed, Progress) {
        let full = self.stuck.as_ref().and_then(|stuck| stuck.full);
        let mut taken = 0;
        let flushed = self.write_all(socket, framing, scratch, &mut taken, written);
        self.is_blocked = flushed == Flushed::Blocked;
        if self.is_blocked {
            let since = self.stuck_since().filter(|_| taken == 0);
            self.set_stuck_since(Some(since.unwrap_or(now)));
            if let Some(stuck) = &mut self.stuck {
                stuck.tried = now;
                let so_far = full.map(|(since, so_far)| (since, taken.saturating_add(so_far)));
                stuck.full = Some(so_far.unwrap_or((now, 0)));
            }
        } else if self.stuck.is_some() {
            self.set_stuck_since(None);
        }
        self.count();
        let progress = full.filter(|_| taken > 0).map(|(since, so_far)| Progress {
            has_moved: true,
            on_the_way: time_on_the_way(now.saturating_sub(since), taken.saturating_add(so_far)),
        });
        (flushed, progress.unwrap_or_default())
    }

    /// Gives to a request that waits as many frames as it takes. While there is none, nothing is stuck: it must come
    /// within a time of its own.
    pub(super) fn give(
        &mut self,
        polling: &mut Polling,
        scratch: &mut Vec<u8>,
        now: Duration,
        mut taken: impl FnMut(&mut Frames, usize),
    ) -> (Flushed, Progress) {
        let mut readiness = polling.readiness();
        let mut progress = Progress::default();
        while !self.queue.is_empty() && readiness == Readiness::Ready {
            self.gather_frame(scratch, &mut taken);
            polling.give(scratch, now);
            progress.has_moved = true;
            self.set_stuck_since(None);
            readiness = polling.readiness();
        }
        self.is_blocked = !self.queue.is_empty();
        self.set_stuck_since(match readiness {
            Readiness::Busy if self.is_blocked => self.stuck_since().or(Some(now)),
            _ => None,
        });
        if let Some(stuck) = &mut self.stuck {
            stuck.tried = now;
        }
        self.count();
        let flushed = if self.is_blocked {
            Flushed::Blocked
        } else {
            Flushed::All
        };
        (flushed, progress)
    }

    fn write_all(
        &mut self,
        socket: &mut impl Wire,
        framing: Framing,
        scratch: &mut Vec<u8>,
        bytes: &mut usize,
        mut taken: impl FnMut(&mut Frames, usize),
    ) -> Flushed {
        if let Some(stuck) = &mut self.stuck
            && !stuck.partial.is_empty()
        {
            match write(socket, &stuck.partial) {
                Ok(written) if written == stuck.partial.len() => {
                    *bytes = written;
                    stuck.partial = Vec::new();
                }
                Ok(written) => {
                    *bytes = written;
                    stuck.partial.drain(..written);
                    return Flushed::Blocked;
                }
                Err(Lost) => return Flushed::Lost,
            }
        }
        while !self.queue.is_empty() {
            self.gather(framing, scratch, &mut taken);
            if socket.encrypt(scratch).is_err() {
                return Flushed::Lost;
            }
            match write(socket, scratch) {
                Ok(written) if written == scratch.len() => *bytes = bytes.saturating_add(written),
                Ok(written) => {
                    *bytes = bytes.saturating_add(written);
                    self.set_partial(scratch.get(written..).unwrap_or_default().to_vec());
                    return Flushed::Blocked;
                }
                Err(Lost) => return Flushed::Lost,
            }
        }
        Flushed::All
    }

    /// Moves messages from the queue to `scratch` until that is worth a write.
    fn gather(
        &mut self,
        framing: Framing,
        scratch: &mut Vec<u8>,
        taken: &mut impl FnMut(&mut Frames, usize),
    ) {
        scratch.clear();
        let mut escaper = Escaper::default();
        let mut count: usize = 0;
        for message in &self.queue {
            framing.write(message, &mut escaper, scratch);
            count = count.saturating_add(1);
            if scratch.len() >= WRITE {
                break;
            }
        }
        taken(&mut self.queue, count);
    }

    /// Moves what makes one frame of a polling client from the queue to `scratch`: messages until they are worth a
    /// write, or a frame of its own.
    fn gather_frame(&mut self, scratch: &mut Vec<u8>, taken: &mut impl FnMut(&mut Frames, usize)) {
        scratch.clear();
        let first = self.queue.iter().next();
        let count = match first.and_then(FrameRef::as_raw) {
            Some(frame) => {
                scratch.extend_from_slice(frame);
                1
            }
            None => {
                let mut bytes: usize = 0;
                let messages = self.queue.iter().take_while(|message| {
                    let fits = bytes < WRITE && message.as_raw().is_none();
                    bytes = bytes.saturating_add(message.len());
                    fits
                });
                let count = messages.count();
                sockjs::write_messages(self.queue.iter().take(count), scratch);
                count
            }
        };
        taken(&mut self.queue, count);
    }
}

/// How long a client may take for what the kernel holds for it, when so many bytes took it so long.
fn time_on_the_way(time: Duration, bytes: usize) -> Duration {
    let nanos = time.as_nanos().saturating_mul(IN_KERNEL) / bytes.max(1) as u128;
    Duration::from_nanos(nanos.try_into().unwrap_or(u64::MAX)).min(ON_THE_WAY)
}

struct Lost;

/// One write; a full socket takes nothing.
fn write(socket: &mut impl Wire, bytes: &[u8]) -> Result<usize, Lost> {
    loop {
        match socket.write(bytes) {
            Ok(0) => return Err(Lost),
            Ok(written) => return Ok(written),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return Err(Lost),
        }
    }
}

#[cfg(test)]
mod tests;
