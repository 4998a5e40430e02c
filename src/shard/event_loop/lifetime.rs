//! How a connection begins and ends. However it ends, everything that belonged to it is let go of here.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use updraft_protocol::message::Frames;
use updraft_protocol::session::{Output, Session};

use super::{EventLoop, State};
use crate::base::ids;
use crate::handler::Connection;
use crate::limit::Seat;
use crate::mail::{Address, Place};
use crate::shard::client::{Client, Running};
use crate::shard::conversation::Conversation;
use crate::shard::link::{Framing, Link, Socket};
use crate::shard::outgoing::Outgoing;
use crate::shard::polling::Polling;
use crate::shard::{Arrival, Peer};
use crate::stream::{self, Service, Speaks, Stream};

impl EventLoop {
    pub(super) fn arrive(&mut self, arrival: Arrival) {
        if self.state != State::Serving {
            if let Peer::Polling(session) = &arrival.peer {
                self.shared.polling.ended(session, None, Duration::ZERO);
            }
            return;
        }
        if let Err(error) = self.admit(arrival) {
            tracing::warn!(%error, "A connection could not be taken over.");
        }
    }

    fn admit(&mut self, arrival: Arrival) -> std::io::Result<()> {
        let Arrival {
            peer,
            service,
            client_address,
            headers,
            seat,
            room,
        } = arrival;
        drop(room);
        let (link, mut leftover) = self.link(peer, &service, seat);
        let id: Arc<str> = ids::session_id()?.into();
        let session = match &service.speaks {
            Speaks::Ddp => {
                let session = Session::new(id.clone(), self.shared.session.clone(), self.now);
                session.greet(&mut self.out);
                Conversation::Ddp(session)
            }
            Speaks::Handler(_) => Conversation::Stream(Stream::default()),
        };
        let host = self.shared.host.clone();
        let index = self.insert(link, session, |address| {
            let context = Connection::new(id.clone(), client_address, headers, address, host);
            tracing::debug!(connection = %context.log_id(), ?client_address, "A client arrived.");
            context
        })?;
        debug_assert!(
            self.has_once(&id),
            "17 characters of 55 came twice: the random source is broken"
        );
        if let Some(client) = self.clients.get_mut(index) {
            if let Some(opening) = client.link.opening() {
                client.outgoing.push_control(opening);
            }
            if let Conversation::Stream(stream) = &client.session {
                stream::start(&service, stream, &client.context);
                self.watch(index);
            }
        }
        // A greeting, where there is one.
        self.list(index);
        self.settle(index);
        while !leftover.is_empty() && self.is_open(index) {
            let piece = leftover.split_to(leftover.len().min(self.input.len()));
            self.input[..piece.len()].copy_from_slice(&piece);
            self.take_in(index, piece.len());
            self.settle(index);
        }
        self.settle(index);
        self.read_decrypted(index);
        Ok(())
    }

    /// Reads what had been decrypted before the connection came here: its socket says nothing of that.
    fn read_decrypted(&mut self, index: usize) {
        let client = self.clients.get_mut(index);
        let socket = client.and_then(|client| client.link.socket_mut());
        if socket.is_some_and(|socket| socket.is_encrypted()) {
            self.read(index);
        }
    }

    /// Gives a client a place.
    pub(super) fn insert(
        &mut self,
        mut link: Link,
        session: Conversation,
        context: impl FnOnce(Arc<Address>) -> Connection,
    ) -> std::io::Result<usize> {
        let entry = self.clients.vacant_entry();
        let index = entry.key();
        link.register(self.poll.registry(), index)?;
        self.arrivals += 1;
        let place = Place {
            index,
            generation: self.arrivals,
        };
        link.settle(&self.inbox, place);
        let address = Address::new(self.inbox.clone(), place, self.limits.flow);
        entry.insert(Box::new(Client {
            generation: self.arrivals,
            link,
            session,
            context: context(Arc::new(address)),
            outgoing: Outgoing::new(self.output_tally.share()),
            input: self.input_tally.share(),
            user: None,
            change: None,
            subscriptions: Vec::new(),
            timer: None,
            closing: None,
            held_up: None,
            is_full: false,
            is_paused: false,
            is_unread: false,
            is_counted: false,
            is_counted_parked: false,
            rival: None,
        }));
        // At once, for many may arrive within a turn.
        self.inbox.has_clients(self.clients.len());
        let gauges = &self.shared.host.gauges;
        gauges.connections.fetch_add(1, Ordering::Relaxed);
        Ok(index)
    }

    /// The link to a new client, and what has come over it already.
    fn link(&self, peer: Peer, service: &Arc<Service>, seat: Option<Seat>) -> (Link, Bytes) {
        match peer {
            Peer::Socket {
                socket,
                encryption,
                leftover,
                framing,
            } => {
                let mut socket = Socket::new(socket, encryption, seat);
                if framing == Framing::SockJs {
                    socket.frame(service, self.now);
                }
                (Link::Socket(socket), leftover)
            }
            Peer::Polling(session) => {
                let registry = self.shared.polling.clone();
                let polling = Polling::new(session, service.clone(), registry, self.now);
                (Link::Polling(Box::new(polling)), Bytes::new())
            }
        }
    }

