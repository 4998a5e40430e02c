//! From the queue of one connection to its socket: as few writes as the socket allows. The writes
//! also show how fast the client is.

use std::io::{self, ErrorKind};
use std::time::Duration;

use updraft_protocol::message::{FrameRef, Frames};
use updraft_protocol::sockjs::{self, Escaper};

use super::Outgoing;
use crate::shard::polling::{Polling, Readiness};
use crate::transport::Framing;

/// Bytes that the kernels of both sides may hold for one client. Used only to estimate how long the
/// client needs for them.
const KERNEL_BYTES: u128 = 512 * 1024;

/// The longest time that is granted to a client for the bytes in the kernels.
const MAX_DRAIN_TIME: Duration = Duration::from_secs(60);

/// Bytes that are put together for one write. Larger writes cost memory in the kernel and save
/// nothing more.
pub(super) const WRITE_BYTES: usize = 64 * 1024;

/// The progress that a client's socket has made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::shard) struct Progress {
    /// Whether the socket was full and has accepted something since.
    pub(in crate::shard) has_moved: bool,
    /// How long the client is likely to need for what the kernel holds, if it is slower than the
    /// server.
    pub(in crate::shard) drain_time: Duration,
}

/// The destination of the bytes: a socket, with or without TLS.
pub(in crate::shard) trait Wire {
    /// Encrypts the bytes that are written next. Without TLS they stay as they are.
    fn encrypt(&mut self, bytes: &mut Vec<u8>) -> io::Result<()>;

    /// Like [`io::Write::write`].
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
}

/// The result of a flush.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::shard) enum Flushed {
    /// Everything is written.
    All,
    /// The socket is full.
    Blocked,
    /// The socket is gone.
    Lost,
}

impl Outgoing {
    /// Writes as much as the socket accepts. `scratch` is the shard's buffer. `written` removes the
    /// messages that are about to be written from the queue: the given number, from the front.
    pub(in crate::shard) fn flush(
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
            drain_time: drain_time(now.saturating_sub(since), taken.saturating_add(so_far)),
        });
        (flushed, progress.unwrap_or_default())
    }

    /// Gives as many frames to the waiting request as it accepts. Without a waiting request nothing
    /// is stuck, because the next request has a deadline of its own.
    pub(in crate::shard) fn flush_to_request(
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
            polling.give_frame(scratch, now);
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

    /// Moves messages from the queue to `scratch` until they fill a write.
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
            if scratch.len() >= WRITE_BYTES {
                break;
            }
        }
        taken(&mut self.queue, count);
    }

    /// Moves one frame of a polling client from the queue to `scratch`: messages until they fill a
    /// write, or one control frame.
    pub(super) fn gather_frame(
        &mut self,
        scratch: &mut Vec<u8>,
        taken: &mut impl FnMut(&mut Frames, usize),
    ) {
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
                    let fits = bytes < WRITE_BYTES && message.as_raw().is_none();
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

/// How long a client may need for the bytes in the kernel, if it took `time` for `bytes`.
fn drain_time(time: Duration, bytes: usize) -> Duration {
    let nanos = time.as_nanos().saturating_mul(KERNEL_BYTES) / bytes.max(1) as u128;
    Duration::from_nanos(nanos.try_into().unwrap_or(u64::MAX)).min(MAX_DRAIN_TIME)
}

struct Lost;

/// One write. A full socket accepts 0 bytes.
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
