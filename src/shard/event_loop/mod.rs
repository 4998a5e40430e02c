//! The shard's thread: sockets, mail, time, and the list of connections with unsent output, in turns.
//! Each turn is bounded, whatever one connection does.

mod bus;
mod draining;
mod lifetime;
mod orders;
mod polling;
mod reading;
mod resuming;
mod sessions;
mod user;
mod writing;

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};
use slab::Slab;
use updraft_bus::{Batch, Gap};
use updraft_protocol::session::Output;

use super::ClientLimits;
use super::client::Client;
use super::fan_out::FanOut;
use super::timers::{Tick, Timers};
use crate::base::clock;
use crate::base::memory::Tally;
use crate::handler::Starts;
use crate::publication::Begun;
use crate::shard::Shared;
use crate::shard::inbox::{Delivery, Inbox, Letter};
use draining::Leaving;
use resuming::Wanted;

/// The token of the inbox's waker; connections have their place's.
pub(super) const WAKER: Token = Token(usize::MAX);

/// What is read from a socket at a time.
const READ: usize = 64 * 1024;

/// Room for letters that is kept between turns.
const KEPT_LETTERS: usize = 1024;

/// Room for due timers that is kept between turns.
const KEPT_DUE: usize = 1024;

pub(super) struct EventLoop {
    poll: Poll,
    inbox: Arc<Inbox>,
    number: usize,
    shared: Arc<Shared>,
    limits: ClientLimits,
    started: Instant,
    /// The time of this turn, since `started`.
    now: Duration,
    /// Each by itself: a slab of them would be copied as it grows, which takes their memory twice.
    clients: Slab<Box<Client>>,
    arrivals: u64,
    /// When which connection wants to be looked at.
    timers: Timers,
    /// Those whose time has come; empty between uses.
    due: Vec<usize>,
    fan_out: FanOut,
    /// Connections with unsent output, each once. Filled by whatever sends, drained by `write`.
    unsent: VecDeque<usize>,
    /// Connections with more to read than they may have in a turn, each once. Filled by `read`, drained by `read_on`.
    unread: VecDeque<usize>,
    /// Clients that want a session back. Filled by sessions, drained each turn; each client stands in it once.
    wanted: Vec<Wanted>,
    /// Bytes that wait for the connections.
    output_tally: Tally,
    /// Bytes of theirs that wait for handlers, and those that are kept until a user has changed or a client is back.
    input_tally: Tally,
    state: State,
    /// Who is still to be closed while the server shuts down.
    leaving: Leaving,
    /// Shared by all connections, empty between uses.
    input: Box<[u8]>,
    scratch: Vec<u8>,
    out: Output,
    /// The latest handler that a session has asked for together with others.
    begun: Option<Begun>,
    /// Handlers that were asked for together. Filled by `act`, emptied by `begin_handlers`.
    starts: Starts,
    delivery: Delivery,
    /// Letters of the delivery that nobody has looked at: what was delivered before them is written first.
    letters: VecDeque<Letter>,
    /// The batch that was looked at last, and how many of its messages were delivered.
    batch: Option<(Batch, usize)>,
    /// Bytes that were counted for the connections in `unsent`; those of connections that are gone are forgotten when
    /// there is none left.
    ahead: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Serving,
    ShuttingDown,
    Stopped,
}

