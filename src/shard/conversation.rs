//! What a connection carries: DDP, or the messages of a SockJS service that the program provides.
//! The event loop handles both through the same functions.

use std::time::Duration;

use updraft_protocol::message::{Frames, Head, Tail, WireError};
use updraft_protocol::session::{Action, Output, Run, Session};

use crate::stream::Stream;

#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "nearly all of them are DDP")]
pub(super) enum Conversation {
    Ddp(Session),
    Stream(Stream),
}

impl Conversation {
    /// The DDP session, if it is one.
    pub(super) fn ddp(&self) -> Option<&Session> {
        match self {
            Self::Ddp(session) => Some(session),
            Self::Stream(_) => None,
        }
    }

    pub(super) fn ddp_mut(&mut self) -> Option<&mut Session> {
        match self {
            Self::Ddp(session) => Some(session),
            Self::Stream(_) => None,
        }
    }

    /// Whether the client may send messages of the full size.
    pub(super) fn is_connected(&self) -> bool {
        self.ddp().is_none_or(Session::is_connected)
    }

    pub(super) fn receive(&mut self, text: &str, now: Duration, out: &mut Output) {
        match self {
            Self::Ddp(session) => session.receive(text, now, out),
            Self::Stream(stream) => stream.receive(text),
        }
    }

    pub(super) fn heard(&mut self) {
        if let Self::Ddp(session) = self {
            session.heard();
        }
    }

    /// The client still has so much to read that it cannot answer before this time.
    pub(super) fn busy_until(&mut self, until: Duration) {
        if let Self::Ddp(session) = self {
            session.busy_until(until);
        }
    }

    /// Whether the client has said that it leaves.
    pub(super) fn is_leaving(&self) -> bool {
        self.ddp().is_some_and(Session::is_leaving)
    }

    /// Whether the session has ended because its client was gone.
    pub(super) fn was_lost(&self) -> bool {
        self.ddp().is_some_and(Session::was_lost)
    }

    /// Whether the session itself pings its client.
    pub(super) fn has_heartbeat(&self) -> bool {
        self.ddp().is_some_and(Session::has_heartbeat)
    }

    pub(super) fn next_timeout(&self) -> Option<Duration> {
        self.ddp().and_then(Session::next_timeout)
    }

    pub(super) fn handle_timeout(&mut self, now: Duration, out: &mut Output) {
        if let Self::Ddp(session) = self {
            session.handle_timeout(now, out);
        }
    }

    /// The number of messages that wait for a handler.
    pub(super) fn queued(&self) -> usize {
        match self {
            Self::Ddp(session) => session.queued(),
            Self::Stream(stream) => stream.queued(),
        }
    }

    /// Bytes of these messages.
    pub(super) fn queued_bytes(&self) -> usize {
        match self {
            Self::Ddp(session) => session.queued_bytes(),
            Self::Stream(stream) => stream.queued_bytes(),
        }
    }

    /// Bytes that are kept of its subscriptions' parameters.
    pub(super) fn subscribed_bytes(&self) -> usize {
        self.ddp().map_or(0, Session::subscribed_bytes)
    }

    /// Bytes that are kept for what was passed on to Meteor.
    pub(super) fn passing_bytes(&self) -> usize {
        self.ddp().map_or(0, Session::passing_bytes)
    }

    /// Calls that have started and not ended.
    pub(super) fn calls_running(&self) -> usize {
        self.ddp().map_or(0, Session::calls_running)
    }

    /// Bytes of the parameters of handlers that run.
    pub(super) fn running_bytes(&self) -> usize {
        self.ddp().map_or(0, Session::running_bytes)
    }

    /// The connection has ended, or is about to.
    pub(super) fn end(&mut self, out: &mut Output) {
        match self {
            Self::Ddp(session) => session.end(out),
            Self::Stream(stream) => stream.end(),
        }
    }

    /// The program closes the connection.
    pub(super) fn close(&mut self, out: &mut Output) {
        match self {
            Self::Ddp(session) => session.close(out),
            Self::Stream(_) => out.actions.push(Action::Close {
                code: 1000,
                reason: "",
            }),
        }
    }

    /// Whether the session can outlive its connection.
    pub(super) fn is_resumable(&self) -> bool {
        self.ddp().is_some_and(Session::is_resumable)
    }

    /// Whether the session waits for its client to come back.
    pub(super) fn is_parked(&self) -> bool {
        self.ddp().is_some_and(Session::is_parked)
    }

    /// Bytes that are kept until its client comes back.
    pub(super) fn kept_bytes(&self) -> usize {
        self.ddp().map_or(0, Session::kept_bytes)
    }

    /// Takes the first `count` messages out of the queue, because they are about to be written.
    pub(super) fn written(&mut self, waiting: &mut Frames, count: usize) {
        match self {
            Self::Ddp(session) => session.written(waiting, count),
            Self::Stream(_) => waiting.drop_front(count),
        }
    }

    /// An event for a subscription: the head to put before `tail`, if the event may be sent now.
    pub(super) fn event(&mut self, run: Run, tail: &Tail, out: &mut Output) -> Option<&Head> {
        self.ddp_mut()?.event(run, tail, out)
    }

    /// Events of a subscription may be missing from here on.
    pub(super) fn gap(&mut self, run: Run) {
        if let Self::Ddp(session) = self {
            session.gap(run);
        }
    }

    /// Like [`event`](Self::event), for an event that tells the client of a gap.
    pub(super) fn gap_event(&mut self, run: Run, tail: &Tail, out: &mut Output) -> Option<&Head> {
        self.ddp_mut()?.gap_event(run, tail, out)
    }

    /// Ends a subscription.
    pub(super) fn stop(&mut self, run: Run, error: Option<&WireError>, out: &mut Output) {
        if let Self::Ddp(session) = self {
            session.stop(run, error, out);
        }
    }
}
