//! The list of a shard's clients, for the program: asked for by letter, and made in slices, between
//! which the shard goes on.

use std::net::IpAddr;

use tokio::sync::oneshot;
use updraft_protocol::ejson::Date;
use updraft_protocol::session::Session;
use uuid::Uuid;

use super::client::Client;
use super::link::Link;
use crate::transport::Framing;

/// What is known of one client's connection: see
/// [`Handle::connections`](crate::Handle::connections).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// What logs call it: [`Connection::log_id`](crate::Connection::log_id). The session's id is a
    /// credential, and not here.
    pub log_id: Uuid,
    /// Who is logged in.
    pub user: Option<String>,
    /// Where the client is, as far as the server knows.
    pub client_address: Option<IpAddr>,
    /// When it came.
    pub since: Date,
    /// How it is reached; `None` while it is lost and its session waits for it.
    pub transport: Option<Transport>,
    /// Its subscriptions, those to universal publications included.
    pub subscriptions: usize,
}

/// How a client is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Transport {
    /// Raw WebSocket.
    WebSocket,
    /// SockJS over WebSocket.
    SockJsWebSocket,
    /// SockJS over HTTP, polling or streaming.
    SockJsHttp,
}

/// A list in the making.
pub(crate) struct Listing {
    /// The place to look at next.
    pub(super) next: usize,
    /// Filled slice by slice; bounded by the shard's clients.
    pub(super) found: Vec<ConnectionInfo>,
    pub(super) asked_by: oneshot::Sender<Vec<ConnectionInfo>>,
}

impl Listing {
    /// A list, and where it comes to; there comes none when the shard has ended.
    pub(super) fn new() -> (Self, oneshot::Receiver<Vec<ConnectionInfo>>) {
        let (asked_by, receiver) = oneshot::channel();
        let listing = Self {
            next: 0,
            found: Vec::new(),
            asked_by,
        };
        (listing, receiver)
    }
}

impl ConnectionInfo {
    pub(super) fn of(client: &Client) -> Self {
        let connection = &client.context;
        let transport = match &client.link {
            Link::Gone => None,
            Link::Polling(_) => Some(Transport::SockJsHttp),
            Link::Socket(socket) if socket.framing() == Framing::SockJs => {
                Some(Transport::SockJsWebSocket)
            }
            Link::Socket(_) => Some(Transport::WebSocket),
        };
        let session = client.session.ddp();
        Self {
            log_id: connection.log_id(),
            user: client.user.as_deref().map(str::to_owned),
            client_address: connection.client_address(),
            since: connection.since(),
            transport,
            subscriptions: session.map_or(0, Session::subscription_count),
        }
    }
}
