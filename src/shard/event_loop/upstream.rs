//! Between sessions and the Meteor server behind this one: opens their connections, reads and
//! writes them, and decides what becomes of a client whose connection ends.

use std::io::ErrorKind;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mio::event::Event;
use updraft_protocol::session::Output;

use super::EventLoop;
use super::ending::Ending;
use crate::gateway::{GatewaySettings, Opened, Unavailable, UpstreamEnd};
use crate::mail::Place;
use crate::shard::conversation::Conversation;
use crate::shard::inbox::Letter;
use crate::shard::upstream::{Leg, Sent, Upstream, leave_unused};
use crate::telemetry::GaugeGuard;
use crate::transport::websocket::{FrameRate, Incoming, Limits, Receiver, Sender};

/// Reads of one connection before the others get their turn.
const READS_PER_TURN: usize = 16;

/// The upstreams with output that was not written yet, and those with more to read.
#[derive(Debug, Default)]
pub(super) struct UpstreamQueue {
    /// Each once; `Leg::is_listed` marks those that are in it. Filled by `send_upstream`, drained by
    /// `write_upstreams`.
    unsent: Vec<usize>,
    /// Filled by `read_upstream`, drained each turn; an upstream may stand in it twice.
    unread: Vec<usize>,
}

impl UpstreamQueue {
    pub(super) fn is_empty(&self) -> bool {
        self.unsent.is_empty() && self.unread.is_empty()
    }
}

impl EventLoop {
    /// The session wants a connection to Meteor.
    pub(super) fn open_upstream(&mut self, index: usize) {
        let Some(gateway) = self.shard.shared.gateway.clone() else {
            return;
        };
        let inbox = self.shard.inbox.clone();
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        let to = client.place();
        let upstream = client.upstream.take().map(|upstream| *upstream);
        let Some(Upstream::Unasked(headers)) = upstream else {
            return;
        };
        let address = client.context.client_address();
        let opening = gateway.open(headers, address, move |opened| {
            inbox.put(Letter::Upstream {
                to,
                opened: Box::new(opened),
            });
        });
        client.upstream = Some(Box::new(Upstream::Opening { _attempt: opening }));
    }

    /// A connection to Meteor was opened for a client, or could not be.
    pub(super) fn upstream_opened(
        &mut self,
        to: Place,
        opened: Result<Opened, Unavailable>,
        out: &mut Output,
    ) {
        let index = to.index;
        let is_waiting = |upstream: &Upstream| matches!(upstream, Upstream::Opening { .. });
        let client = self.clients.find(to);
        let client = client.filter(|client| client.upstream.as_deref().is_some_and(is_waiting));
        let (client, mut opened) = match (client, opened) {
            (Some(client), Ok(opened)) => (client, opened),
            (None, Ok(opened)) => return leave_unused(opened),
            (None, Err(Unavailable)) => return,
            (Some(client), Err(Unavailable)) => {
                client.upstream = None;
                let (code, reason) = (1013, "Try again later");
                return self.end(index, Ending::Closed { code, reason });
            }
        };
        let session = opened.session.clone();
        let messages = std::mem::take(&mut opened.messages);
        let end = opened.end.take();
        let counted = GaugeGuard::new(&self.shard.shared.host.gauges);
        let timeout = self.shard.shared.gateway.as_ref();
        let timeout = timeout.map_or(Duration::ZERO, |it| it.settings().output_timeout);
        match Leg::new(opened, self.poll.registry(), index, timeout, counted) {
            Ok(leg) => client.upstream = Some(Box::new(Upstream::Open(leg))),
            Err(error) => {
                tracing::warn!(%error, "A connection to Meteor could not be taken over.");
                return self.restart_client(index);
            }
        }
        client.context = client.context.with_session(session.clone());
        let now = self.shard.now;
        if let Conversation::Ddp(ddp) = &mut client.session {
            ddp.upstream_connected(session, now, out);
            messages
                .iter()
                .for_each(|text| ddp.from_upstream(text, now, out));
        }
        self.carry_out(index, out);
        match end {
            Some(end) => self.upstream_ended(index, &end),
            None => self.read_upstream(index, out),
        }
        self.read_again(index, out);
    }