impl EventLoop {
    pub(super) fn new(
        poll: Poll,
        inbox: Arc<Inbox>,
        number: usize,
        shared: Arc<Shared>,
        limits: ClientLimits,
    ) -> Self {
        Self {
            poll,
            inbox,
            number,
            shared,
            limits,
            started: clock::now(),
            now: Duration::ZERO,
            clients: Slab::new(),
            arrivals: 0,
            timers: Timers::new(),
            due: Vec::new(),
            fan_out: FanOut::default(),
            unsent: VecDeque::new(),
            unread: VecDeque::new(),
            wanted: Vec::new(),
            output_tally: Tally::default(),
            input_tally: Tally::default(),
            state: State::Serving,
            leaving: Leaving::default(),
            input: vec![0; READ].into_boxed_slice(),
            scratch: Vec::with_capacity(2 * READ),
            out: Output::default(),
            begun: None,
            starts: Starts::default(),
            delivery: Delivery::default(),
            letters: VecDeque::new(),
            batch: None,
            ahead: 0,
        }
    }

    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        while self.state != State::Stopped {
            self.inbox.has_clients(self.clients.len());
            let patience = self.patience();
            if let Err(error) = self.poll.poll(&mut events, patience)
                && error.kind() != ErrorKind::Interrupted
            {
                tracing::error!(%error, "A shard cannot wait for its sockets.");
                break;
            }
            self.inbox.awake();
            self.now = clock::now().duration_since(self.started);
            for event in &events {
                let Token(index) = event.token();
                if event.is_writable() {
                    self.unblocked(index);
                }
                let has_hung_up = event.is_read_closed() || event.is_error();
                if has_hung_up && let Some(client) = self.clients.get_mut(index) {
                    client.link.hung_up();
                }
                if event.is_readable() || has_hung_up {
                    self.read(index);
                }
            }
            self.read_on();
            self.begin_handlers();
            self.look_into_inbox();
            self.look_at_timers();
            self.close_leaving();
            self.look_for_sessions();
            self.begin_handlers();
            self.write();
            self.begin_handlers();
            self.relieve();
            let is_empty = self.clients.is_empty() && self.has_read_inbox();
            if self.state == State::ShuttingDown && is_empty {
                self.state = State::Stopped;
            }
        }
        let everybody: Vec<usize> = self.clients.iter().map(|(index, _)| index).collect();
        everybody.into_iter().for_each(|index| self.lost(index));
        self.inbox.close();
        self.letters.drain(..).for_each(Letter::discard);
        self.relieve();
    }

    /// How long to wait for sockets: not at all with something to do, else until the next timer.
    fn patience(&self) -> Option<Duration> {
        let is_busy = !(self.unsent.is_empty()
            && self.unread.is_empty()
            && self.wanted.is_empty()
            && self.has_read_inbox());
        if is_busy || !self.inbox.may_sleep() {
            return Some(Duration::ZERO);
        }
        let now = clock::now().duration_since(self.started);
        let next = [self.timers.next(), self.leaving.next()];
        let next = next.into_iter().flatten().min()?;
        // Rounded up, for a timer must have come when it is looked at.
        Some(
            next.saturating_sub(now)
                .saturating_add(Duration::from_millis(1)),
        )
    }

    /// Whether nothing is left of what was taken out of the inbox.
    fn has_read_inbox(&self) -> bool {
        self.letters.is_empty() && self.batch.is_none()
    }

    /// Reads the letters that are here, as far as their messages may run ahead of the writes; the rest has its turn
    /// when some is written. The handlers that they ask for begin.
    fn look_into_inbox(&mut self) {
        self.read_letters();
        self.begin_handlers();
    }

    fn begin_handlers(&mut self) {
        self.starts.begin(&self.shared.host);
    }

    fn read_letters(&mut self) {
        if !self.deliver_batch() {
            return;
        }
        if self.letters.is_empty() {
            self.tell_of_dropped();
            self.inbox.take(&mut self.delivery);
            // Who comes in need not wait until a burst for others is delivered.
            let letters = &mut self.delivery.letters;
            letters.sort_by_key(|letter| !matches!(letter, Letter::Arrival(_)));
            self.letters.extend(letters.drain(..));
        }
        while let Some(letter) = self.letters.pop_front() {
            match letter {
                Letter::Batch(batch) => {
                    self.batch = Some((batch, 0));
                    if !self.deliver_batch() {
                        // What was dropped was dropped behind these letters.
                        return;
                    }
                }
                Letter::Mail { to, address, mail } => self.mail(to, &address, mail),
                Letter::Arrival(arrival) => self.arrive(*arrival),
                Letter::Polling { session, request } => self.requested(&session, *request),
                Letter::Newcomer(newcomer) => self.newcomer(*newcomer),
                Letter::Gap(Gap {
                    generation,
                    channels,
                }) => {
                    let count = channels.len();
                    tracing::warn!(
                        generation,
                        count,
                        "The bus was away; its channels have a gap."
                    );
                    self.gap(channels.iter().cloned());
                }
                Letter::Refused(channel, error) => self.refused(&channel, error),
                Letter::ShutDown { spread } => self.drain(spread),
                Letter::Stop => self.state = State::Stopped,
            }
        }
        self.letters.shrink_to(KEPT_LETTERS);
        self.tell_of_dropped();
    }

    /// What was dropped behind the letters of the delivery is a gap.
    fn tell_of_dropped(&mut self) {
        let dropped = std::mem::take(&mut self.delivery.dropped);
        if !dropped.is_empty() {
            let channels = dropped.len();
            tracing::warn!(
                channels,
                "A shard could not keep up; messages were dropped."
            );
            self.gap(dropped);
        }
    }

    fn look_at_timers(&mut self) {
        let mut due = std::mem::take(&mut self.due);
        let clients = &self.clients;
        let timer = |index| clients.get(index).and_then(|client| client.timer);
        self.timers.take_due(self.now, &mut due, timer);
        let latest = Tick::latest(self.now);
        for index in due.drain(..) {
            let Some(client) = self.clients.get_mut(index) else {
                continue;
            };
            if client.timer.take_if(|tick| *tick <= latest).is_none() {
                continue;
            }
            let closing = client.closing.as_ref();
            if closing.is_some_and(|closing| closing.until <= self.now) {
                self.expired(index);
                continue;
            }
            if client.is_paused {
                // We do not listen, so its silence means nothing.
                client.session.heard();
            }
            client.session.handle_timeout(self.now, &mut self.out);
            self.settle(index);
            self.check_rival(index);
            self.beat(index);
            self.check_stuck(index);
            self.read_again(index);
        }
        due.shrink_to(KEPT_DUE);
        self.due = due;
    }

    /// A timer that is due too early costs a look and is set anew; so only an earlier time replaces one.
    fn set_timer(&mut self, index: usize) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        let Some(next) = client.next_timeout(&self.limits) else {
            return;
        };
        let tick = self.timers.tick(next);
        if client.timer.is_none_or(|set| tick < set) {
            client.timer = Some(tick);
            self.timers.set(tick, index);
        }
    }
}
