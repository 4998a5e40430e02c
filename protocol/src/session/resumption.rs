//! Sessions that outlive their connections: a client that comes back in time gets exactly what it
//! missed.
//!
//! Two sessions take part. The *newcomer* is the session of the new connection: it asks the host
//! with [`Action::Resume`] and keeps what its client sends meanwhile. The client's earlier session
//! is *parked* when its connection is lost, and keeps what it would have sent. The host brings them
//! together. Either [`resume`](Session::resume) takes the client back, and the newcomer's
//! [`backlog`](Session::take_backlog) is the next input of the earlier session; or the newcomer
//! goes on by itself, after [`resume_refused`](Session::resume_refused).
//!
//! Meteor 3.5 resumes only if the client's count equals the number of messages sent. Here a client
//! that has missed messages gets them, as long as they are kept (deviation 024).

use std::time::Duration;

use super::heartbeat::Heartbeat;
use super::history::{History, Pings};
use super::{Action, Output, Session, SessionId, SessionState, Version};
use crate::ejson::Value;
use crate::message::{self, ClientRequest, Frame, FrameRef, Frames, ServerMessage};

/// A session whose connection is lost.
#[derive(Debug)]
pub(super) struct Parked {
    pub(super) version: Version,
    /// When it ends.
    pub(super) until: Duration,
    /// The last message that the client can have received. Later ones wait in the history.
    written: u64,
    /// How many of those later messages there are, and their bytes. Records of topics are not
    /// counted: no new ones come while the client is away.
    queued: u32,
    queued_bytes: usize,
    /// Failed attempts to resume it.
    attempts: u16,
    /// Whether too much waits, and the host has been told to end the session.
    is_overfull: bool,
}

/// What a resuming client's count means.
enum ReceivedCount {
    /// It has received this message and those before it; what follows is kept.
    After(u64),
    /// The messages that it has missed are no longer kept.
    TooOld,
    /// It cannot have received so many messages.
    Impossible,
}

/// What a `connect` asks to resume, if anything: the session's id and the client's count, if that
/// is a whole number.
pub(super) fn resume_request(connect: &Value) -> Option<(SessionId, Option<u64>)> {
    /// The largest whole number that JavaScript can count to.
    const LAST: f64 = 9_007_199_254_740_991.0;
    let session = connect.get("session")?.as_str()?;
    let received = connect.get("receivedCount")?;
    let count = received
        .as_f64()
        .filter(|count| (0.0..=LAST).contains(count) && count.fract() == 0.0);
    Some((SessionId::from(session), count.map(|count| count as u64)))
}

impl Session {
    /// The host writes the first `count` waiting messages. They are taken out of `waiting`, and
    /// kept in case the client misses them.
    pub fn written(&mut self, waiting: &mut Frames, count: usize) {
        if self.is_resumable() {
            self.history
                .record(waiting, count, &self.config.settings.resumption);
        } else {
            waiting.drop_front(count);
        }
    }

    /// Whether the session would be parked if its connection were lost.
    pub fn is_resumable(&self) -> bool {
        let is_connected = matches!(
            self.state,
            SessionState::Connected {
                is_leaving: false,
                ..
            }
        );
        is_connected && !self.config.settings.resumption.grace.is_zero()
    }

    /// The connection is lost, and these messages were not written. The session waits for its
    /// client, and its subscriptions go on.
    ///
    /// Returns `false` if the session does not wait, because it is not
    /// [resumable](Self::is_resumable); the host then ends it.
    pub fn park(&mut self, unwritten: &Frames, now: Duration, out: &mut Output) -> bool {
        let SessionState::Connected { version, .. } = self.state else {
            return false;
        };
        if !self.is_resumable() {
            return false;
        }
        self.state = SessionState::Parked(Parked {
            version,
            until: now.saturating_add(self.config.settings.resumption.grace),
            written: self.history.end(),
            queued: 0,
            queued_bytes: 0,
            attempts: 0,
            is_overfull: false,
        });
        for frame in unwritten {
            self.keep(frame, out);
        }
        true
    }

