//! Clients that come back: the session that they had is found, on whichever shard it is, and gets their new connection.
//!
//! A client that wants a session of another shard moves there with its connection and with all that it has said, and
//! stays there, whether it gets the session or one of its own. So the two meet on one thread, and nobody has to ask
//! across shards.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use slab::Slab;
use updraft_protocol::session::{Session, SessionId};

use super::{EventLoop, State};
use crate::mail::{Address, Place};
use crate::shard::client::{Client, Rival};
use crate::shard::inbox::Letter;
use crate::shard::link::Link;
use crate::shard::registry::{Claim, Newcomer};

/// A client that wants a session back.
pub(super) struct Wanted {
    pub(super) by: Place,
    pub(super) session: SessionId,
    /// What it says that it has received.
    pub(super) received: Option<u64>,
}

impl EventLoop {
    /// Sees to the clients that want a session back.
    pub(super) fn look_for_sessions(&mut self) {
        while let Some(Wanted {
            by,
            session,
            received,
        }) = self.wanted.pop()
        {
            let client = find(&mut self.clients, by);
            if client.is_none_or(|client| client.closing.is_some()) {
                continue;
            }
            match self.shared.resumable.find(session.as_str()) {
                None => self.refuse(by),
                Some((inbox, session)) => {
                    let claim = Claim { session, received };
                    if Arc::ptr_eq(&inbox, &self.inbox) {
                        self.claim(by, claim);
                    } else if let Some(newcomer) = self.send_off(by, claim) {
                        if let Link::Polling(polling) = &newcomer.link {
                            polling.leave(&inbox);
                        }
                        inbox.put(Letter::Newcomer(Box::new(newcomer)));
                    }
                }
            }
        }
    }

    /// A client comes from another shard, for a session of this one.
    pub(super) fn newcomer(&mut self, newcomer: Newcomer) {
        if self.state != State::Serving {
            return;
        }
        let Newcomer {
            link,
            unsent,
            session,
            context,
            claim,
        } = newcomer;
        let moved = |address: Arc<Address>| context.moved_to(address);
        match self.insert(link, session, moved) {
            Ok(index) => {
                let Some(client) = self.clients.get_mut(index) else {
                    return;
                };
                client.outgoing.write_first(unsent);
                let by = client.place(index);
                self.settle(index);
                self.list(index);
                self.claim(by, claim);
            }
            Err(error) => tracing::warn!(%error, "A connection could not be moved."),
        }
    }

