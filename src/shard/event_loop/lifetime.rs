//! How a connection begins and ends. However it ends, everything that belonged to it is let go of here.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use updraft_protocol::session::{Output, Session};

use super::{EventLoop, State};
use crate::connection::Connection;
use crate::ids;
use crate::mailbox::{Address, Place};
use crate::shard::Arrival;
use crate::shard::client::Client;
use crate::shard::link::{Link, Socket};
use crate::shard::outgoing::Outgoing;

impl EventLoop {
    pub(super) fn arrive(&mut self, arrival: Arrival) {
        if self.state != State::Serving {
            return;
        }
        if let Err(error) = self.admit(arrival) {
            tracing::warn!(%error, "A connection could not be taken over.");
        }
    }

    fn admit(&mut self, arrival: Arrival) -> std::io::Result<()> {
        let Arrival {
            socket,
            mut leftover,
            client_address,
            headers,
            seat,
        } = arrival;
        let mut link = Link::Socket(Socket::new(socket));
        let entry = self.clients.vacant_entry();
        let index = entry.key();
        link.register(self.poll.registry(), index)?;
        self.arrivals += 1;
        let place = Place {
            index,
            generation: self.arrivals,
        };
        let address = Address::new(self.inbox.clone(), place, self.limits.output);
        let id = ids::session_id()?;
        let session = Session::new(&id, self.services.session.clone(), self.now);
        session.greet(&mut self.out);
        let context = Connection::new(
            &id,
            client_address,
            headers,
            Arc::new(address),
            self.services.clone(),
        );
        tracing::debug!(connection = %context.log_id(), ?client_address, "A client arrived.");
        entry.insert(Client {
            generation: self.arrivals,
            link,
            session,
            context,
            _seat: seat,
            outgoing: Outgoing::new(self.tally.share()),
            input: self.tally.share(),
            user: None,
            user_changes: Vec::new(),
            keeper: None,
            subscriptions: Vec::new(),
            timer: None,
            closing: None,
            is_paused: false,
            is_unread: false,
            is_counted: false,
        });
        debug_assert!(
            self.has_once(&id),
            "17 characters of 55 came twice: the random source is broken"
        );
        self.services
            .gauges
            .connections
            .fetch_add(1, Ordering::Relaxed);
        // A greeting, where there is one.
        self.settle(index);
        while !leftover.is_empty() && self.is_open(index) {
            let piece = leftover.split_to(leftover.len().min(self.input.len()));
            self.input[..piece.len()].copy_from_slice(&piece);
            self.take_in(index, piece.len());
            self.settle(index);
        }
        self.settle(index);
        Ok(())
    }

    /// Whether exactly one session here has this id.
    fn has_once(&self, id: &str) -> bool {
        let sessions = self.clients.iter().map(|(_, client)| client.session.id());
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
            self.close(index, 1000, "");
        }
    }

    /// Ends the session; what it has sent is written, then the close frame.
    pub(super) fn close(&mut self, index: usize, code: u16, reason: &str) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        if client.closing.is_some() {
            return;
        }
        client.close(code, reason, self.now.saturating_add(self.limits.linger));
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

    /// The connection is gone.
    pub(super) fn lost(&mut self, index: usize) {
        self.end_session(index);
        let Some(mut client) = self.clients.try_remove(index) else {
            return;
        };
        if let Some(at) = client.timer {
            self.timers.remove(&(at, index));
        }
        client.link.deregister(self.poll.registry());
        let gauges = &self.services.gauges;
        gauges.connections.fetch_sub(1, Ordering::Relaxed);
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
        let mut out = Output::default();
        client.session.end(&mut out);
        client.user_changes = Vec::new();
        if let Some(keeper) = client.keeper.take() {
            self.fan_out.forget(keeper);
        }
        for action in out.actions {
            self.act(index, action);
        }
    }
}