    /// The socket of a connection to Meteor is readable or writable.
    pub(super) fn upstream_is_ready(&mut self, index: usize, event: &Event, out: &mut Output) {
        let client = self.clients.get_mut(index);
        let leg = client.and_then(|client| client.upstream.as_mut()?.leg_mut());
        let Some(leg) = leg else {
            return;
        };
        leg.has_hung_up |= event.is_read_closed() || event.is_error();
        if event.is_writable() && leg.is_blocked() {
            self.flush_upstream(index, out);
        }
        self.read_upstream(index, out);
    }

    /// Reads what Meteor has sent, up to what one connection may have in a turn, and as far as its
    /// client can be sent more.
    pub(super) fn read_upstream(&mut self, index: usize, out: &mut Output) {
        for _ in 0..READS_PER_TURN {
            self.pause_upstream(index);
            let Some(client) = self.clients.get_mut(index) else {
                return;
            };
            let leg = client.upstream.as_mut().and_then(|it| it.leg_mut());
            let Some(leg) = leg.filter(|leg| !leg.is_paused) else {
                return;
            };
            let end = match leg.read(&mut self.buffers.input) {
                Ok(0) => Some(UpstreamEnd::Gone),
                Ok(count) => {
                    let is_last = !leg.may_have_more(count, self.buffers.input.len());
                    match self.take_in_upstream(index, count, out) {
                        None if is_last => return self.pause_upstream(index),
                        end => end,
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => None,
                Err(_) => Some(UpstreamEnd::Gone),
            };
            if let Some(end) = end {
                return self.upstream_ended(index, &end);
            }
        }
        self.upstreams.unread.push(index);
    }

    /// Hands the first `count` bytes of the input buffer to a session, as messages of Meteor.
    fn take_in_upstream(
        &mut self,
        index: usize,
        count: usize,
        out: &mut Output,
    ) -> Option<UpstreamEnd> {
        let settings = self.gateway_settings();
        let client = self.clients.get_mut(index)?;
        let Conversation::Ddp(session) = &mut client.session else {
            return None;
        };
        let leg = client.upstream.as_mut()?.leg_mut()?;
        let mut reader = std::mem::take(&mut leg.reader);
        let mut receiver = UpstreamReceiver {
            session,
            leg,
            out: &mut *out,
            largest: settings.message,
            now: self.shard.now,
            end: None,
        };
        let bytes = self.buffers.input.get_mut(..count).unwrap_or_default();
        let read = reader.read(bytes, self.shard.now, &mut receiver);
        let end = receiver.end;
        leg.reader = reader;
        self.list_upstream(index);
        self.carry_out(index, out);
        match read {
            Err(violation) => Some(UpstreamEnd::Violation(violation)),
            Ok(()) => end,
        }
    }

    /// Pauses a connection to Meteor whose client has much to receive, or whose session holds what
    /// comes from there.
    fn pause_upstream(&mut self, index: usize) {
        let backlog = self.gateway_settings().backlog;
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        let must_pause = client.outgoing.bytes() > backlog
            || client
                .session
                .ddp()
                .is_some_and(|session| session.holds_upstream());
        let leg = client.upstream.as_mut().and_then(|it| it.leg_mut());
        if let Some(leg) = leg {
            leg.is_paused |= must_pause;
        }
    }

    /// Goes on reading from Meteor, if the client has taken enough of what waited for it.
    pub(super) fn read_upstream_again(&mut self, index: usize, out: &mut Output) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        let leg = client.upstream.as_mut().and_then(|it| it.leg_mut());
        let Some(leg) = leg.filter(|leg| leg.is_paused) else {
            return;
        };
        let backlog = self.shard.shared.gateway.as_ref();
        let backlog = backlog.map_or(0, |gateway| gateway.settings().backlog);
        let holds = client.session.ddp().is_some_and(|it| it.holds_upstream());
        if !holds && client.outgoing.bytes() <= backlog / 2 {
            leg.is_paused = false;
            self.read_upstream(index, out);
        }
    }

    /// Continues with connections that had more to read than fits into one turn.
    pub(super) fn read_on_upstream(&mut self, out: &mut Output) {
        for index in std::mem::take(&mut self.upstreams.unread) {
            self.read_upstream(index, out);
        }
    }

    /// Queues what a session has for Meteor.
    pub(super) fn send_upstream(&mut self, index: usize, out: &mut Output) {
        let texts = out.upstream.drain(..);
        let client = self.clients.get_mut(index);
        let leg = client.and_then(|client| client.upstream.as_mut()?.leg_mut());
        if let Some(leg) = leg {
            texts.for_each(|text| leg.push(&text));
        }
        self.list_upstream(index);
    }

    /// Lists a connection that has something for Meteor.
    fn list_upstream(&mut self, index: usize) {
        let client = self.clients.get_mut(index);
        let leg = client.and_then(|client| client.upstream.as_mut()?.leg_mut());
        if let Some(leg) = leg
            && leg.has_output()
            && !std::mem::replace(&mut leg.is_listed, true)
        {
            self.upstreams.unsent.push(index);
        }
    }

    /// Writes to the connections that have something for Meteor.
    pub(super) fn write_upstreams(&mut self, out: &mut Output) {
        while let Some(index) = self.upstreams.unsent.pop() {
            let client = self.clients.get_mut(index);
            let leg = client.and_then(|client| client.upstream.as_mut()?.leg_mut());
            if leg.is_some_and(|leg| std::mem::take(&mut leg.is_listed)) {
                self.flush_upstream(index, out);
            }
        }
    }

    fn flush_upstream(&mut self, index: usize, out: &mut Output) {
        let now = self.shard.now;
        let client = self.clients.get_mut(index);
        let leg = client.and_then(|client| client.upstream.as_mut()?.leg_mut());
        let Some(leg) = leg else {
            return;
        };
        match leg.flush(now) {
            Sent::All => self.read_again(index, out),
            Sent::Blocked => {
                self.check_pressure(index);
                self.set_timer(index);
            }
            // What Meteor has sent before is read first; it may have said why it closes.
            Sent::Lost => {
                leg.has_hung_up = true;
                leg.is_paused = false;
                self.read_upstream(index, out);
                self.lose_upstream(index);
            }
        }
    }

    /// Meteor has ended a connection.
    fn upstream_ended(&mut self, index: usize, end: &UpstreamEnd) {
        match end {
            UpstreamEnd::Gone => self.lose_upstream(index),
            UpstreamEnd::Closed { code, reason } => {
                self.forget_upstream(index);
                let (code, reason) = (*code, &**reason);
                self.end(index, Ending::Closed { code, reason });
            }
            UpstreamEnd::Violation(violation) => {
                tracing::warn!(
                    reason = violation.reason,
                    "Meteor does not keep to the WebSocket protocol; a client is closed."
                );
                self.leave_upstream(index);
                let (code, reason) = (1011, "The server behind is out of order");
                self.end(index, Ending::Closed { code, reason });
            }
        }
    }

    /// Meteor is gone for a client: its subscriptions stop, nothing more is read from it, and it is
    /// closed a little later, so that not all clients come back at once.
    pub(super) fn lose_upstream(&mut self, index: usize) {
        let spread = self.gateway_settings().close_spread;
        let client = self.clients.get(index);
        let is_open = client.is_some_and(|client| {
            client
                .upstream
                .as_ref()
                .is_some_and(|it| it.leg().is_some())
        });
        if !is_open {
            return;
        }
        self.forget_upstream(index);
        let lost = &self.shard.shared.host.gauges.lost_upstreams;
        lost.fetch_add(1, Ordering::Relaxed);
        let close_at = self
            .shard
            .now
            .saturating_add(spread.mul_f64(fastrand::f64()));
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        let connection = client.context.log_id();
        tracing::debug!(%connection, "The connection to Meteor is lost.");
        if client.link.is_gone() || client.closing.is_some() {
            return self.restart_client(index);
        }
        client.upstream = Some(Box::new(Upstream::Lost { close_at }));
        client.waiting.is_paused = true;
        self.end_session(index, false);
        self.set_timer(index);
    }

    /// Closes a client whose connection to Meteor is lost, if its time has come; or loses one that
    /// takes nothing.
    pub(super) fn check_upstream(&mut self, index: usize, out: &mut Output) {
        let now = self.shard.now;
        match self.upstream(index) {
            Some(Upstream::Lost { close_at }) if *close_at <= now => self.restart_client(index),
            Some(Upstream::Open(leg)) if leg.is_stuck(now) => {
                // The kernel says that there is room only when there is much. Meteor may have taken
                // less than that.
                self.flush_upstream(index, out);
                let leg = self.upstream(index).and_then(Upstream::leg);
                if leg.is_some_and(|leg| leg.is_stuck(now)) {
                    self.lose_upstream(index);
                }
            }
            _ => {}
        }
    }

    fn upstream(&self, index: usize) -> Option<&Upstream> {
        self.clients.get(index)?.upstream.as_deref()
    }

    fn restart_client(&mut self, index: usize) {
        if let Some(client) = self.clients.get_mut(index) {
            client.upstream = None;
        }
        let (code, reason) = (1012, "Service restart");
        self.end(index, Ending::Closed { code, reason });
    }

    /// The session is over: Meteor is told.
    pub(super) fn leave_upstream(&mut self, index: usize) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        match client.upstream.take().map(|upstream| *upstream) {
            Some(Upstream::Open(leg)) => leg.leave(self.poll.registry()),
            // It is closed when its time comes.
            Some(lost @ Upstream::Lost { .. }) => client.upstream = Some(Box::new(lost)),
            Some(Upstream::Unasked(_) | Upstream::Opening { .. }) | None => {}
        }
    }

