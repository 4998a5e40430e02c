//! Clients that come back: finds the session that they had, on whichever shard it is, and gives it
//! their new connection.
//!
//! A client that wants a session of another shard moves to that shard with its connection and the
//! messages that it has sent. It stays there, whether it gets the session or a new one. So both
//! meet on one thread, and no shard has to ask another.

use std::sync::Arc;

use updraft_protocol::session::{Output, Session, SessionId};

use super::EventLoop;
use super::ending::Ending;
use crate::mail::{Address, Place};
use crate::shard::client::{Client, Rival};
use crate::shard::inbox::Letter;
use crate::shard::link::Link;
use crate::shard::newcomer::{Claim, Newcomer};

/// A client that wants to resume a session.
pub(super) struct ResumeRequest {
    pub(super) by: Place,
    pub(super) session: SessionId,
    /// How many messages it says it has received.
    pub(super) received: Option<u64>,
}

impl EventLoop {
    /// Answers the clients that want to resume a session.
    pub(super) fn answer_resume_requests(&mut self, out: &mut Output) {
        while let Some(ResumeRequest {
            by,
            session,
            received,
        }) = self.resume_requests.pop()
        {
            let client = self.clients.find(by);
            if client.is_none_or(|client| client.closing.is_some()) {
                continue;
            }
            match self.shard.shared.resumable.find(session.as_str()) {
                None => self.refuse_resume(by, out),
                Some((inbox, session)) => {
                    let claim = Claim { session, received };
                    if Arc::ptr_eq(&inbox, &self.shard.inbox) {
                        self.claim(by, claim, out);
                    } else if let Some(newcomer) = self.prepare_move(by, claim) {
                        if let Link::Polling(polling) = &newcomer.link {
                            polling.leave(&inbox);
                        }
                        inbox.put(Letter::Newcomer(Box::new(newcomer)));
                    }
                }
            }
        }
    }

    /// A client arrives from another shard, to resume a session of this one.
    pub(super) fn newcomer(&mut self, newcomer: Newcomer, out: &mut Output) {
        if !self.shard.is_serving() {
            return;
        }
        let Newcomer {
            link,
            unsent,
            session,
            context,
            upstream,
            claim,
        } = newcomer;
        let moved = |address: Arc<Address>| context.moved_to(address);
        match self.insert(link, session, moved) {
            Ok(index) => {
                let Some(client) = self.clients.get_mut(index) else {
                    return;
                };
                client.outgoing.write_first(unsent);
                client.upstream = upstream;
                let by = client.place();
                self.unsent.add(index, &mut client.outgoing);
                self.carry_out(index, out);
                self.claim(by, claim, out);
            }
            Err(error) => tracing::warn!(%error, "A connection could not be moved."),
        }
    }