    /// Whether the session waits for its client to come back.
    pub fn is_parked(&self) -> bool {
        matches!(self.state, SessionState::Parked(_))
    }

    /// Bytes of the messages kept for a client that may have missed them.
    pub fn kept_bytes(&self) -> usize {
        self.history.bytes()
    }

    /// Pings the client, because another connection claims to be its next one. Returns `false`, and
    /// sends nothing, if the session could not be resumed with this count anyway.
    ///
    /// It is a DDP ping: all transports carry it, and the client answers it, not the browser around
    /// it.
    pub fn probe(&mut self, received: Option<u64>, out: &mut Output) -> bool {
        let may_resume =
            self.is_resumable() && matches!(self.check_count(received), ReceivedCount::After(_));
        if may_resume {
            self.ping(out);
        }
        may_resume
    }

    /// The client is back, and has received this many messages (`None`: it sent no count). Returns
    /// whether the session takes it back; if so, the messages that it has missed are sent.
    ///
    /// A refusal may end the session: when its client has missed more than is kept, or after too
    /// many attempts.
    pub fn resume(&mut self, received: Option<u64>, now: Duration, out: &mut Output) -> bool {
        let SessionState::Parked(Parked {
            version,
            is_overfull: false,
            ..
        }) = self.state
        else {
            return false;
        };
        let (missed, received) = match (self.check_count(received), received) {
            (ReceivedCount::After(missed), Some(received)) => (missed, received),
            (ReceivedCount::TooOld, _) => {
                self.close(out);
                return false;
            }
            _ => {
                self.wrong_attempt(out);
                return false;
            }
        };
        self.history.confirm(missed);
        let repeats = self.open_calls();
        self.work().repeats = repeats;
        self.pings = Pings::default();
        self.state = SessionState::Connected {
            version,
            heartbeat: self.new_heartbeat(version, now),
            is_leaving: false,
        };
        // The client counts `connected` too, and the missed messages after it.
        let received = received.saturating_add(1);
        self.work().resumed_at = Some(received);
        let missed = std::mem::replace(&mut self.history, History::starting_after(received));
        self.sent = received;
        let connected = ServerMessage::Connected(&self.id).print();
        out.frames.push(Frame::Transient(connected));
        for frame in missed.iter().filter_map(FrameRef::to_frame) {
            self.sent = self.sent.saturating_add(1);
            out.frames.push(frame);
        }
        true
    }

    /// Another client has tried to resume the session. Too many such attempts end a waiting
    /// session.
    pub fn wrong_attempt(&mut self, out: &mut Output) {
        if let SessionState::Parked(parked) = &mut self.state {
            parked.attempts = parked.attempts.saturating_add(1);
            if u32::from(parked.attempts) >= self.config.settings.resumption.attempts {
                self.close(out);
            }
        }
    }

    /// The session that the client asked for is not available: it gets this one.
    pub fn resume_refused(&mut self, now: Duration, out: &mut Output) {
        let SessionState::Resuming { version, .. } = self.state else {
            return;
        };
        let backlog = self.take_backlog();
        self.open_session(version, now, out);
        for text in backlog {
            self.receive(&text, now, out);
        }
    }

    /// What the client has sent since it asked for another session, in order.
    pub fn take_backlog(&mut self) -> Vec<Box<str>> {
        match &mut self.state {
            SessionState::Resuming { backlog, bytes, .. }
            | SessionState::Opening { backlog, bytes, .. } => {
                *bytes = 0;
                std::mem::take(backlog)
            }
            _ => Vec::new(),
        }
    }