    fn forget_upstream(&mut self, index: usize) {
        let client = self.clients.get_mut(index);
        let upstream = client.and_then(|client| client.upstream.take());
        if let Some(Upstream::Open(leg)) = upstream.map(|upstream| *upstream) {
            leg.forget(self.poll.registry());
        }
    }

    fn gateway_settings(&self) -> GatewaySettings {
        let gateway = self.shard.shared.gateway.as_ref();
        gateway
            .map(|gateway| *gateway.settings())
            .unwrap_or_default()
    }
}

/// Hands the messages of one read to a session.
struct UpstreamReceiver<'a> {
    session: &'a mut updraft_protocol::session::Session,
    leg: &'a mut Leg,
    out: &'a mut Output,
    largest: usize,
    now: Duration,
    end: Option<UpstreamEnd>,
}

impl Receiver for UpstreamReceiver<'_> {
    const FROM: Sender = Sender::Server;

    fn limits(&self) -> Limits {
        Limits {
            message: self.largest,
            small_frames: FrameRate::UNLIMITED,
        }
    }

    fn receive(&mut self, incoming: Incoming<'_>) {
        match incoming {
            Incoming::Message(text) => self.session.from_upstream(text, self.now, self.out),
            Incoming::Ping(payload) => self.leg.push_pong(payload),
            Incoming::Pong => {}
            Incoming::Close { code, reason } => {
                let reason = reason.into();
                self.end = Some(UpstreamEnd::Closed { code, reason });
            }
        }
    }
}