    /// Something has arrived from a client: it is alive, and keeps its session.
    pub(super) fn heard(&mut self, index: usize, out: &mut Output) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        client.heard(&self.shard.limits, self.shard.now);
        if let Some(rival) = client.rival.take() {
            self.refuse_resume(rival.place, out);
        }
    }

    /// Ends the connection of a session, if it has been silent for too long while another
    /// connection waited for the session.
    pub(super) fn check_rival(&mut self, index: usize, out: &mut Output) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        let Some(rival) = client
            .rival
            .as_ref()
            .filter(|rival| rival.until <= self.shard.now)
        else {
            return;
        };
        // The server does not read from the client, so its silence means nothing.
        let (is_paused, place) = (client.waiting.is_paused, rival.place);
        let rival = self.clients.find(place);
        if rival.is_none_or(|rival| rival.closing.is_some()) {
            // It has left, and does not want the session any more.
            if let Some(client) = self.clients.get_mut(index) {
                client.rival = None;
            }
        } else if is_paused {
            self.heard(index, out);
        } else {
            self.end(index, Ending::Overdue);
        }
    }

    /// The client has lost its connection or its session: a connection that waits for the session
    /// tries again.
    pub(super) fn release_rival(&mut self, index: usize) {
        if let Some(client) = self.clients.get_mut(index)
            && let Some(rival) = client.rival.take()
        {
            self.resume_requests.push(ResumeRequest {
                by: rival.place,
                session: SessionId::from(client.context.session_id()),
                received: rival.received,
            });
        }
    }

    /// A client of this shard wants a session of this shard.
    fn claim(&mut self, by: Place, claim: Claim, out: &mut Output) {
        let index = claim.session.index;
        let Some(newcomer) = self.clients.find(by) else {
            return;
        };
        let address = newcomer.context.client_address();
        let same_address = self.shard.limits.takeover.same_address;
        let (now, until) = (
            self.shard.now,
            self.shard
                .now
                .saturating_add(self.shard.limits.takeover.timeout),
        );
        let Some(client) = self.clients.find(claim.session) else {
            return self.refuse_resume(by, out);
        };
        let same_place = address == client.context.client_address();
        let Some(session) = client.session.ddp_mut() else {
            return self.refuse_resume(by, out);
        };
        if same_address && !same_place {
            session.wrong_attempt(out);
            self.carry_out(index, out);
            return self.refuse_resume(by, out);
        }
        if session.is_parked() {
            let is_resumed = session.resume(claim.received, now, out);
            if is_resumed {
                return self.attach(index, by, out);
            }
            self.carry_out(index, out);
            return self.refuse_resume(by, out);
        }
        // While the server does not read from a client, its silence would mean nothing.
        if client.closing.is_some()
            || client.waiting.is_paused
            || !session.probe(claim.received, out)
        {
            return self.refuse_resume(by, out);
        }
        // Of several rivals the latest is the most likely to be alive. The silence counts from the
        // first ping.
        let former = client.rival.take();
        client.rival = Some(Box::new(Rival {
            place: by,
            received: claim.received,
            until: former.as_ref().map_or(until, |former| former.until),
        }));
        self.carry_out(index, out);
        if let Some(former) = former {
            self.refuse_resume(former.place, out);
        }
    }

    /// Gives a resumed session the new connection of its client. The session's output is in `out`.
    fn attach(&mut self, index: usize, by: Place, out: &mut Output) {
        self.detach(index);
        let Some(newcomer) = self.take_client(by) else {
            return self.carry_out(index, out);
        };
        let mut newcomer = *newcomer;
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        let connection = client.context.log_id();
        tracing::debug!(%connection, "A client is back.");
        client.counted.parked = None;
        client.link = newcomer.link;
        let framing = client.link.framing();
        let place = client.place();
        client.link.set_place(&self.shard.inbox, place);
        let unsent = newcomer.outgoing.into_unsent(framing);
        client.outgoing.write_first(unsent);
        client.waiting.is_paused = newcomer.waiting.is_paused;
        if let Err(error) = client.link.register(self.poll.registry(), index) {
            tracing::warn!(%error, "A connection could not be taken over.");
            self.carry_out(index, out);
            return self.end(index, Ending::Lost);
        }
        self.watch(index);
        self.carry_out(index, out);
        let backlog = newcomer.session.ddp_mut().map(Session::take_backlog);
        for text in backlog.unwrap_or_default() {
            let Some(client) = self.clients.get_mut(index) else {
                return;
            };
            client.session.receive(&text, self.shard.now, out);
            self.carry_out(index, out);
        }
        self.list_output(index);
        if let Some(client) = self.clients.get(index) {
            client.tell_observers(false);
        }
        self.go_on_following(index);
        self.refill(index, out);
        self.read_again(index, out);
    }

    /// A client that wanted to resume a session gets a new one.
    fn refuse_resume(&mut self, by: Place, out: &mut Output) {
        if let Some(client) = self.clients.find(by) {
            if let Some(session) = client.session.ddp_mut() {
                session.resume_refused(self.shard.now, out);
            }
            self.carry_out(by.index, out);
            self.read_again(by.index, out);
        }
    }

    /// Takes a client from its place, to move it to another shard.
    fn prepare_move(&mut self, by: Place, claim: Claim) -> Option<Newcomer> {
        let client = *self.take_client(by)?;
        let unsent = client.outgoing.into_unsent(client.link.framing());
        Some(Newcomer {
            link: client.link,
            unsent,
            session: client.session,
            context: client.context,
            upstream: client.upstream,
            claim,
        })
    }

    /// Takes a client that has no session yet from its place.
    fn take_client(&mut self, by: Place) -> Option<Box<Client>> {
        self.clients.find(by)?;
        let mut client = self.clients.remove(by.index)?;
        self.following.ledgers.forget(by.index);
        client.link.deregister(self.poll.registry());
        Some(client)
    }
}