    /// Whether exactly one session here has this id.
    fn has_once(&self, id: &str) -> bool {
        let sessions = self
            .clients
            .iter()
            .map(|(_, client)| client.context.session_id());
        sessions.filter(|other| *other == id).count() == 1
    }

    fn is_open(&self, index: usize) -> bool {
        let client = self.clients.get(index);
        client.is_some_and(|client| client.closing.is_none())
    }

    /// The peer has finished sending. It may still listen, so what waits for it is written before the connection ends.
    pub(super) fn finished(&mut self, index: usize) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        client.link.hung_up();
        if client.outgoing.is_empty() {
            self.lost(index);
        } else {
            self.part(index, 1000, "");
        }
    }

    /// Ends the connection as [`close`](Self::close) does. The session waits for another one, if it can.
    pub(super) fn part(&mut self, index: usize, code: u16, reason: &str) {
        let client = self.clients.get_mut(index);
        let Some(client) = client.filter(|it| it.closing.is_none()) else {
            return;
        };
        let closing = client.closing_from(self.now, &self.limits);
        if self.state != State::Serving || !client.session.is_resumable() {
            return self.close(index, code, reason);
        }
        client.part(code, reason, closing);
        self.park(index, &Frames::default());
        self.list(index);
    }

    /// Ends the session; what it has sent is written, then the close frame.
    pub(super) fn close(&mut self, index: usize, code: u16, reason: &str) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        if client.link.is_gone() {
            return self.remove(index);
        }
        if client.closing.is_none() {
            client.close(code, reason, client.closing_from(self.now, &self.limits));
        }
        self.end_session(index);
        self.list(index);
        self.set_timer(index);
    }

    /// The connection has had its time to end.
    pub(super) fn expired(&mut self, index: usize) {
        if let Some(client) = self.clients.get(index) {
            client.link.reset();
        }
        self.lost(index);
    }

    /// The connection is gone. The session waits for another one, if it can.
    pub(super) fn lost(&mut self, index: usize) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        let is_resumable = client.session.is_resumable() && client.closing.is_none();
        if self.state != State::Serving || !(is_resumable || client.session.is_parked()) {
            return self.remove(index);
        }
        let unwritten = self.detach(index);
        if is_resumable {
            self.park(index, &unwritten);
        }
        // Nothing waits for the connection any more that the session would have to wait for.
        self.refill(index);
        self.set_timer(index);
    }

    /// Lets go of a client's connection; what is returned was not written to it.
    pub(super) fn detach(&mut self, index: usize) -> Frames {
        let client = self.clients.get_mut(index);
        let Some(client) = client.filter(|it| !it.link.is_gone()) else {
            return Frames::default();
        };
        client.link.deregister(self.poll.registry());
        client.link = Link::Gone;
        client.closing = None;
        let gauges = &self.shared.host.gauges;
        gauges.connections.fetch_sub(1, Ordering::Relaxed);
        let unwritten = client.outgoing.abandon();
        client.tell_output();
        unwritten
    }

    /// Lets a session wait for its client.
    fn park(&mut self, index: usize, unwritten: &Frames) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        let mut out = Output::default();
        let Some(session) = client.session.ddp_mut() else {
            return;
        };
        session.park(unwritten, self.now, &mut out);
        client.is_counted_parked = true;
        let gauges = &self.shared.host.gauges;
        gauges.parked_sessions.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(connection = %client.context.log_id(), "A client was lost; its session waits.");
        client.count_input();
        self.release_rival(index);
        for action in out.actions {
            self.act(index, action);
        }
        self.set_timer(index);
    }

    /// The client is gone, and does not come back.
    pub(super) fn remove(&mut self, index: usize) {
        self.end_session(index);
        self.detach(index);
        let Some(client) = self.clients.try_remove(index) else {
            return;
        };
        let gauges = &self.shared.host.gauges;
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
        client.session.end(&mut Output::default());
        client.held_up = None;
        // All that began here, also what the session has ended in this very turn and has not had stopped yet.
        let subscriptions = std::mem::take(&mut client.subscriptions);
        if let Some(keeper) = client.change.take().and_then(|change| change.keeper) {
            self.fan_out.forget(keeper);
        }
        if client.is_counted {
            let session = client.session.ddp();
            session.inspect(|session| self.shared.resumable.remove(session.id()));
        }
        self.count_as_back(index);
        self.release_rival(index);
        for running in subscriptions {
            self.let_go(running);
        }
    }

    /// A subscription is over.
    pub(super) fn let_go(&mut self, running: Running) {
        let gauges = &self.shared.host.gauges;
        gauges.subscriptions.fetch_sub(1, Ordering::Relaxed);
        for follower in running.followers {
            self.fan_out.remove(follower);
        }
        running.subscription.over();
    }

    /// A session does not wait any more.
    pub(super) fn count_as_back(&mut self, index: usize) {
        if let Some(client) = self.clients.get_mut(index)
            && std::mem::take(&mut client.is_counted_parked)
        {
            let gauges = &self.shared.host.gauges;
            gauges.parked_sessions.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
