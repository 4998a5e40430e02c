//! A shard: a thread that owns a share of the connections, and everything that belongs to them.
//!
//! It reads sockets, runs sessions and mapping functions, keeps time, and writes. Nothing on the way of an event takes a
//! lock or wakes a task; an idle connection has neither a task nor a buffer.

mod client;
mod conversation;
mod event_loop;
mod fan_out;
pub(crate) mod inbox;
mod limits;
mod link;
mod listing;
mod newcomer;
pub(crate) mod orders;
mod outgoing;
mod polling;
pub(crate) mod polling_sessions;
mod registry;
mod shared;
mod timers;

use std::net::{IpAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use updraft_bus::internal::InternalChannel;

use crate::base::error::Result;
use crate::base::memory::Memory;
use crate::handler::Headers;
use crate::limit::Seat;
use crate::stream::Service;
use crate::transport::Framing;
use crate::transport::encryption::Encryption;
use event_loop::EventLoop;
use inbox::{Inbox, Letter};
use listing::Listing;

pub use inbox::InboxLimits;
pub use limits::{ClientLimits, SilenceLimit};
pub use listing::{ConnectionInfo, Transport};
pub(crate) use registry::ResumableSessions;
pub(crate) use shared::Shared;

/// A client that was let in.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) peer: Peer,
    pub(crate) service: Arc<Service>,
    pub(crate) client_address: Option<IpAddr>,
    pub(crate) headers: Headers,
    /// Of a socket: its place among the connections of its address, where these are limited.
    pub(crate) seat: Option<Seat>,
    /// Its room on the way, where it needs one; given back as the shard takes it.
    pub(crate) room: Option<OwnedSemaphorePermit>,
}

/// How a new client is reached.
#[derive(Debug)]
pub(crate) enum Peer {
    /// A socket whose WebSocket handshake is done.
    Socket {
        /// Non-blocking.
        socket: TcpStream,
        /// Where the client speaks TLS.
        encryption: Option<Box<Encryption>>,
        /// What the client sent right behind its handshake.
        leftover: Bytes,
        framing: Framing,
    },
    /// HTTP requests.
    Polling(Arc<polling_sessions::PollingSession>),
}

/// A shard, for those who send to it.
#[derive(Clone, Debug)]
pub(crate) struct Shard {
    inbox: Arc<Inbox>,
}

/// A shard that has no thread yet.
#[derive(Debug)]
pub(crate) struct Prepared {
    poll: mio::Poll,
    inbox: Arc<Inbox>,
    number: usize,
}

impl Prepared {
    /// Makes the shard's inbox; its thread comes with [`start`](Self::start).
    pub(crate) fn new(number: usize, limits: InboxLimits, memory: Arc<Memory>) -> Result<Self> {
        let poll = mio::Poll::new()?;
        let waker = mio::Waker::new(poll.registry(), event_loop::WAKER)?;
        Ok(Self {
            poll,
            inbox: Arc::new(Inbox::new(number, waker, limits, memory)),
            number,
        })
    }

    pub(crate) fn inbox(&self) -> Arc<Inbox> {
        self.inbox.clone()
    }

    /// Starts the thread. Shutdown waits for it.
    pub(crate) fn start(self, shared: Arc<Shared>, limits: ClientLimits) -> Result<Shard> {
        let Self {
            poll,
            inbox,
            number,
        } = self;
        let shard = Shard {
            inbox: inbox.clone(),
        };
        let token = shared.shards.token();
        let orders = shared.host.channels.hold(InternalChannel::Orders, number);
        std::thread::Builder::new()
            .name(format!("shard-{number}"))
            .spawn(move || {
                EventLoop::new(poll, inbox, shared, limits).run();
                drop((orders, token));
            })?;
        Ok(shard)
    }
}

impl Shard {
    /// Hands over a connection; `false` when too many wait already, and it is dropped.
    pub(crate) fn arrive(&self, arrival: Arrival) -> bool {
        self.inbox.arrive(Box::new(arrival))
    }

    /// How many clients it has, or will have in a moment.
    pub(crate) fn load(&self) -> usize {
        self.inbox.load()
    }

    /// Where letters for its clients are left.
    pub(crate) fn inbox(&self) -> Arc<Inbox> {
        self.inbox.clone()
    }

    /// Asks for the list of its clients. There comes none when it has ended.
    pub(crate) fn list(&self) -> oneshot::Receiver<Vec<ConnectionInfo>> {
        let (listing, receiver) = Listing::new();
        self.inbox.put(Letter::List(Box::new(listing)));
        receiver
    }

    /// Closes every connection with 1001, one after the other within this time. The thread ends
    /// with the last one.
    pub(crate) fn shut_down(&self, spread: Duration) {
        self.inbox.put(Letter::ShutDown { spread });
    }

    /// Drops every connection and ends the thread.
    pub(crate) fn stop(&self) {
        self.inbox.put(Letter::Stop);
    }
}
