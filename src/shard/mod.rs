//! A shard: a thread that owns a share of the connections, and everything that belongs to them.
//!
//! It reads sockets, runs sessions and mapping functions, keeps time, and writes. Nothing on the way of an event takes a
//! lock or wakes a task; an idle connection has neither a task nor a buffer.

mod client;
mod conversation;
mod event_loop;
mod fan_out;
pub(crate) mod inbox;
mod link;
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
use tokio::sync::OwnedSemaphorePermit;
use updraft_bus::internal::InternalChannel;

use crate::base::error::Result;
use crate::base::memory::Memory;
use crate::handler::Headers;
use crate::limit::Seat;
use crate::stream::Service;
use crate::transport::encryption::Encryption;
use crate::transport::websocket::Rate;
use event_loop::EventLoop;
use inbox::{Inbox, Letter};

pub(crate) use inbox::InboxLimits;
pub(crate) use link::Framing;
pub(crate) use registry::{Newcomer, ResumableSessions};
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
    Polling(Arc<polling_sessions::Session>),
}

/// Limits that the shard keeps, beside those of the session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes of a message before `connect`.
    pub(crate) first_message: usize,
    /// Bytes of a message after it.
    pub(crate) message: usize,
    /// Control frames and small fragments of one client.
    pub(crate) small_frames: Rate,
    /// Bytes of output that wait for one client; with more, what it asks for and its handlers wait.
    pub(crate) flow: usize,
    /// Bytes of output that wait for one client; with more, events find no room.
    pub(crate) events: usize,
    /// Bytes of messages that are kept for one client while its user changes.
    pub(crate) kept: usize,
    /// How long a client may take nothing of what waits for it.
    pub(crate) stuck: Duration,
    /// Messages of one client that wait for a handler; a client with more is not read from.
    pub(crate) queued_messages: usize,
    /// Bytes of these messages, and of the parameters of its handlers that run.
    pub(crate) queued_bytes: usize,
    /// How long a closed connection may take to go away.
    pub(crate) linger: Duration,
    /// How long a live connection may stay silent when another claims its session.
    pub(crate) takeover: Duration,
    /// Whether a session is resumed from the address that it had.
    pub(crate) same_address: bool,
    /// For clients whom nothing else asks for a sign of life.
    pub(crate) watch: Watch,
}

impl Limits {
    /// Bytes of a message of a client that has, or has not, said `connect`.
    pub(crate) fn message_of(&self, is_connected: bool) -> usize {
        if is_connected {
            self.message
        } else {
            self.first_message
        }
    }
}

/// How a client is watched whom nothing else asks for a sign of life.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watch {
    /// How long after its last answer it is asked; zero where it is not.
    pub(crate) interval: Duration,
    /// How long its answer may take.
    pub(crate) timeout: Duration,
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
    pub(crate) fn start(self, shared: Arc<Shared>, limits: Limits) -> Result<Shard> {
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
                EventLoop::new(poll, inbox, number, shared, limits).run();
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
