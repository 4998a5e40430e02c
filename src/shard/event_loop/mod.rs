//! The shard's thread: sockets, letters, time, and the connections with unsent output, in turns. Each
//! turn is bounded, whatever one connection does.
//!
//! The loop is made of parts, each of which owns its state: [`Clients`], [`FanOut`], [`UnsentQueue`],
//! [`Letters`], [`HandlerStarts`]. What a session asks for is its [`Output`], which is passed along:
//! whoever has something said to a session has its answer carried out (`carrying_out`).

mod admitting;
mod carrying_out;
mod clients;
mod delivering;
mod draining;
mod ending;
mod handler_starts;
mod letters;
mod listing;
mod mail;
mod orders;
mod polling;
mod pressure;
mod reading;
mod resuming;
mod shard_context;
mod timeouts;
mod unsent;
mod user;
mod writing;

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use mio::event::Event;
use mio::{Events, Poll, Token};
use updraft_protocol::session::Output;

use super::ClientLimits;
use super::fan_out::FanOut;
use super::inbox::Inbox;
use super::shared::Shared;
use clients::Clients;
use draining::Leaving;
use ending::Ending;
use handler_starts::HandlerStarts;
use letters::Letters;
use resuming::ResumeRequest;
use shard_context::{Phase, ShardContext};
use unsent::UnsentQueue;

/// The token of the inbox's waker; connections have their place's.
pub(super) const WAKER: Token = Token(usize::MAX);

/// What is read from a socket at a time.
const READ: usize = 64 * 1024;

pub(super) struct EventLoop {
    poll: Poll,
    /// What all parts read. The time is set each turn, the phase when the server ends.
    shard: ShardContext,
    clients: Clients,
    fan_out: FanOut,
    unsent: UnsentQueue,
    /// Connections with more to read than they may have in a turn, each once. Filled by `read`, drained
    /// by `read_on`.
    unread: VecDeque<usize>,
    /// Clients that want a session back. Filled by sessions, drained each turn; each client stands in
    /// it once.
    resume_requests: Vec<ResumeRequest>,
    /// Who is still to be closed while the server shuts down.
    leaving: Leaving,
    starts: HandlerStarts,
    letters: Letters,
    buffers: Buffers,
}

/// Shared by all connections, empty between uses.
struct Buffers {
    /// What was read.
    input: Box<[u8]>,
    /// What is put together for one write.
    output: Vec<u8>,
}

impl EventLoop {
    pub(super) fn new(
        poll: Poll,
        inbox: Arc<Inbox>,
        shared: Arc<Shared>,
        limits: ClientLimits,
    ) -> Self {
        Self {
            poll,
            shard: ShardContext::new(inbox, shared, limits),
            clients: Clients::default(),
            fan_out: FanOut::default(),
            unsent: UnsentQueue::default(),
            unread: VecDeque::new(),
            resume_requests: Vec::new(),
            leaving: Leaving::default(),
            starts: HandlerStarts::default(),
            letters: Letters::default(),
            buffers: Buffers {
                input: vec![0; READ].into_boxed_slice(),
                output: Vec::with_capacity(2 * READ),
            },
        }
    }

    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        // Empty between uses; passed along, so that its room is used again.
        let mut out = Output::default();
        while self.shard.phase != Phase::Stopped {
            self.shard.inbox.has_clients(self.clients.len());
            let patience = self.patience();
            if let Err(error) = self.poll.poll(&mut events, patience)
                && error.kind() != ErrorKind::Interrupted
            {
                tracing::error!(%error, "A shard cannot wait for its sockets.");
                break;
            }
            self.shard.inbox.awake();
            self.shard.tick();
            self.turn(&events, &mut out);
        }
        self.stop();
    }

    fn turn(&mut self, events: &Events, out: &mut Output) {
        for event in events {
            self.socket_is_ready(event, out);
        }
        self.read_on(out);
        self.begin_handlers();
        self.look_into_inbox(out);
        self.look_at_timers(out);
        self.close_leaving();
        self.answer_resume_requests(out);
        self.begin_handlers();
        self.write(out);
        self.begin_handlers();
        self.shed_load();
        if self.shard.phase == Phase::ShuttingDown
            && self.clients.is_empty()
            && self.letters.is_empty()
        {
            self.shard.phase = Phase::Stopped;
        }
    }

    fn socket_is_ready(&mut self, event: &Event, out: &mut Output) {
        let Token(index) = event.token();
        if event.is_writable() {
            self.unblocked(index);
        }
        let has_hung_up = event.is_read_closed() || event.is_error();
        if has_hung_up && let Some(client) = self.clients.get_mut(index) {
            client.link.hung_up();
        }
        if event.is_readable() || has_hung_up {
            self.read(index, out);
        }
    }

    /// The thread ends, and with it whatever is left.
    fn stop(mut self) {
        self.shard.phase = Phase::Stopped;
        for index in self.clients.places() {
            self.end(index, Ending::Lost);
        }
        self.shard.inbox.close();
        self.letters.discard();
        self.shed_load();
    }

    /// How long to wait for sockets: not at all with something to do, else until the next timer.
    fn patience(&self) -> Option<Duration> {
        let is_busy = !(self.unsent.is_empty()
            && self.unread.is_empty()
            && self.resume_requests.is_empty()
            && self.letters.is_empty());
        if is_busy || !self.shard.inbox.may_sleep() {
            return Some(Duration::ZERO);
        }
        let next = [self.clients.next_timer(), self.leaving.next()];
        let next = next.into_iter().flatten().min()?;
        // Rounded up, for a timer must have come when it is looked at.
        let left = next.saturating_sub(self.shard.elapsed());
        Some(left.saturating_add(Duration::from_millis(1)))
    }

    /// Reads the letters that are here, as far as their messages may run ahead of the writes; the rest
    /// has its turn when some is written. The handlers that they ask for begin.
    fn look_into_inbox(&mut self, out: &mut Output) {
        self.read_letters(out);
        self.begin_handlers();
    }

    fn begin_handlers(&mut self) {
        self.starts.begin(&self.shard.shared.host);
    }
}
