//! SockJS in the shard: heartbeats, and what the requests of polling clients want.

use std::sync::Arc;

use updraft_protocol::sockjs::{self, Beat};

use super::resuming::find;
use super::{EventLoop, State};
use crate::shard::link::Link;
use crate::shard::polling::{Readiness, interrupted};
use crate::shard::polling_sessions::{Request, Session};
use crate::transport::websocket;

impl EventLoop {
    /// A request of a polling client.
    pub(super) fn requested(&mut self, session: &Arc<Session>, request: Request) {
        let place = session.place(&self.inbox);
        if place.is_none() && !session.has_ended() {
            // It has moved meanwhile, or is about to arrive.
            return session.send(request);
        }
        let found = place.and_then(|place| {
            let client = find(&mut self.clients, place)?;
            // The client may have come back by other requests since, and these are late.
            let polling = client.link.polling_mut().filter(|it| it.is_of(session));
            Some((place.index, polling?))
        });
        match (request, found) {
            (Request::Wait(waiting), None) => interrupted(waiting),
            (Request::Taken(_) | Request::Cut(_) | Request::Post(_) | Request::Displaced, None) => {
            }
            (Request::Wait(waiting), Some((index, polling))) => {
                polling.wait(waiting, self.now);
                self.unblocked(index);
                self.set_timer(index);
            }
            (Request::Taken(number), Some((index, polling))) => {
                polling.taken(number, self.now);
                self.unblocked(index);
                self.set_timer(index);
            }
            (Request::Cut(number), Some((index, polling))) => {
                if polling.is_needed(number) {
                    self.lost(index);
                }
            }
            (Request::Post(posted), Some((index, polling))) => {
                polling.posts.add(posted);
                self.heard(index);
                self.read_posted(index);
            }
            (Request::Displaced, Some((index, polling))) => {
                polling.displaced();
                self.lost(index);
            }
        }
    }

    /// Hands posted messages to their session, while it keeps up with them.
    pub(super) fn read_posted(&mut self, index: usize) {
        while let Some(client) = self.clients.get_mut(index)
            && client.closing.is_none()
            && !client.is_paused
            && let Some(polling) = client.link.polling_mut()
            && let Some(message) = polling.posts.next_message()
        {
            if message.len() > self.limits.message_of(client.session.is_connected()) {
                self.note_too_big(index);
                return self.close(index, 1009, "Message too big");
            }
            client.session.receive(&message, self.now, &mut self.out);
            self.settle(index);
        }
    }

    /// Has a client asked for signs of life that nothing else asks for them.
    pub(super) fn watch(&mut self, index: usize) {
        if let Some(client) = self.clients.get_mut(index)
            && !client.session.has_heartbeat()
        {
            client.link.watch(self.limits.watch, self.now);
            self.set_timer(index);
        }
    }

    /// SockJS's own heartbeats, and the end of those who do not answer or ask any more.
    pub(super) fn beat(&mut self, index: usize) {
        let now = self.now;
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        if client.closing.is_some() {
            return;
        }
        match &mut client.link {
            Link::Socket(socket) => {
                if client.is_paused {
                    // We do not listen, so its silence means nothing.
                    socket.alive(now);
                }
                match socket.beat(now) {
                    Some(Beat::Ping) => client.outgoing.push_control(websocket::ping()),
                    Some(Beat::Missed) if socket.is_watched() => {
                        return self.part(index, 1000, "Normal closure");
                    }
                    Some(Beat::Missed) => return self.close(index, Beat::CODE, Beat::REASON),
                    None => {}
                }
            }
            Link::Gone => return,
            Link::Polling(polling) if polling.is_abandoned(now) => return self.lost(index),
            Link::Polling(polling) => {
                let is_due = polling.beat(now) | polling.end_long_wait(now);
                // What waits says as much.
                if is_due && client.outgoing.is_empty() {
                    client.outgoing.push_control(sockjs::HEARTBEAT.into());
                }
            }
        }
        self.list(index);
        self.set_timer(index);
    }

    /// While the server shuts down, a client that nobody asks for is not waited for.
    pub(super) fn give_up_absent(&mut self, index: usize) {
        let polling = self
            .clients
            .get_mut(index)
            .and_then(|client| client.link.polling_mut());
        if self.state == State::ShuttingDown
            && polling.is_some_and(|polling| polling.readiness() == Readiness::Absent)
        {
            self.lost(index);
        }
    }
}
