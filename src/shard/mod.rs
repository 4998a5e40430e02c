//! A shard: a thread that owns a share of the connections and everything that belongs to them.
//!
//! It reads sockets, runs sessions and mapping functions, keeps time, and writes. No event takes a
//! lock or wakes a task on its way through a shard. An idle connection has neither a task nor a
//! buffer.

mod client;
mod conversation;
mod event_loop;
mod fan_out;
mod following;
pub(crate) mod inbox;
mod limits;
mod link;
mod listing;
mod mapping_calls;
mod newcomer;
pub(crate) mod orders;
mod outgoing;
mod polling;
pub(crate) mod polling_sessions;
mod registry;
mod shared;
mod timers;
mod tokens;
mod upstream;

use std::net::{IpAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use updraft_bus::internal::InternalChannel;

use crate::base::error::Result;
use crate::base::memory::Memory;
use crate::gateway::ClientHeaders;
use crate::handler::Headers;
use crate::limit::Seat;
use crate::stream::Service;
use crate::transport::Framing;
use crate::transport::encryption::Encryption;
use event_loop::EventLoop;
use inbox::{Inbox, Letter};
use listing::Listing;

pub use inbox::InboxLimits;
pub use limits::{ClientLimits, SilenceLimit, TakeoverLimits};
pub use listing::{ConnectionInfo, Transport};
pub(crate) use registry::ResumableSessions;
pub(crate) use shared::Shared;

/// A client that the server has admitted, on its way to a shard.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) peer: Peer,
    pub(crate) service: Arc<Service>,
    pub(crate) client_address: Option<IpAddr>,
    pub(crate) headers: Headers,
    /// All headers, if there is a Meteor server behind this one.
    pub(crate) for_meteor: Option<ClientHeaders>,
    /// For a socket: its seat among the connections of its address, if their number is limited.
    pub(crate) seat: Option<Seat>,
    /// Its room among the new connections, if it needs one; released when the shard takes the
    /// arrival.
    pub(crate) room: Option<OwnedSemaphorePermit>,
}

/// How a new client is reached.
#[derive(Debug)]
pub(crate) enum Peer {
    /// A socket whose WebSocket handshake is done.
    Socket {
        /// Non-blocking.
        socket: TcpStream,
        /// Set if the client uses TLS.
        encryption: Option<Box<Encryption>>,
        /// Bytes that the client sent directly after its handshake.
        leftover: Bytes,
        framing: Framing,
    },
    /// HTTP requests.
    Polling(Arc<polling_sessions::PollingSession>),
}

/// The sending side of a shard.
#[derive(Clone, Debug)]
pub(crate) struct Shard {
    inbox: Arc<Inbox>,
}

/// A shard whose thread has not started.
#[derive(Debug)]
pub(crate) struct Prepared {
    poll: mio::Poll,
    inbox: Arc<Inbox>,
    number: usize,
}

impl Prepared {
    /// Creates the shard's inbox. [`start`](Self::start) starts the thread.
    pub(crate) fn new(number: usize, limits: InboxLimits, memory: Arc<Memory>) -> Result<Self> {
        let poll = mio::Poll::new()?;
        let waker = mio::Waker::new(poll.registry(), tokens::WAKER)?;
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
    /// Hands over a connection. Returns `false`, and drops the connection, when too many wait
    /// already.
    pub(crate) fn arrive(&self, arrival: Arrival) -> bool {
        self.inbox.arrive(Box::new(arrival))
    }

    /// The number of its clients, including new connections that it has not taken yet.
    pub(crate) fn load(&self) -> usize {
        self.inbox.load()
    }

    /// The inbox that takes letters for its clients.
    pub(crate) fn inbox(&self) -> Arc<Inbox> {
        self.inbox.clone()
    }

    /// Asks for the list of its clients. There comes none when it has ended.
    pub(crate) fn list(&self) -> oneshot::Receiver<Vec<ConnectionInfo>> {
        let (listing, receiver) = Listing::new();
        self.inbox.put(Letter::List(Box::new(listing)));
        receiver
    }

    /// Closes every connection with 1001, one after the other, within `spread`. The thread ends
    /// with the last connection.
    pub(crate) fn shut_down(&self, spread: Duration) {
        self.inbox.put(Letter::ShutDown { spread });
    }

    /// Drops every connection and ends the thread.
    pub(crate) fn stop(&self) {
        self.inbox.put(Letter::Stop);
    }
}
