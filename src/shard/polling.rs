//! The link of a client that is reached by HTTP requests: the one that waits for frames, if any, and what others have
//! posted.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use updraft_protocol::sockjs;

use super::SilenceLimit;
use crate::mail::Place;
use crate::shard::polling_sessions::{
    PollingSession, PollingSessions, Posts, RequestInbox, WaitingRequest,
};
use crate::stream::Service;
use crate::telemetry::{GaugeGuard, LiveConnection};

/// How a polling client is reached.
#[derive(Debug)]
pub(super) struct Polling {
    session: Arc<PollingSession>,
    service: Arc<Service>,
    registry: Arc<PollingSessions>,
    receiver: Option<ReceivingRequest>,
    /// The request that waited last: if it is cut, what it was given may be lost.
    latest: Option<u64>,
    /// While no request waits: until when one must come.
    alone_until: Duration,
    /// How long a request may wait where nothing else asks the client for a sign of life; then the
    /// client has to ask again.
    waits_at_most: Option<Duration>,
    /// What was posted and the session has not taken.
    pub(super) posts: Posts,
    /// Bytes of the chunk that the response has not taken yet.
    given: usize,
    /// The request that was given it; it may be over for us before its peer has taken all of it.
    given_to: u64,
    /// The last frame, when the session is closed.
    close: Option<Bytes>,
    _counted: GaugeGuard<LiveConnection>,
}

/// A request that waits for frames.
#[derive(Debug)]
struct ReceivingRequest {
    waiting: WaitingRequest,
    /// Bytes of frames so far.
    sent: usize,
    /// When it is to hear that the server is there; never if there are no heartbeats.
    heartbeat_at: Option<Duration>,
    /// When it has waited for long enough.
    ends_at: Option<Duration>,
}

/// Whether a chunk can be given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readiness {
    Ready,
    /// The last one has not been taken.
    Busy,
    /// No request waits.
    Absent,
}

impl Polling {
    pub(super) fn new(
        session: Arc<PollingSession>,
        service: Arc<Service>,
        registry: Arc<PollingSessions>,
        now: Duration,
        counted: GaugeGuard<LiveConnection>,
    ) -> Self {
        let alone_until = now.saturating_add(service.options.disconnect_delay);
        Self {
            session,
            service,
            registry,
            receiver: None,
            latest: None,
            alone_until,
            waits_at_most: None,
            posts: Posts::default(),
            given: 0,
            given_to: 0,
            close: None,
            _counted: counted,
        }
    }

    /// Whether it is this session that its requests belong to.
    pub(super) fn is_of(&self, session: &Arc<PollingSession>) -> bool {
        Arc::ptr_eq(&self.session, session)
    }

    /// The client has this place from now on.
    pub(super) fn settle(&self, inbox: &Arc<impl RequestInbox + 'static>, place: Place) {
        self.session.settle(inbox, Some(place));
    }

    /// The client is on its way to another shard, behind what it leaves in this inbox.
    pub(super) fn leave(&self, inbox: &Arc<impl RequestInbox + 'static>) {
        self.session.settle(inbox, None);
    }

    /// The client has said who it is, and keeps its session whoever else comes.
    pub(super) fn connected(&self) {
        self.session.connected();
    }

    /// The session makes room for another: the request that waits hears of it.
    pub(super) fn displaced(&mut self) {
        if let Some(receiver) = self.receiver.take() {
            send_away(receiver.waiting, 1013, "Too many sessions");
        }
    }

    pub(super) fn readiness(&self) -> Readiness {
        match self.receiver {
            _ if self.given > 0 => Readiness::Busy,
            None => Readiness::Absent,
            Some(_) => Readiness::Ready,
        }
    }

    /// A request waits from now on. A second one is sent away.
    pub(super) fn wait(&mut self, waiting: WaitingRequest, now: Duration) {
        if self.receiver.is_some() {
            return send_away(waiting, 2010, "Another connection still open");
        }
        self.latest = Some(waiting.number);
        self.receiver = Some(ReceivingRequest {
            waiting,
            sent: 0,
            heartbeat_at: self.heartbeat_after(now),
            ends_at: self.waits_at_most.map(|it| now.saturating_add(it)),
        });
    }

    /// From now on no request waits for longer than the interval.
    pub(super) fn watch(&mut self, by: SilenceLimit, now: Duration) {
        self.waits_at_most = Some(by.interval);
        if let Some(receiver) = &mut self.receiver {
            receiver.ends_at = Some(now.saturating_add(by.interval));
        }
    }

