//! SockJS in the shard: heartbeats, and the requests of polling clients.

use std::sync::Arc;

use updraft_protocol::session::Output;
use updraft_protocol::sockjs::{self, Beat};

use super::EventLoop;
use super::ending::Ending;
use super::shard_context::Phase;
use crate::shard::link::Link;
use crate::shard::polling::{Readiness, answer_interrupted};
use crate::shard::polling_sessions::{PollingRequest, PollingSession};
use crate::transport::websocket;

impl EventLoop {
    /// Handles a request of a polling client.
    pub(super) fn handle_request(
        &mut self,
        session: &Arc<PollingSession>,
        request: PollingRequest,
        out: &mut Output,
    ) {
        let place = session.place(&self.shard.inbox);
        if place.is_none() && !session.has_ended() {
            // The session has moved meanwhile, or is about to arrive.
            return session.send(request);
        }
        let found = place.and_then(|place| {
            let client = self.clients.find(place)?;
            // The client may have come back over other requests since; then this request is late.
            let polling = client.link.polling_mut().filter(|it| it.is_of(session));
            Some((place.index, polling?))
        });
        match (request, found) {
            (PollingRequest::Wait(waiting), None) => answer_interrupted(waiting),
            (
                PollingRequest::Taken(_)
                | PollingRequest::Cut(_)
                | PollingRequest::Post(_)
                | PollingRequest::Displaced,
                None,
            ) => {}
            (PollingRequest::Wait(waiting), Some((index, polling))) => {
                polling.wait(waiting, self.shard.now);
                self.unblocked(index);
                self.set_timer(index);
            }
            (PollingRequest::Taken(number), Some((index, polling))) => {
                polling.taken(number, self.shard.now);
                self.unblocked(index);
                self.set_timer(index);
            }
            (PollingRequest::Cut(number), Some((index, polling))) => {
                if polling.is_needed(number) {
                    self.end(index, Ending::Lost);
                }
            }
            (PollingRequest::Post(posted), Some((index, polling))) => {
                polling.posts.add(posted);
                self.heard(index, out);
                self.read_posted(index, out);
            }
            (PollingRequest::Displaced, Some((index, polling))) => {
                polling.displaced();
                self.end(index, Ending::Lost);
            }
        }
    }

    /// Hands posted messages to their session while it keeps up.
    pub(super) fn read_posted(&mut self, index: usize, out: &mut Output) {
        while let Some(client) = self.clients.get_mut(index)
            && client.closing.is_none()
            && !client.waiting.is_paused
            && let Some(polling) = client.link.polling_mut()
            && let Some(message) = polling.posts.next_message()
        {
            if message.len() > self.shard.limits.message_of(client.session.is_connected()) {
                self.log_too_big(index);
                let (code, reason) = (1009, "Message too big");
                return self.end(index, Ending::Closed { code, reason });
            }
            client.session.receive(&message, self.shard.now, out);
            self.carry_out(index, out);
        }
    }

    /// Asks a client for signs of life if its session does not.
    pub(super) fn watch(&mut self, index: usize) {
        if let Some(client) = self.clients.get_mut(index)
            && !client.session.has_heartbeat()
        {
            client.link.watch(self.shard.limits.silence, self.shard.now);
            self.set_timer(index);
        }
    }

    /// Sends SockJS's heartbeats, and ends clients that do not answer, or send no requests, any
    /// more.
    pub(super) fn beat(&mut self, index: usize) {
        let now = self.shard.now;
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        if client.closing.is_some() {
            return;
        }
        match &mut client.link {
            Link::Socket(socket) => {
                if client.waiting.is_paused {
                    // The server does not read from the client, so its silence means nothing.
                    socket.alive(now);
                }
                match socket.beat(now) {
                    Some(Beat::Ping) => client.outgoing.push_control(websocket::ping()),
                    Some(Beat::Missed) if socket.is_watched() => {
                        let (code, reason) = (1000, "Normal closure");
                        return self.end(index, Ending::Parted { code, reason });
                    }
                    Some(Beat::Missed) => {
                        let (code, reason) = (Beat::CODE, Beat::REASON);
                        return self.end(index, Ending::Closed { code, reason });
                    }
                    None => {}
                }
            }
            Link::Gone => return,
            Link::Polling(polling) if polling.is_abandoned(now) => {
                return self.end(index, Ending::Lost);
            }
            Link::Polling(polling) => {
                let is_due = polling.beat(now) | polling.end_long_wait(now);
                // Waiting output is as good as a heartbeat.
                if is_due && client.outgoing.is_empty() {
                    client.outgoing.push_control(sockjs::HEARTBEAT.into());
                }
            }
        }
        self.list_output(index);
        self.set_timer(index);
    }

    /// During shutdown the shard does not wait for a client without a waiting request.
    pub(super) fn end_if_absent(&mut self, index: usize) {
        let polling = self
            .clients
            .get_mut(index)
            .and_then(|client| client.link.polling_mut());
        if self.shard.phase == Phase::ShuttingDown
            && polling.is_some_and(|polling| polling.readiness() == Readiness::Absent)
        {
            self.end(index, Ending::Lost);
        }
    }
}
