//! What waits to be written to one client: references until the moment of writing, then as few writes as the socket
//! allows.

use std::io::{self, ErrorKind};
use std::time::Duration;

use updraft_protocol::message::Frame;
use updraft_protocol::sockjs::{self, Escaper};

use super::fifo::Fifo;
use super::link::Framing;
use super::polling::{Polling, Readiness};
use crate::memory::Share;

/// How much is put together for one write. Larger writes cost memory in the kernel and save nothing more.
const WRITE: usize = 64 * 1024;

/// The output of one connection.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// Filled by the session, drained by `flush`, bounded by the shard's limit on `queued`.
    queue: Fifo<Item>,
    /// Bytes in `queue`.
    queued: usize,
    /// Those of them that the shard has counted as waiting for their turn.
    counted: usize,
    /// `bytes` while the socket is full, as the shard counts them. What only waits for its turn is mostly shared with
    /// others, and gone when the turn has come.
    share: Share,
    /// There while the socket does not take all that it is given.
    stuck: Option<Box<Stuck>>,
    /// Whether the connection stands in the shard's list of those with unsent output.
    pub(super) is_listed: bool,
    /// Whether the socket is full; it says when it is not.
    pub(super) is_blocked: bool,
}

#[derive(Debug)]
enum Item {
    Message(Frame),
    Control(Box<[u8]>),
}

/// What is known of a socket that does not take all that it is given.
#[derive(Debug, Default)]
struct Stuck {
    /// The rest of a write that the socket took in part; it goes first.
    partial: Vec<u8>,
    /// Since when the socket has taken nothing, if anything waits for it.
    since: Option<Duration>,
}

