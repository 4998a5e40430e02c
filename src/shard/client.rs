//! One connection, as its shard holds it.

use std::net::Shutdown;
use std::time::Duration;

use mio::net::TcpStream;
use updraft_protocol::session::{Run, Session};

use super::fan_out::SubscriberId;
use super::outgoing::Outgoing;
use crate::connection::Connection;
use crate::publication::{OnGap, Subscription};
use crate::transport::websocket::{self, Reader};

#[derive(Debug)]
pub(super) struct Client {
    /// Tells this connection from others that had its place before.
    pub(super) generation: u64,
    pub(super) socket: TcpStream,
    pub(super) reader: Reader,
    pub(super) session: Session,
    /// What its handlers hold.
    pub(super) context: Connection,
    pub(super) outgoing: Outgoing,
    /// Its subscriptions, by run; grows and shrinks with the session's.
    pub(super) subscriptions: Vec<Running>,
    /// The time for which it stands in the shard's timers.
    pub(super) timer: Option<Duration>,
    /// Set when the connection is to end: until when its last frames may take.
    pub(super) closing: Option<Duration>,
    /// Whether it has too many messages queued, and is not read from.
    pub(super) is_paused: bool,
    /// Whether it is among the sessions of the gauges.
    pub(super) is_counted: bool,
}

/// A subscription of a client.
pub(super) struct Running {
    pub(super) run: Run,
    pub(super) subscription: Subscription,
    /// Its mapping functions.
    pub(super) followers: Vec<SubscriberId>,
    pub(super) on_gap: Option<OnGap>,
}

impl Client {
    pub(super) fn running_mut(&mut self, run: Run) -> Option<&mut Running> {
        let index = self
            .subscriptions
            .binary_search_by_key(&run, |running| running.run)
            .ok()?;
        self.subscriptions.get_mut(index)
    }

    pub(super) fn take_running(&mut self, run: Run) -> Option<Running> {
        let index = self
            .subscriptions
            .binary_search_by_key(&run, |running| running.run)
            .ok()?;
        let running = self.subscriptions.remove(index);
        if self.subscriptions.is_empty() {
            self.subscriptions = Vec::new();
        }
        Some(running)
    }

    /// When it next wants to be looked at, if nothing happens.
    pub(super) fn next_timeout(&self) -> Option<Duration> {
        self.closing.or_else(|| self.session.next_timeout())
    }

    /// Queues the close frame, behind what waits.
    pub(super) fn close(&mut self, code: u16, reason: &str, until: Duration) {
        if self.closing.is_none() {
            self.outgoing.push_control(websocket::close(code, reason));
            self.closing = Some(until);
        }
    }

    /// Everything is written: a connection that is to end says so to its peer.
    pub(super) fn written(&self) {
        if self.closing.is_some() {
            // The peer may have gone first, and then there is nobody to say it to.
            drop(self.socket.shutdown(Shutdown::Write));
        }
    }
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running")
            .field("run", &self.run)
            .finish_non_exhaustive()
    }
}
