//! What waits to be written to one client: references until the moment of writing, then as few writes as the socket
//! allows.

use std::collections::VecDeque;
use std::io::{ErrorKind, Write};

use updraft_protocol::message::Frame;

use crate::transport::websocket;

/// How much is put together for one write. Larger writes cost memory in the kernel and save nothing more.
const WRITE: usize = 64 * 1024;

/// The output of one connection.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    /// Filled by the session, drained by `flush`, bounded by the shard's limit on `bytes`.
    queue: VecDeque<Item>,
    /// The rest of a write that the socket took in part; it goes first.
    partial: Vec<u8>,
    /// Bytes in `queue`.
    queued: usize,
    /// Whether the connection stands in the shard's list of those with unsent output.
    pub(super) is_listed: bool,
    /// Whether the socket is full; it says when it is not.
    pub(super) is_blocked: bool,
}

#[derive(Debug)]
enum Item {
    Message(Frame),
    Control(Vec<u8>),
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
    pub(super) fn push(&mut self, frame: Frame) {
        self.queued = self.queued.saturating_add(frame.len());
        self.queue.push_back(Item::Message(frame));
    }

    pub(super) fn push_control(&mut self, frame: Vec<u8>) {
        self.queued = self.queued.saturating_add(frame.len());
        self.queue.push_back(Item::Control(frame));
    }

    /// Bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.queued.saturating_add(self.partial.len())
    }

    /// Drops what waits, but for the frame that is under way.
    pub(super) fn drop_queue(&mut self) {
        self.queue = VecDeque::new();
        self.queued = 0;
    }

    /// Writes as much as the socket takes. `scratch` is the shard's.
    pub(super) fn flush(&mut self, socket: &mut impl Write, scratch: &mut Vec<u8>) -> Flushed {
        self.is_blocked = false;
        if !self.partial.is_empty() {
            match write(socket, &self.partial) {
                Ok(written) if written == self.partial.len() => self.partial = Vec::new(),
                Ok(written) => {
                    self.partial.drain(..written);
                    return self.blocked();
                }
                Err(Lost) => return Flushed::Lost,
            }
        }
        while !self.queue.is_empty() {
            scratch.clear();
            while scratch.len() < WRITE {
                match self.queue.pop_front() {
                    Some(Item::Message(frame)) => {
                        let len = frame.len();
                        self.queued = self.queued.saturating_sub(len);
                        websocket::write_text_header(len, scratch);
                        frame.write(scratch);
                    }
                    Some(Item::Control(frame)) => {
                        self.queued = self.queued.saturating_sub(frame.len());
                        scratch.extend_from_slice(&frame);
                    }
                    None => break,
                }
            }
            match write(socket, scratch) {
                Ok(written) if written == scratch.len() => {}
                Ok(written) => {
                    self.partial = scratch.get(written..).unwrap_or_default().to_vec();
                    return self.blocked();
                }
                Err(Lost) => return Flushed::Lost,
            }
        }
        // An idle connection holds no memory here.
        self.queue = VecDeque::new();
        Flushed::All
    }

    fn blocked(&mut self) -> Flushed {
        self.is_blocked = true;
        Flushed::Blocked
    }
}

struct Lost;

/// One write; a full socket takes nothing.
fn write(socket: &mut impl Write, bytes: &[u8]) -> Result<usize, Lost> {
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