    /// Something was heard of a client: it is alive, and keeps its session.
    pub(super) fn heard(&mut self, index: usize) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        client.heard(&self.limits, self.now);
        if let Some(rival) = client.rival.take() {
            self.refuse(rival.place);
        }
    }

    /// Takes a connection away from its session, if it has been silent for too long while another one waited for it.
    pub(super) fn check_rival(&mut self, index: usize) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        let Some(rival) = client
            .rival
            .as_ref()
            .filter(|rival| rival.until <= self.now)
        else {
            return;
        };
        // We do not listen, so its silence means nothing.
        let (is_paused, place) = (client.is_paused, rival.place);
        if is_paused || find(&mut self.clients, place).is_none() {
            return self.heard(index);
        }
        self.expired(index);
    }

    /// The client has lost its connection or its session: whoever waits for that tries anew.
    pub(super) fn release_rival(&mut self, index: usize) {
        if let Some(client) = self.clients.get_mut(index)
            && let Some(rival) = client.rival.take()
        {
            self.wanted.push(Wanted {
                by: rival.place,
                session: SessionId::from(client.context.session_id()),
                received: rival.received,
            });
        }
    }

    /// A client of this shard wants a session of this shard.
    fn claim(&mut self, by: Place, claim: Claim) {
        let index = claim.session.index;
        let Some(newcomer) = find(&mut self.clients, by) else {
            return;
        };
        let address = newcomer.context.client_address();
        let same_address = self.limits.same_address;
        let (now, until) = (self.now, self.now.saturating_add(self.limits.takeover));
        let Some(client) = find(&mut self.clients, claim.session) else {
            return self.refuse(by);
        };
        let same_place = address == client.context.client_address();
        let Some(session) = client.session.ddp_mut() else {
            return self.refuse(by);
        };
        if same_address && !same_place {
            session.wrong_attempt(&mut self.out);
            self.settle(index);
            return self.refuse(by);
        }
        if session.is_parked() {
            let is_resumed = session.resume(claim.received, now, &mut self.out);
            if is_resumed {
                return self.take_back(index, by);
            }
            self.settle(index);
            return self.refuse(by);
        }
        if client.closing.is_some() || !session.probe(claim.received, &mut self.out) {
            return self.refuse(by);
        }
        // Of several the latest is the most likely to be alive; the silence is counted from the first ping.
        let former = client.rival.take();
        client.rival = Some(Box::new(Rival {
            place: by,
            received: claim.received,
            until: former.as_ref().map_or(until, |former| former.until),
        }));
        self.settle(index);
        if let Some(former) = former {
            self.refuse(former.place);
        }
    }

    /// Gives a session, which is resumed, the connection that its client has now. What it sends is in `out`.
    fn take_back(&mut self, index: usize, by: Place) {
        self.detach(index);
        self.count_as_back(index);
        let Some(newcomer) = self.unseat(by) else {
            return self.settle(index);
        };
        let mut newcomer = *newcomer;
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        let connection = client.context.log_id();
        tracing::debug!(%connection, "A client is back.");
        client.link = newcomer.link;
        let framing = client.link.framing();
        let place = client.place(index);
        client.link.settle(&self.inbox, place);
        let unsent = newcomer.outgoing.into_unsent(framing);
        client.outgoing.write_first(unsent);
        client.is_paused = newcomer.is_paused;
        let gauges = &self.shared.host.gauges;
        gauges.connections.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = client.link.register(self.poll.registry(), index) {
            tracing::warn!(%error, "A connection could not be taken over.");
            self.settle(index);
            return self.lost(index);
        }
        self.watch(index);
        self.settle(index);
        let backlog = newcomer.session.ddp_mut().map(Session::take_backlog);
        for text in backlog.unwrap_or_default() {
            let Some(client) = self.clients.get_mut(index) else {
                return;
            };
            client.session.receive(&text, self.now, &mut self.out);
            self.settle(index);
        }
        self.list(index);
        self.refill(index);
        self.read_again(index);
    }

    /// A client that wanted a session back gets one of its own.
    fn refuse(&mut self, by: Place) {
        if let Some(client) = find(&mut self.clients, by) {
            if let Some(session) = client.session.ddp_mut() {
                session.resume_refused(self.now, &mut self.out);
            }
            self.settle(by.index);
            self.read_again(by.index);
        }
    }

    /// Makes a client ready for its way to another shard.
    fn send_off(&mut self, by: Place, claim: Claim) -> Option<Newcomer> {
        let client = *self.unseat(by)?;
        let unsent = client.outgoing.into_unsent(client.link.framing());
        Some(Newcomer {
            link: client.link,
            unsent,
            session: client.session,
            context: client.context,
            claim,
        })
    }

    /// Takes a client that has no session yet from its place.
    fn unseat(&mut self, by: Place) -> Option<Box<Client>> {
        find(&mut self.clients, by)?;
        let mut client = self.clients.try_remove(by.index)?;
        client.link.deregister(self.poll.registry());
        let gauges = &self.shared.host.gauges;
        gauges.connections.fetch_sub(1, Ordering::Relaxed);
        Some(client)
    }
}

/// The client of a place, if it is still there.
pub(super) fn find(clients: &mut Slab<Box<Client>>, place: Place) -> Option<&mut Client> {
    let client = clients.get_mut(place.index)?;
    (client.generation == place.generation).then_some(client)
}