    fn heartbeat_after(&self, now: Duration) -> Option<Duration> {
        let interval = self.service.options.heartbeat;
        (!interval.is_zero()).then(|| now.saturating_add(interval))
    }

    /// The response of this request has taken what it was given.
    pub(super) fn taken(&mut self, number: u64, now: Duration) {
        if self.given_to == number {
            self.given = 0;
            if self.receiver.is_none() {
                self.alone_until = now.saturating_add(self.service.options.disconnect_delay);
            }
        }
    }

    /// Whether frames may be lost with this request, by which they go to the client, or went last.
    pub(super) fn is_needed(&self, number: u64) -> bool {
        self.latest == Some(number) || self.given > 0 && self.given_to == number
    }

    /// Gives a frame to the request that waits. What cannot be given is lost with its request, which says so.
    pub(super) fn give(&mut self, frame: &[u8], now: Duration) {
        let Some(receiver) = &mut self.receiver else {
            return;
        };
        let wrapping = &receiver.waiting.wrapping;
        let chunk = wrapping.wrap(frame);
        let is_single = wrapping.is_single();
        (self.given, self.given_to) = (chunk.len(), receiver.waiting.number);
        receiver.sent = receiver.sent.saturating_add(chunk.len());
        let is_gone = receiver.waiting.chunks.try_send(chunk.into()).is_err();
        if is_gone || is_single || receiver.sent >= self.service.options.response_limit {
            self.let_go(now);
        }
    }

    /// The response ends with what it was given.
    fn let_go(&mut self, now: Duration) {
        self.receiver = None;
        self.alone_until = now.saturating_add(self.service.options.disconnect_delay);
    }

    /// Bytes of what has come and was not used, and of what was given and not taken.
    pub(super) fn bytes(&self) -> usize {
        self.posts.bytes().saturating_add(self.given)
    }

    pub(super) fn drop_input(&mut self) {
        self.posts = Posts::default();
    }

    pub(super) fn next_timeout(&self) -> Option<Duration> {
        match &self.receiver {
            Some(receiver) => {
                let times = [receiver.heartbeat_at, receiver.ends_at];
                times.into_iter().flatten().min()
            }
            // Its last response is on its way: it cannot ask for another yet.
            None if self.given > 0 => None,
            None => Some(self.alone_until),
        }
    }

    /// Whether no request has come for too long.
    pub(super) fn is_abandoned(&self, now: Duration) -> bool {
        self.receiver.is_none() && self.given == 0 && self.alone_until <= now
    }

    /// Whether the request that waits is to hear that the server is there.
    pub(super) fn beat(&mut self, now: Duration) -> bool {
        let next = self.heartbeat_after(now);
        let receiver = self.receiver.as_mut();
        let due = receiver.filter(|it| it.heartbeat_at.is_some_and(|at| at <= now));
        due.is_some_and(|receiver| {
            receiver.heartbeat_at = next;
            true
        })
    }

    /// Ends a request that has waited for long enough. Whether that takes a frame, as it does where
    /// one is all it gets.
    pub(super) fn end_long_wait(&mut self, now: Duration) -> bool {
        let receiver = self.receiver.as_ref();
        let due = receiver.filter(|it| it.ends_at.is_some_and(|at| at <= now));
        let is_single = due.map(|receiver| receiver.waiting.wrapping.is_single());
        if is_single == Some(false) {
            self.let_go(now);
        }
        is_single == Some(true)
    }

    /// Notes the last frame, which is said again to who still asks.
    pub(super) fn close(&mut self, frame: &str) {
        self.close = Some(Bytes::copy_from_slice(frame.as_bytes()));
    }

    /// How long a session that is closed waits for a request to tell it to.
    pub(super) fn patience(&self) -> Duration {
        self.service.options.disconnect_delay
    }
}

impl Drop for Polling {
    fn drop(&mut self) {
        let delay = self.service.options.disconnect_delay;
        self.registry.ended(&self.session, self.close.take(), delay);
    }
}

/// Answers a request that gets no frames with the reason, and ends its response.
pub(super) fn send_away(waiting: WaitingRequest, code: u16, reason: &str) {
    let frame = sockjs::close(code, reason);
    let chunk = waiting.wrapping.wrap(frame.as_bytes());
    // The first chunk always has room; the request may be gone.
    drop(waiting.chunks.try_send(chunk.into()));
}

/// What a request that comes too late is told.
pub(super) fn interrupted(waiting: WaitingRequest) {
    send_away(waiting, 1002, "Connection interrupted");
}
