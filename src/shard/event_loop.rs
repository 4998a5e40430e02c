//! The shard's thread: sockets, mail, time, and the list of connections with unsent output, in turns.

use std::collections::{BTreeSet, VecDeque};
use std::io::{ErrorKind, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use updraft_protocol::message::Frame;
use updraft_protocol::session::{Action, Output, Run, Session};

use super::client::{Client, Running};
use super::fan_out::{FanOut, Outcome};
use super::outgoing::{Flushed, Outgoing};
use super::{Arrival, Limits};
use crate::bus::{BusError, Gap, Message};
use crate::clock;
use crate::connection::Connection;
use crate::error::Error;
use crate::ids;
use crate::mailbox::{Address, Delivery, Inbox, Letter, Mail, Place};
use crate::services::Services;
use crate::transport::websocket::{self, Incoming, Reader};

/// The token of the inbox's waker; connections have their place's.
pub(super) const WAKER: Token = Token(usize::MAX);

/// What is read from a socket at a time.
const READ: usize = 64 * 1024;

/// Connections written to before the inbox is looked at: what has come in meanwhile joins the writes still to be made.
const WRITES_PER_LOOK: usize = 32;

/// Connections written to before sockets and timers get their turn.
const WRITES_PER_TURN: usize = 512;

pub(super) struct EventLoop {
    poll: Poll,
    inbox: Arc<Inbox>,
    number: usize,
    services: Arc<Services>,
    limits: Limits,
    started: Instant,
    /// The time of this turn, since `started`.
    now: Duration,
    clients: Slab<Client>,
    arrivals: u64,
    /// When which connection wants to be looked at.
    timers: BTreeSet<(Duration, usize)>,
    fan_out: FanOut,
    /// Connections with unsent output, each once. Filled by whatever sends, drained by `write`.
    unsent: VecDeque<usize>,
    state: State,
    /// Shared by all connections, empty between uses.
    input: Box<[u8]>,
    scratch: Vec<u8>,
    out: Output,
    delivery: Delivery,
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
        services: Arc<Services>,
        limits: Limits,
    ) -> Self {
        Self {
            poll,
            inbox,
            number,
            services,
            limits,
            started: clock::now(),
            now: Duration::ZERO,
            clients: Slab::new(),
            arrivals: 0,
            timers: BTreeSet::new(),
            fan_out: FanOut::default(),
            unsent: VecDeque::new(),
            state: State::Serving,
            input: vec![0; READ].into_boxed_slice(),
            scratch: Vec::with_capacity(2 * READ),
            out: Output::default(),
            delivery: Delivery::default(),
        }
    }

    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        while self.state != State::Stopped {
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
                if event.is_readable() || event.is_read_closed() || event.is_error() {
                    self.read(index, event.is_read_closed() || event.is_error());
                }
            }
            self.look_into_inbox();
            self.look_at_timers();
            self.write();
            if self.state == State::ShuttingDown && self.clients.is_empty() {
                self.state = State::Stopped;
            }
        }
        let everybody: Vec<usize> = self.clients.iter().map(|(index, _)| index).collect();
        everybody.into_iter().for_each(|index| self.lost(index));
    }

    /// How long to wait for sockets: not at all with something to do, else until the next timer.
    fn patience(&self) -> Option<Duration> {
        if !self.unsent.is_empty() || !self.inbox.may_sleep() {
            return Some(Duration::ZERO);
        }
        let now = clock::now().duration_since(self.started);
        let (next, _) = self.timers.first()?;
        // Rounded up, for a timer must have come when it is looked at.
        Some(
            next.saturating_sub(now)
                .saturating_add(Duration::from_millis(1)),
        )
    }

    fn look_into_inbox(&mut self) {
        let mut delivery = std::mem::take(&mut self.delivery);
        self.inbox.take(&mut delivery);
        for letter in delivery.letters.drain(..) {
            match letter {
                Letter::Batch(batch) => batch.iter().for_each(|message| self.deliver(message)),
                Letter::Mail { to, address, mail } => {
                    address.received(&mail);
                    self.mail(to, mail);
                }
                Letter::Arrival(arrival) => self.arrive(*arrival),
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
                    self.gap(&channels);
                }
                Letter::Refused(channel, error) => self.refused(&channel, error),
                Letter::ShutDown => {
                    self.state = State::ShuttingDown;
                    let everybody: Vec<usize> =
                        self.clients.iter().map(|(index, _)| index).collect();
                    everybody
                        .into_iter()
                        .for_each(|index| self.close(index, 1001, "Going away"));
                }
                Letter::Stop => self.state = State::Stopped,
            }
        }
        if !delivery.dropped.is_empty() {
            let channels = delivery.dropped.len();
            tracing::warn!(
                channels,
                "A shard could not keep up; messages were dropped."
            );
            self.gap(&delivery.dropped);
            delivery.dropped.clear();
        }
        self.delivery = delivery;
    }

    fn look_at_timers(&mut self) {
        while let Some(&(at, index)) = self.timers.first()
            && at <= self.now
        {
            self.timers.pop_first();
            let Some(client) = self.clients.get_mut(index) else {
                continue;
            };
            client.timer = None;
            if client.closing.is_some_and(|until| until <= self.now) {
                self.lost(index);
                continue;
            }
            client.session.handle_timeout(self.now, &mut self.out);
            self.settle(index);
        }
    }

    fn write(&mut self) {
        for written in 1..=WRITES_PER_TURN {
            let Some(index) = self.unsent.pop_front() else {
                break;
            };
            // The place may have been given to another connection meanwhile, which is not listed.
            let Some(client) = self
                .clients
                .get_mut(index)
                .filter(|it| it.outgoing.is_listed)
            else {
                continue;
            };
            client.outgoing.is_listed = false;
            match client.outgoing.flush(&mut client.socket, &mut self.scratch) {
                Flushed::All => client.written(),
                Flushed::Blocked => {}
                Flushed::Lost => self.lost(index),
            }
            if written % WRITES_PER_LOOK == 0 {
                self.look_into_inbox();
            }
        }
    }

    fn arrive(&mut self, arrival: Arrival) {
        if self.state != State::Serving {
            return;
        }
        if let Err(error) = self.admit(arrival) {
            tracing::warn!(%error, "A connection could not be taken over.");
        }
    }

    fn admit(&mut self, arrival: Arrival) -> std::io::Result<()> {
        let Arrival {
            socket,
            mut leftover,
            client_address,
            headers,
        } = arrival;
        let mut socket = mio::net::TcpStream::from_std(socket);
        let entry = self.clients.vacant_entry();
        let index = entry.key();
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut socket, Token(index), interest)?;
        self.arrivals += 1;
        let place = Place {
            index,
            generation: self.arrivals,
        };
        let address = Address::new(self.inbox.clone(), self.number, place, self.limits.output);
        let id = ids::session_id()?;
        let session = Session::new(&id, self.services.session.clone(), self.now);
        let context = Connection::new(
            &id,
            client_address,
            headers,
            Arc::new(address),
            self.services.clone(),
        );
        tracing::debug!(connection = %context.log_id(), %client_address, "A client arrived.");
        entry.insert(Client {
            generation: self.arrivals,
            socket,
            reader: Reader::default(),
            session,
            context,
            outgoing: Outgoing::default(),
            subscriptions: Vec::new(),
            timer: None,
            closing: None,
            is_paused: false,
            is_counted: false,
        });
        self.services
            .gauges
            .connections
            .fetch_add(1, Ordering::Relaxed);
        while !leftover.is_empty() {
            let piece = leftover.split_to(leftover.len().min(self.input.len()));
            self.input[..piece.len()].copy_from_slice(&piece);
            self.take_in(index, piece.len());
        }
        self.settle(index);
        Ok(())
    }

    /// The socket takes output again.
    fn unblocked(&mut self, index: usize) {
        if let Some(client) = self.clients.get_mut(index)
            && client.outgoing.is_blocked
        {
            client.outgoing.is_blocked = false;
            self.list(index);
        }
    }

    /// Reads what the socket has. `to_the_end` when the peer has finished, which a short read would not show.
    fn read(&mut self, index: usize, to_the_end: bool) {
        loop {
            let Some(client) = self.clients.get_mut(index) else {
                return;
            };
            if client.is_paused && !to_the_end {
                return;
            }
            match client.socket.read(&mut self.input) {
                Ok(0) => return self.lost(index),
                Ok(_) if client.closing.is_some() => {}
                Ok(count) => {
                    self.take_in(index, count);
                    self.settle(index);
                    if count < self.input.len() && !to_the_end {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return self.lost(index),
            }
        }
    }

    /// Hands the first `count` bytes of the input buffer to a connection's session.
    fn take_in(&mut self, index: usize, count: usize) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        let Client {
            reader,
            session,
            outgoing,
            ..
        } = client;
        let message = if session.is_connected() {
            self.limits.message
        } else {
            self.limits.first_message
        };
        let mut ending = None;
        let mut pong = None;
        let taken = self.input.get_mut(..count).unwrap_or_default();
        let outcome = reader.read(taken, websocket::Limits { message }, &mut |incoming| {
            match incoming {
                Incoming::Message(text) if ending.is_none() => {
                    session.receive(text, self.now, &mut self.out);
                }
                // Of several pings the latest is answered.
                Incoming::Ping(payload) => pong = Some(websocket::pong(payload)),
                Incoming::Close(code) => ending = ending.or(Some((code, ""))),
                Incoming::Message(_) => {}
            }
        });
        if let Err(violation) = outcome {
            ending = ending.or(Some((violation.code, violation.reason)));
        }
        if let Some(pong) = pong {
            outgoing.push_control(pong);
            self.list(index);
        }
        if let Some((code, reason)) = ending {
            self.settle(index);
            self.close(index, code, reason);
        }
    }

    /// Carries out what the session has asked for: its frames, its actions, its next timer.
    fn settle(&mut self, index: usize) {
        let mut out = std::mem::take(&mut self.out);
        if let Some(client) = self.clients.get_mut(index)
            && !out.frames.is_empty()
        {
            out.frames
                .drain(..)
                .for_each(|frame| client.outgoing.push(frame));
            self.list(index);
        }
        out.frames.clear();
        for action in out.actions.drain(..) {
            self.act(index, action);
        }
        self.out = out;
        self.check_pressure(index);
        self.set_timer(index);
    }

    fn act(&mut self, index: usize, action: Action) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        let gauges = &self.services.gauges;
        match action {
            Action::Connected => {
                client.is_counted = true;
                gauges.sessions.fetch_add(1, Ordering::Relaxed);
            }
            Action::Publish {
                run,
                publication,
                params,
            } => {
                let Some(publication) = self.services.publications.get(publication) else {
                    return;
                };
                gauges.subscriptions.fetch_add(1, Ordering::Relaxed);
                if let Some(encoding) = client.session.encoding(run) {
                    publication.log_encoding(encoding);
                }
                let subscription = publication.start(client.context.clone(), run, params);
                client.subscriptions.push(Running {
                    run,
                    subscription,
                    followers: Vec::new(),
                    on_gap: None,
                });
            }
            Action::Call {
                run,
                method,
                params,
                seed,
            } => {
                if let Some(method) = self.services.methods.get(method) {
                    method.start(client.context.clone(), run, params, seed);
                }
            }
            Action::Stop(run) => {
                let Some(running) = client.take_running(run) else {
                    return;
                };
                gauges.subscriptions.fetch_sub(1, Ordering::Relaxed);
                running
                    .followers
                    .into_iter()
                    .for_each(|id| self.fan_out.remove(id));
                running.subscription.over();
            }
            Action::Gap(run) => self.missed(index, run),
            Action::Close { code, reason } => self.close(index, code, reason),
            _ => {}
        }
    }

    fn mail(&mut self, to: Place, mail: Mail) {
        let index = to.index;
        let client = self
            .clients
            .get_mut(index)
            .filter(|it| it.generation == to.generation);
        let Some(client) = client else { return };
        let (session, out) = (&mut client.session, &mut self.out);
        match mail {
            Mail::Published(run, outcome) => session.published(run, outcome, out),
            Mail::Returned(run, outcome) => session.returned(run, outcome, self.now, out),
            Mail::Unblock(run) => session.unblock(run, out),
            Mail::HoldReady(run) => session.hold_ready(run),
            Mail::Ready(run) => session.ready(run, out),
            Mail::Added(run, it) => session.added(run, &it.collection, &it.id, it.fields, out),
            Mail::Changed(run, it) => session.changed(run, &it.collection, &it.id, it.fields, out),
            Mail::Removed(run, it) => session.removed(run, &it.0, &it.1, out),
            Mail::Stop(run, error) => session.stop(run, error.as_deref(), out),
            Mail::BeginWrite(run) => session.begin_write(run),
            Mail::EndWrite(run) => session.end_write(run, out),
            Mail::Close => session.close(out),
            Mail::On {
                run,
                leases,
                mapper,
            } => {
                // A subscription that is over meanwhile drops its leases here.
                if let Some(encoding) = session.encoding(run)
                    && let Some(running) = client.running_mut(run)
                {
                    let subscription = running.subscription.clone();
                    let id = self
                        .fan_out
                        .add(index, run, encoding, subscription, leases, mapper);
                    running.followers.push(id);
                }
            }
            Mail::OnGap(run, on_gap) => {
                if let Some(running) = client.running_mut(run) {
                    running.on_gap = Some(on_gap);
                }
            }
            Mail::Event {
                run,
                message,
                event,
            } => {
                if let Some(encoding) = session.encoding(run)
                    && let Some((body, is_array)) = event.print(&message, encoding.is_ejson())
                {
                    let tail = encoding.tail(body, is_array);
                    if let Some(head) = session.event(run, &tail, out) {
                        out.frames.push(Frame::Event { head, tail });
                    }
                }
            }
            Mail::Overflow => self.slow(index),
        }
        self.settle(index);
        self.resume(index);
    }

    /// A message of the bus, to everybody here who follows its channel.
    fn deliver(&mut self, message: &Arc<Message>) {
        let Self {
            fan_out,
            clients,
            unsent,
            out,
            limits,
            ..
        } = self;
        let mut lost = Vec::new();
        fan_out.deliver(message, |index, run, outcome| {
            let tail = match outcome {
                Outcome::Event(tail) => tail,
                Outcome::Nothing => return,
                Outcome::Lost => return lost.push((index, Some(run))),
            };
            let Some(client) = clients.get_mut(index) else {
                return;
            };
            let Some(head) = client.session.event(run, &tail, out) else {
                // All that an event can ask for is that a gap is told.
                if !out.actions.is_empty() {
                    out.actions.clear();
                    lost.push((index, Some(run)));
                }
                return;
            };
            let outgoing = &mut client.outgoing;
            outgoing.push(Frame::Event { head, tail });
            if !outgoing.is_listed && !outgoing.is_blocked {
                outgoing.is_listed = true;
                unsent.push_back(index);
            }
            if outgoing.bytes() > limits.output {
                lost.push((index, None));
            }
        });
        for (index, run) in lost {
            match run {
                Some(run) => self.missed(index, run),
                None => self.slow(index),
            }
        }
    }

    /// Messages of these channels may be missing: each subscription that follows any of them is told, once.
    fn gap(&mut self, channels: &[Arc<str>]) {
        let followers = channels
            .iter()
            .flat_map(|channel| self.fan_out.followers(channel));
        let mut told: Vec<(usize, Run)> = followers.collect();
        told.sort_unstable();
        told.dedup();
        for (index, run) in told {
            self.missed(index, run);
        }
    }

    /// The bus no longer carries a channel: whoever follows it is told, instead of hearing nothing.
    fn refused(&mut self, channel: &str, error: BusError) {
        let mut followers: Vec<(usize, Run)> = self.fan_out.followers(channel).collect();
        followers.sort_unstable();
        followers.dedup();
        let error = Error::not_followed(error).into_wire();
        for (index, run) in followers {
            if let Some(client) = self.clients.get_mut(index) {
                client.session.stop(run, Some(&error), &mut self.out);
                self.settle(index);
            }
        }
    }

    fn missed(&mut self, index: usize, run: Run) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        let Some(running) = client.running_mut(run) else {
            return;
        };
        self.services.gauges.gaps.fetch_add(1, Ordering::Relaxed);
        if let Some(on_gap) = &mut running.on_gap
            && catch_unwind(AssertUnwindSafe(on_gap)).is_err()
        {
            tracing::error!(connection = %client.context.log_id(), "A gap callback panicked.");
        }
    }

    fn check_pressure(&mut self, index: usize) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        if client.closing.is_none() && client.outgoing.bytes() > self.limits.output {
            return self.slow(index);
        }
        client.is_paused = client.session.queued() >= self.limits.queued_messages;
    }

    /// Reads on where a connection had too many messages queued.
    fn resume(&mut self, index: usize) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        if client.is_paused && client.session.queued() < self.limits.queued_messages {
            client.is_paused = false;
            self.read(index, false);
        }
    }

    /// A client that does not read loses its connection; nobody else notices.
    fn slow(&mut self, index: usize) {
        let Some(client) = self
            .clients
            .get_mut(index)
            .filter(|it| it.closing.is_none())
        else {
            return;
        };
        self.services
            .gauges
            .slow_clients
            .fetch_add(1, Ordering::Relaxed);
        tracing::info!(connection = %client.context.log_id(), "A client does not read; it is closed.");
        client.outgoing.drop_queue();
        self.close(index, 1013, "Slow consumer");
    }

    /// Ends the session; what it has sent is written, then the close frame.
    fn close(&mut self, index: usize, code: u16, reason: &str) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        if client.closing.is_some() {
            return;
        }
        client.close(code, reason, self.now.saturating_add(self.limits.linger));
        self.end_session(index);
        self.list(index);
        self.set_timer(index);
    }

    /// The connection is gone.
    fn lost(&mut self, index: usize) {
        self.end_session(index);
        let Some(mut client) = self.clients.try_remove(index) else {
            return;
        };
        if let Some(at) = client.timer {
            self.timers.remove(&(at, index));
        }
        // Fails only for a socket that is not registered, and then nothing is left to do.
        drop(self.poll.registry().deregister(&mut client.socket));
        let gauges = &self.services.gauges;
        gauges.connections.fetch_sub(1, Ordering::Relaxed);
        gauges
            .sessions
            .fetch_sub(usize::from(client.is_counted), Ordering::Relaxed);
        tracing::debug!(connection = %client.context.log_id(), "A client left.");
        client.context.closed();
    }

    fn end_session(&mut self, index: usize) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        let mut out = Output::default();
        client.session.end(&mut out);
        for action in out.actions {
            self.act(index, action);
        }
    }

    /// Notes a connection as one with unsent output, once.
    fn list(&mut self, index: usize) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        let outgoing = &mut client.outgoing;
        if !outgoing.is_listed && !outgoing.is_blocked {
            outgoing.is_listed = true;
            self.unsent.push_back(index);
        }
    }

    /// A timer that is due too early costs a look and is set anew; so only an earlier time replaces one.
    fn set_timer(&mut self, index: usize) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        let Some(next) = client.next_timeout() else {
            return;
        };
        match client.timer {
            Some(set) if set <= next => {}
            set => {
                if let Some(set) = set {
                    self.timers.remove(&(set, index));
                }
                client.timer = Some(next);
                self.timers.insert((next, index));
            }
        }
    }
}
