//! How a connection begins.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use updraft_protocol::session::{Output, Session};

use super::EventLoop;
use crate::base::ids;
use crate::handler::Connection;
use crate::limit::Seat;
use crate::mail::Address;
use crate::shard::conversation::Conversation;
use crate::shard::link::{Link, Socket};
use crate::shard::polling::Polling;
use crate::shard::upstream::Upstream;
use crate::shard::{Arrival, Peer};
use crate::stream::{self, Service, Speaks, Stream};
use crate::telemetry::GaugeGuard;
use crate::transport::Framing;

impl EventLoop {
    pub(super) fn arrive(&mut self, arrival: Arrival, out: &mut Output) {
        if !self.shard.is_serving() {
            if let Peer::Polling(session) = &arrival.peer {
                let sessions = &self.shard.shared.polling;
                sessions.ended(session, None, Duration::ZERO);
            }
            return;
        }
        if let Err(error) = self.admit(arrival, out) {
            tracing::warn!(%error, "A connection could not be taken over.");
        }
    }

    fn admit(&mut self, arrival: Arrival, out: &mut Output) -> std::io::Result<()> {
        let Arrival {
            peer,
            service,
            client_address,
            headers,
            for_meteor,
            seat,
            room,
        } = arrival;
        drop(room);
        let (link, leftover) = self.link(peer, &service, seat);
        let id: Arc<str> = ids::session_id()?.into();
        let session = match &service.speaks {
            Speaks::Ddp => {
                let config = self.shard.shared.session.clone();
                Conversation::Ddp(Session::new(id.clone(), config, self.shard.now))
            }
            Speaks::Handler(_) => Conversation::Stream(Stream::default()),
        };
        let host = self.shard.shared.host.clone();
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
            client.upstream = for_meteor.map(|it| Box::new(Upstream::Unasked(it)));
        }
        self.open(index, &service, out);
        self.take_in_leftover(index, leftover, out);
        self.read_decrypted(index, out);
        Ok(())
    }

    /// Sends the opening frames to a new client, and starts the handler of a service.
    fn open(&mut self, index: usize, service: &Arc<Service>, out: &mut Output) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        if let Some(opening) = client.link.opening() {
            client.outgoing.push_control(opening);
        }
        self.unsent.add(index, &mut client.outgoing);
        match &mut client.session {
            Conversation::Ddp(session) => session.greet(out),
            Conversation::Stream(stream) => {
                stream::start(service, stream, &client.context);
                self.watch(index);
            }
        }
        self.carry_out(index, out);
    }

    /// Reads the bytes that the client sent directly after its handshake.
    fn take_in_leftover(&mut self, index: usize, mut leftover: Bytes, out: &mut Output) {
        let is_open = |it: &Self| {
            let client = it.clients.get(index);
            client.is_some_and(|client| client.closing.is_none())
        };
        while !leftover.is_empty() && is_open(self) {
            let input = &mut self.buffers.input;
            let piece = leftover.split_to(leftover.len().min(input.len()));
            input[..piece.len()].copy_from_slice(&piece);
            self.take_in(index, piece.len(), out);
        }
    }

    /// Reads bytes that were decrypted before the connection came here. The socket does not become
    /// readable for them.
    fn read_decrypted(&mut self, index: usize, out: &mut Output) {
        let client = self.clients.get_mut(index);
        let socket = client.and_then(|client| client.link.socket_mut());
        if socket.is_some_and(|socket| socket.is_encrypted()) {
            self.read(index, out);
        }
    }

    /// Gives a client a place.
    pub(super) fn insert(
        &mut self,
        link: Link,
        session: Conversation,
        context: impl FnOnce(Arc<Address>) -> Connection,
    ) -> std::io::Result<usize> {
        let registry = self.poll.registry();
        let register = |link: &mut Link, index| link.register(registry, index);
        let index = self
            .clients
            .insert(&self.shard, link, session, register, context)?;
        // At once, because many may arrive within a turn.
        self.shard.inbox.set_clients(self.clients.len());
        Ok(index)
    }

    /// The link to a new client, and the bytes that have already arrived over it.
    fn link(&self, peer: Peer, service: &Arc<Service>, seat: Option<Seat>) -> (Link, Bytes) {
        let shared = &self.shard.shared;
        let counted = GaugeGuard::new(&shared.host.gauges);
        match peer {
            Peer::Socket {
                socket,
                encryption,
                leftover,
                framing,
            } => {
                let mut socket = Socket::new(socket, encryption, seat, counted);
                if framing == Framing::SockJs {
                    socket.frame(service, self.shard.now);
                }
                (Link::Socket(socket), leftover)
            }
            Peer::Polling(session) => {
                let registry = shared.polling.clone();
                let now = self.shard.now;
                let polling = Polling::new(session, service.clone(), registry, now, counted);
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
}
