//! The link of a client that is reached by HTTP requests: the request that waits for frames, if
//! there is one, and the messages that other requests have posted.

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

/// The link of a polling client.
#[derive(Debug)]
pub(super) struct Polling {
    session: Arc<PollingSession>,
    service: Arc<Service>,
    registry: Arc<PollingSessions>,
    receiver: Option<ReceivingRequest>,
    /// The request that waited last. If it is cut, the frames that it was given may be lost.
    latest: Option<u64>,
    /// The deadline for the next request, while none waits.
    alone_until: Duration,
    /// How long a request may wait if nothing else asks the client for a sign of life. Then the
    /// response ends, and the client has to send the next request.
    waits_at_most: Option<Duration>,
    /// Posted messages that the session has not taken.
    pub(super) posts: Posts,
    /// Bytes of the chunk that the response has not taken yet.
    given: usize,
    /// The request that was given this chunk. It may no longer be `receiver`, although its peer has
    /// not taken all of it.
    given_to: u64,
    /// The last frame, once the session is closed.
    close: Option<Bytes>,
    _counted: GaugeGuard<LiveConnection>,
}

/// A request that waits for frames.
#[derive(Debug)]
struct ReceivingRequest {
    waiting: WaitingRequest,
    /// Bytes of frames that it was given.
    sent: usize,
    /// When it is sent a heartbeat; `None` if heartbeats are off.
    heartbeat_at: Option<Duration>,
    /// When its wait ends; `None` if that is not limited.
    ends_at: Option<Duration>,
}

/// Whether a chunk can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readiness {
    Ready,
    /// The last chunk has not been taken.
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

    /// Whether these requests belong to this session.
    pub(super) fn is_of(&self, session: &Arc<PollingSession>) -> bool {
        Arc::ptr_eq(&self.session, session)
    }

    /// The client has this place from now on.
    pub(super) fn set_place(&self, inbox: &Arc<impl RequestInbox + 'static>, place: Place) {
        self.session.set_place(inbox, Some(place));
    }

    /// The client is on its way to another shard, as a letter in this inbox.
    pub(super) fn leave(&self, inbox: &Arc<impl RequestInbox + 'static>) {
        self.session.set_place(inbox, None);
    }

    /// The client has sent `connect`. From now on its session is not ended to make room for
    /// another.
    pub(super) fn connected(&self) {
        self.session.connected();
    }

    /// The session ends to make room for another: tells the waiting request.
    pub(super) fn displaced(&mut self) {
        if let Some(receiver) = self.receiver.take() {
            close_request(receiver.waiting, 1013, "Too many sessions");
        }
    }

    pub(super) fn readiness(&self) -> Readiness {
        match self.receiver {
            _ if self.given > 0 => Readiness::Busy,
            None => Readiness::Absent,
            Some(_) => Readiness::Ready,
        }
    }

    /// A request waits for frames. It is refused if another one waits already.
    pub(super) fn wait(&mut self, waiting: WaitingRequest, now: Duration) {
        if self.receiver.is_some() {
            return close_request(waiting, 2010, "Another connection still open");
        }
        self.latest = Some(waiting.number);
        self.receiver = Some(ReceivingRequest {
            waiting,
            sent: 0,
            heartbeat_at: self.heartbeat_after(now),
            ends_at: self.waits_at_most.map(|it| now.saturating_add(it)),
        });
    }

    /// From now on no request waits longer than the interval.
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

    /// The response of this request has taken its chunk.
    pub(super) fn taken(&mut self, number: u64, now: Duration) {
        if self.given_to == number {
            self.given = 0;
            if self.receiver.is_none() {
                self.alone_until = now.saturating_add(self.service.options.disconnect_delay);
            }
        }
    }

    /// Whether frames may be lost if this request is cut: it is, or was last, the one that carries
    /// frames to the client.
    pub(super) fn is_needed(&self, number: u64) -> bool {
        self.latest == Some(number) || self.given > 0 && self.given_to == number
    }

    /// Gives a frame to the waiting request. A frame that cannot be given is lost with its request;
    /// the request itself reports that it was cut.
    pub(super) fn give_frame(&mut self, frame: &[u8], now: Duration) {
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
            self.end_response(now);
        }
    }

    /// Ends the response after the frames that it was given.
    fn end_response(&mut self, now: Duration) {
        self.receiver = None;
        self.alone_until = now.saturating_add(self.service.options.disconnect_delay);
    }

    /// Bytes of posted messages that were not used, and of the chunk that was not taken.
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
            // Its last response is still being read, so the client cannot send the next request
            // yet.
            None if self.given > 0 => None,
            None => Some(self.alone_until),
        }
    }

    /// Whether no request has come for too long.
    pub(super) fn is_abandoned(&self, now: Duration) -> bool {
        self.receiver.is_none() && self.given == 0 && self.alone_until <= now
    }

    /// Whether the waiting request is to be sent a heartbeat now.
    pub(super) fn beat(&mut self, now: Duration) -> bool {
        let next = self.heartbeat_after(now);
        let receiver = self.receiver.as_mut();
        let due = receiver.filter(|it| it.heartbeat_at.is_some_and(|at| at <= now));
        due.is_some_and(|receiver| {
            receiver.heartbeat_at = next;
            true
        })
    }

    /// Ends a request that has waited long enough. Returns whether that takes a frame: a request
    /// that gets only one frame ends with that frame.
    pub(super) fn end_long_wait(&mut self, now: Duration) -> bool {
        let receiver = self.receiver.as_ref();
        let due = receiver.filter(|it| it.ends_at.is_some_and(|at| at <= now));
        let is_single = due.map(|receiver| receiver.waiting.wrapping.is_single());
        if is_single == Some(false) {
            self.end_response(now);
        }
        is_single == Some(true)
    }

    /// Stores the last frame. It is repeated to requests that come later.
    pub(super) fn close(&mut self, frame: &str) {
        self.close = Some(Bytes::copy_from_slice(frame.as_bytes()));
    }

    /// How long a closed session waits for a request to which it can send its last frame.
    pub(super) fn close_timeout(&self) -> Duration {
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
pub(super) fn close_request(waiting: WaitingRequest, code: u16, reason: &str) {
    let frame = sockjs::close(code, reason);
    let chunk = waiting.wrapping.wrap(frame.as_bytes());
    // The first chunk always has room, but the request may be gone.
    drop(waiting.chunks.try_send(chunk.into()));
}

/// Answers a request whose session no longer exists.
pub(super) fn answer_interrupted(waiting: WaitingRequest) {
    close_request(waiting, 1002, "Connection interrupted");
}