    /// Starts a new session for a client that asks for none, or cannot have the one it had.
    pub(super) fn begin_session(&mut self, version: Version, now: Duration, out: &mut Output) {
        self.state = SessionState::Connected {
            version,
            heartbeat: self.new_heartbeat(version, now),
            is_leaving: false,
        };
        self.sent = 1;
        self.history = History::starting_after(1);
        let connected = ServerMessage::Connected(&self.id).print();
        out.frames.push(Frame::Transient(connected));
        out.actions.push(Action::Connected);
        self.start_universals(now, out);
    }

    /// Keeps a message that cannot be sent now.
    pub(super) fn keep(&mut self, frame: FrameRef<'_>, out: &mut Output) {
        let SessionState::Parked(parked) = &mut self.state else {
            return;
        };
        if !frame.is_kept() || parked.is_overfull {
            return;
        }
        if frame.is_record() {
            return self.history.keep(frame);
        }
        parked.queued = parked.queued.saturating_add(1);
        parked.queued_bytes = parked.queued_bytes.saturating_add(frame.len());
        let settings = &self.config.settings.resumption;
        if parked.queued_bytes <= settings.bytes {
            self.history.keep(frame);
        }
        if parked.queued as usize > settings.messages || parked.queued_bytes > settings.bytes {
            parked.is_overfull = true;
            self.history = History::default();
            out.actions.push(Action::Close {
                code: 1013,
                reason: "Slow consumer",
            });
        }
    }

    /// A pong has come: all messages sent before its ping have arrived, and so have the client's
    /// before its pong.
    pub(super) fn pong(&mut self) {
        if let Some(received) = self.pings.answered() {
            self.history.confirm(received);
            if let Some(work) = &mut self.work {
                work.repeats = Vec::new();
                work.resumed_at = None;
                self.free_idle_work();
            }
        }
    }

    /// Whether this call was sent before the connection was lost, and must not run again. `true`
    /// only once for each call.
    pub(super) fn is_repeated(&mut self, request: &ClientRequest) -> bool {
        let ClientRequest::Call(call) = request else {
            return false;
        };
        self.take_repeat(&call.id)
    }

    /// As [`is_repeated`](Self::is_repeated), for a call with this id.
    pub(super) fn take_repeat(&mut self, id: &str) -> bool {
        let Some(work) = &mut self.work else {
            return false;
        };
        let known = work.repeats.iter().position(|known| **known == *id);
        known.map(|at| work.repeats.swap_remove(at)).is_some()
    }

    /// Calls whose outcome a resuming client does not know: those that wait or run, and those whose
    /// answers it has missed.
    fn open_calls(&self) -> Vec<Box<str>> {
        let waiting = self.work.iter().flat_map(|work| work.queue.calls());
        let waiting = waiting.map(Box::from);
        let missed = self.history.iter().filter_map(FrameRef::as_message);
        let missed = missed.filter_map(message::answered_call);
        let here = self.open_call_ids().chain(waiting);
        let mut calls: Vec<Box<str>> = here.chain(self.passed_calls()).chain(missed).collect();
        calls.sort_unstable();
        calls.dedup();
        calls
    }

    fn check_count(&self, received: Option<u64>) -> ReceivedCount {
        let written = match &self.state {
            SessionState::Parked(parked) => parked.written,
            _ => self.history.end(),
        };
        // A client that knows the session has received at least its `connected`.
        let Some(received) = received.filter(|count| (1..=written).contains(count)) else {
            return ReceivedCount::Impossible;
        };
        let next = received.saturating_add(1);
        // The `connected` of a resumption is not kept: a client that has missed it gets another.
        let resumed_at = self.work.as_ref().and_then(|work| work.resumed_at);
        let missed = if resumed_at == Some(next) {
            next
        } else {
            received
        };
        if missed < self.history.before() {
            ReceivedCount::TooOld
        } else {
            ReceivedCount::After(missed)
        }
    }

    fn new_heartbeat(&self, version: Version, now: Duration) -> Option<Heartbeat> {
        let interval = self.config.settings.heartbeat_interval;
        (version.has_heartbeat() && !interval.is_zero()).then(|| Heartbeat::new(interval, now))
    }
}
