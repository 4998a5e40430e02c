//! The event loop of a shard's thread: sockets, letters, timers, and connections with unsent output
//! take turns. Each turn is bounded, whatever one connection does.
//!
//! The loop is made of parts that own their state: [`Clients`], [`FanOut`], [`Following`],
//! [`UnsentQueue`], [`Letters`], [`HandlerStarts`]. What a session asks for is its [`Output`], which is passed
//! along: a function that tells a session something also has its output carried out
//! (`carrying_out`).

mod admitting;
mod carrying_out;
mod clients;
mod delivering;
mod draining;
mod ending;
mod following;
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
mod upstream;
mod user;
mod writing;

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use mio::event::Event;
use mio::{Events, Poll};
use updraft_protocol::session::Output;

use super::ClientLimits;
use super::fan_out::FanOut;
use super::following::Following;
use super::inbox::Inbox;
use super::shared::Shared;
use super::tokens::Owner;
use clients::Clients;
use draining::CloseSchedule;
use ending::Ending;
use handler_starts::HandlerStarts;
use letters::Letters;
use resuming::ResumeRequest;
use shard_context::{Phase, ShardContext};
use unsent::UnsentQueue;
use upstream::UpstreamQueue;

/// The most bytes of one read from a socket.
const READ_BYTES: usize = 64 * 1024;

pub(super) struct EventLoop {
    poll: Poll,
    /// State that all parts read. The time is set each turn, the phase when the server ends.
    shard: ShardContext,
    clients: Clients,
    fan_out: FanOut,
    following: Following,
    unsent: UnsentQueue,
    upstreams: UpstreamQueue,
    /// Connections with more to read than they may in one turn, each once. Filled by `read`,
    /// drained by `read_on`.
    unread: VecDeque<usize>,
    /// Clients that want to resume a session. Filled by sessions, drained each turn; each client
    /// stands in it once.
    resume_requests: Vec<ResumeRequest>,
    /// The clients that are still to be closed during shutdown.
    close_schedule: CloseSchedule,
    starts: HandlerStarts,
    letters: Letters,
    buffers: Buffers,
}

/// Buffers that all connections share; empty between uses.
struct Buffers {
    /// Bytes of one read.
    input: Box<[u8]>,
    /// Bytes that are put together for one write.
    output: Vec<u8>,
}

impl EventLoop {
    pub(super) fn new(
        poll: Poll,
        inbox: Arc<Inbox>,
        shared: Arc<Shared>,
        limits: ClientLimits,
    ) -> Self {
        let following = Following::new(inbox.clone(), &limits);
        Self {
            poll,
            shard: ShardContext::new(inbox, shared, limits),
            clients: Clients::default(),
            fan_out: FanOut::default(),
            following,
            unsent: UnsentQueue::default(),
            upstreams: UpstreamQueue::default(),
            unread: VecDeque::new(),
            resume_requests: Vec::new(),
            close_schedule: CloseSchedule::default(),
            starts: HandlerStarts::default(),
            letters: Letters::default(),
            buffers: Buffers {
                input: vec![0; READ_BYTES].into_boxed_slice(),
                output: Vec::with_capacity(2 * READ_BYTES),
            },
        }
    }

    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        // Empty between uses. It is passed along, so that its memory is used again.
        let mut out = Output::default();
        while self.shard.phase != Phase::Stopped {
            self.shard.inbox.set_clients(self.clients.len());
            let poll_timeout = self.poll_timeout();
            if let Err(error) = self.poll.poll(&mut events, poll_timeout)
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
        self.read_on_upstream(out);
        self.begin_handlers();
        self.look_into_inbox(out);
        self.look_at_timers(out);
        self.close_due();
        self.answer_resume_requests(out);
        self.begin_handlers();
        self.write_upstreams(out);
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
        let index = match Owner::of(event.token()) {
            Owner::Client(index) => index,
            Owner::Upstream(index) => return self.upstream_is_ready(index, event, out),
            Owner::Waker => return,
        };
        if event.is_writable() {
            self.unblocked(index);
        }
        let has_hung_up = event.is_read_closed() || event.is_error();
        if has_hung_up {
            self.hung_up(index, event.is_error() || event.is_write_closed());
        }
        if event.is_readable() || has_hung_up {
            self.read(index, out);
        }
    }

    /// Ends every connection that is left, because the thread ends.
    fn stop(mut self) {
        self.shard.phase = Phase::Stopped;
        for index in self.clients.places() {
            self.end(index, Ending::Lost);
        }
        self.shard.inbox.close();
        self.letters.discard();
        self.shed_load();
    }

    /// How long to wait for sockets: not at all if there is something to do, else until the next
    /// timer.
    fn poll_timeout(&self) -> Option<Duration> {
        let is_busy = !(self.unsent.is_empty()
            && self.upstreams.is_empty()
            && self.unread.is_empty()
            && self.resume_requests.is_empty()
            && self.letters.is_empty()
            && self.following.is_idle());
        if is_busy || !self.shard.inbox.may_sleep() {
            return Some(Duration::ZERO);
        }
        let next = [self.clients.next_timer(), self.close_schedule.next()];
        let next = next.into_iter().flatten().min()?;
        // Rounded up, because a timer must be due when the loop looks at it.
        let left = next.saturating_sub(self.shard.elapsed());
        Some(left.saturating_add(Duration::from_millis(1)))
    }

    /// Reads the waiting letters, as far as their messages may run ahead of the writes. The rest is
    /// read when some output is written. Then starts the handlers that were asked for.
    fn look_into_inbox(&mut self, out: &mut Output) {
        self.read_letters(out);
        self.serve_followers(out);
        self.begin_handlers();
    }

    fn begin_handlers(&mut self) {
        self.starts.begin(&self.shard.shared.host);
    }
}