/// What waits for a connection that is moved, in the form in which it is written.
#[derive(Debug)]
pub(super) struct Unsent {
    partial: Vec<u8>,
    queue: Fifo<Item>,
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
            queue: Fifo::new(),
            queued: 0,
            counted: 0,
            share,
            stuck: None,
            is_listed: false,
            is_blocked: false,
        }
    }

    pub(super) fn push(&mut self, frame: Frame) {
        self.add(frame.len(), Item::Message(frame));
    }

    pub(super) fn push_control(&mut self, frame: Vec<u8>) {
        self.add(frame.len(), Item::Control(frame.into()));
    }

    fn add(&mut self, bytes: usize, item: Item) {
        self.queued = self.queued.saturating_add(bytes);
        self.queue.push_back(item);
        self.count();
    }

    /// Bytes that wait for a write of their own: all but those of the write under way.
    pub(super) fn queued(&self) -> usize {
        self.queued
    }

    /// The bytes that wait and have not been counted, which they are with this.
    pub(super) fn count_queued(&mut self) -> usize {
        let more = self.queued.saturating_sub(self.counted);
        self.counted = self.counted.saturating_add(more);
        more
    }

    /// Its turn has come: what was counted, and is not any more.
    pub(super) fn take_counted(&mut self) -> usize {
        std::mem::take(&mut self.counted)
    }

    /// Bytes that wait.
    fn bytes(&self) -> usize {
        self.queued.saturating_add(self.partial().len())
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

    /// Bytes that wait because the socket is full.
    pub(super) fn stuck_bytes(&self) -> usize {
        self.share.bytes()
    }

    /// Since when the socket has taken nothing of what waits.
    pub(super) fn stuck_since(&self) -> Option<Duration> {
        self.stuck.as_ref()?.since
    }

    /// Drops what waits, but for the frame that is under way and those in the same write.
    pub(super) fn drop_queue(&mut self) {
        self.queue = Fifo::new();
        self.queued = 0;
        self.count();
    }

    /// Gives the messages that wait the form in which they are written, which is for this connection alone.
    pub(super) fn seal(&mut self, framing: Framing, mut written: impl FnMut(Frame)) {
        self.queued = 0;
        let mut escaper = Escaper::default();
        for item in self.queue.iter_mut() {
            if let Item::Message(frame) = item {
                let mut bytes = Vec::new();
                framing.write(frame, &mut escaper, &mut bytes);
                let bytes = Item::Control(bytes.into());
                if let Item::Message(frame) = std::mem::replace(item, bytes) {
                    written(frame);
                }
            }
            if let Item::Control(bytes) = item {
                self.queued = self.queued.saturating_add(bytes.len());
            }
        }
        self.count();
    }

    /// The connection is gone: what waits for it is of no use any more but for the messages, which nobody has got.
    pub(super) fn abandon(&mut self) -> impl Iterator<Item = Frame> + use<> {
        let queue = std::mem::take(&mut self.queue);
        self.queued = 0;
        self.stuck = None;
        self.is_blocked = false;
        self.share.set(0);
        queue.into_iter().filter_map(|item| match item {
            Item::Message(frame) => Some(frame),
            Item::Control(_) => None,
        })
    }

    /// What waits, for the connection that takes its client to another session.
    pub(super) fn into_unsent(mut self, framing: Framing) -> Unsent {
        self.seal(framing, drop);
        Unsent {
            partial: self.take_partial(),
            queue: std::mem::take(&mut self.queue),
        }
    }

    /// This is written before anything else.
    pub(super) fn write_first(&mut self, unsent: Unsent) {
        let Unsent { partial, mut queue } = unsent;
        self.set_partial(partial);
        for item in queue.iter_mut() {
            if let Item::Control(bytes) = item {
                self.queued = self.queued.saturating_add(bytes.len());
            }
        }
        queue.append(std::mem::take(&mut self.queue));
        self.queue = queue;
        self.count();
    }

    fn count(&mut self) {
        if self.is_blocked {
            self.share.set(self.bytes());
        }
    }

    /// Writes as much as the socket takes. `scratch` is the shard's; `written` gets the messages that are under way.
    pub(super) fn flush(
        &mut self,
        socket: &mut impl Wire,
        framing: Framing,
        scratch: &mut Vec<u8>,
        now: Duration,
        written: impl FnMut(Frame),
    ) -> Flushed {
        let mut progress = false;
        let flushed = self.write_all(socket, framing, scratch, &mut progress, written);
        self.is_blocked = flushed == Flushed::Blocked;
        if self.is_blocked {
            let since = self.stuck_since().filter(|_| !progress);
            self.set_stuck_since(Some(since.unwrap_or(now)));
            self.share.set(self.bytes());
        } else if self.stuck.is_some() {
            self.set_stuck_since(None);
            self.share.set(0);
        }
        flushed
    }

    /// Gives to a request that waits as many frames as it takes. While there is none, nothing is stuck: it must come
    /// within a time of its own.
    pub(super) fn give(
        &mut self,
        polling: &mut Polling,
        scratch: &mut Vec<u8>,
        now: Duration,
        mut taken: impl FnMut(Frame),
    ) -> Flushed {
        let mut readiness = polling.readiness();
        while !self.queue.is_empty() && readiness == Readiness::Ready {
            self.gather_frame(scratch, &mut taken);
            polling.give(scratch, now);
            self.set_stuck_since(None);
            readiness = polling.readiness();
        }
        self.is_blocked = !self.queue.is_empty();
        self.set_stuck_since(match readiness {
            Readiness::Busy if self.is_blocked => self.stuck_since().or(Some(now)),
            _ => None,
        });
        self.share
            .set(if self.is_blocked { self.bytes() } else { 0 });
        if self.is_blocked {
            Flushed::Blocked
        } else {
            Flushed::All
        }
    }

    fn write_all(
        &mut self,
        socket: &mut impl Wire,
        framing: Framing,
        scratch: &mut Vec<u8>,
        progress: &mut bool,
        mut taken: impl FnMut(Frame),
    ) -> Flushed {
        if let Some(stuck) = &mut self.stuck
            && !stuck.partial.is_empty()
        {
            match write(socket, &stuck.partial) {
                Ok(written) if written == stuck.partial.len() => stuck.partial = Vec::new(),
                Ok(written) => {
                    *progress = written > 0;
                    stuck.partial.drain(..written);
                    return Flushed::Blocked;
                }
                Err(Lost) => return Flushed::Lost,
            }
            *progress = true;
        }
        while !self.queue.is_empty() {
            self.gather(framing, scratch, &mut taken);
            if socket.encrypt(scratch).is_err() {
                return Flushed::Lost;
            }
            match write(socket, scratch) {
                Ok(written) if written == scratch.len() => *progress = true,
                Ok(written) => {
                    *progress |= written > 0;
                    self.set_partial(scratch.get(written..).unwrap_or_default().to_vec());
                    return Flushed::Blocked;
                }
                Err(Lost) => return Flushed::Lost,
            }
        }
        Flushed::All
    }

    /// Moves frames from the queue to `scratch` until that is worth a write.
    fn gather(&mut self, framing: Framing, scratch: &mut Vec<u8>, taken: &mut impl FnMut(Frame)) {
        scratch.clear();
        let mut escaper = Escaper::default();
        while scratch.len() < WRITE {
            match self.queue.pop_front() {
                Some(Item::Message(frame)) => {
                    self.queued = self.queued.saturating_sub(frame.len());
                    framing.write(&frame, &mut escaper, scratch);
                    taken(frame);
                }
                Some(Item::Control(frame)) => {
                    self.queued = self.queued.saturating_sub(frame.len());
                    scratch.extend_from_slice(&frame);
                }
                None => break,
            }
        }
    }

    /// Moves what makes one frame of a polling client from the queue to `scratch`: messages until they are worth a
    /// write, or a frame of its own.
    fn gather_frame(&mut self, scratch: &mut Vec<u8>, taken: &mut impl FnMut(Frame)) {
        scratch.clear();
        let mut messages = Vec::new();
        let mut bytes: usize = 0;
        while bytes < WRITE {
            match self.queue.pop_front() {
                Some(Item::Message(frame)) => {
                    bytes = bytes.saturating_add(frame.len());
                    messages.push(frame);
                }
                Some(Item::Control(frame)) if messages.is_empty() => {
                    self.queued = self.queued.saturating_sub(frame.len());
                    return scratch.extend_from_slice(&frame);
                }
                Some(control) => {
                    self.queue.push_front(control);
                    break;
                }
                None => break,
            }
        }
        self.queued = self.queued.saturating_sub(bytes);
        sockjs::write_messages(&messages, scratch);
        messages.into_iter().for_each(taken);
    }
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
mod tests {
    use super::*;
    use crate::memory::Tally;

    /// Takes so many bytes in all.
    struct Takes(usize, Vec<u8>);

    impl Wire for Takes {
        fn encrypt(&mut self, _: &mut Vec<u8>) -> io::Result<()> {
            Ok(())
        }

        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.0);
            if count == 0 {
                return Err(ErrorKind::WouldBlock.into());
            }
            self.0 -= count;
            self.1.extend_from_slice(&bytes[..count]);
            Ok(count)
        }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn row_034_being_stuck_begins_when_the_socket_takes_nothing_more() {
        let tally = Tally::default();
        let (mut outgoing, mut scratch) = (Outgoing::new(tally.share()), Vec::new());
        let mut socket = Takes(10, Vec::new());
        outgoing.push_control(vec![1; 100]);
        assert_eq!((tally.bytes(), outgoing.stuck_since()), (0, None));
        let flushed = outgoing.flush(&mut socket, Framing::Raw, &mut scratch, at(1), drop);
        assert_eq!(
            (flushed, outgoing.stuck_since()),
            (Flushed::Blocked, Some(at(1)))
        );
        outgoing.flush(&mut socket, Framing::Raw, &mut scratch, at(3), drop);
        assert_eq!((tally.bytes(), outgoing.stuck_since()), (90, Some(at(1))));
        socket.0 = 1;
        outgoing.flush(&mut socket, Framing::Raw, &mut scratch, at(4), drop);
        assert_eq!(outgoing.stuck_since(), Some(at(4)));
        socket.0 = 1000;
        let flushed = outgoing.flush(&mut socket, Framing::Raw, &mut scratch, at(5), drop);
        assert_eq!((flushed, outgoing.stuck_since()), (Flushed::All, None));
        assert_eq!((tally.bytes(), socket.1.len()), (0, 100));
    }

    #[test]
    fn row_034_the_frame_under_way_is_finished_and_the_queue_dropped() {
        let tally = Tally::default();
        let (mut outgoing, mut scratch) = (Outgoing::new(tally.share()), Vec::new());
        let mut socket = Takes(10, Vec::new());
        outgoing.push_control(vec![1; 100]);
        outgoing.flush(&mut socket, Framing::Raw, &mut scratch, at(0), drop);
        outgoing.push_control(vec![2; 100]);
        outgoing.drop_queue();
        outgoing.push_control(vec![3; 100]);
        socket.0 = 1000;
        outgoing.flush(&mut socket, Framing::Raw, &mut scratch, at(0), drop);
        assert_eq!(socket.1, [vec![1; 100], vec![3; 100]].concat());
        outgoing.push_control(vec![4; 100]);
        drop(outgoing);
        assert_eq!(tally.bytes(), 0);
    }

    fn message(text: &str) -> Frame {
        Frame::Text(text.into())
    }

    fn texts(frames: impl IntoIterator<Item = Frame>) -> Vec<String> {
        frames.into_iter().map(|frame| frame.to_text()).collect()
    }

    #[test]
    fn messages_are_handed_on_when_they_are_written_and_not_before() {
        let tally = Tally::default();
        let (mut outgoing, mut scratch) = (Outgoing::new(tally.share()), Vec::new());
        let (mut socket, mut taken) = (Takes(0, Vec::new()), Vec::new());
        outgoing.push(message("one"));
        // It may have arrived, as far as anybody can tell.
        outgoing.flush(&mut socket, Framing::Raw, &mut scratch, at(0), |frame| {
            taken.push(frame)
        });
        outgoing.push(message("two"));
        outgoing.push_control(vec![1; 100]);
        assert_eq!(texts(taken), ["one"]);
        assert!(tally.bytes() > 100);
        assert_eq!(texts(outgoing.abandon()), ["two"]);
        assert!(outgoing.is_empty());
        assert_eq!((tally.bytes(), outgoing.stuck_since()), (0, None));
    }

    #[test]
    fn what_is_sealed_is_written_and_nothing_of_it_comes_back() {
        let tally = Tally::default();
        let (mut outgoing, mut scratch) = (Outgoing::new(tally.share()), Vec::new());
        let (mut socket, mut taken) = (Takes(1000, Vec::new()), Vec::new());
        outgoing.push(message("one"));
        outgoing.push_control(vec![1; 100]);
        outgoing.seal(Framing::Raw, |frame| taken.push(frame));
        assert_eq!(texts(taken), ["one"]);
        let flushed = outgoing.flush(&mut socket, Framing::Raw, &mut scratch, at(0), drop);
        // The message has a header of two bytes.
        assert_eq!((flushed, socket.1.len()), (Flushed::All, 105));
        assert_eq!(outgoing.abandon().count(), 0);
    }
}
