//! The client at the other end, as handlers see it.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use updraft_protocol::ejson::{Object, Text, Value};
use uuid::Uuid;

use crate::limit::Caller;
use crate::mailbox::{Address, Mail};
use crate::services::{Callback, Services};

/// A client's connection.
#[derive(Clone)]
pub struct Connection(Arc<Inner>);

struct Inner {
    /// What the client was told at `connect`. A credential.
    session: Arc<str>,
    /// What logs call this connection.
    log_id: Uuid,
    client_address: Option<IpAddr>,
    headers: Headers,
    address: Arc<Address>,
    services: Arc<Services>,
    close: Mutex<CloseState>,
}

#[derive(Default)]
struct CloseState {
    closed: bool,
    /// Filled by handlers, drained when the connection ends; bounded by what the server's own handlers ask for.
    callbacks: Vec<Callback>,
}

/// The headers that Meteor shows to handlers; no others are kept.
const SHOWN: [&str; 14] = [
    "referer",
    "x-client-ip",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-cluster-client-ip",
    "via",
    "x-real-ip",
    "x-forwarded-proto",
    "x-ssl",
    "dnt",
    "host",
    "user-agent",
    "accept-language",
];

/// Some headers of the request that opened a connection.
#[derive(Clone, Debug, Default)]
pub struct Headers(Box<[(&'static str, Box<str>)]>);

impl Headers {
    pub(crate) fn of(request: &warp::http::HeaderMap) -> Self {
        let shown = SHOWN.iter().filter_map(|name| {
            let lines = request.get_all(*name).iter();
            let lines = lines
                .map(|line| line.to_str())
                .collect::<Result<Vec<_>, _>>();
            let lines = lines.ok().filter(|lines| !lines.is_empty())?;
            Some((*name, lines.join(", ").into()))
        });
        Self(shown.collect())
    }

    /// A header's value, by its lower-case name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| &**value)
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (*name, &**value))
    }
}

impl From<&Headers> for Object {
    fn from(headers: &Headers) -> Self {
        headers
            .iter()
            .map(|(name, value)| (Text::from(name), Value::from(value)))
            .collect()
    }
}

impl Connection {
    pub(crate) fn new(
        session: Arc<str>,
        client_address: Option<IpAddr>,
        headers: Headers,
        address: Arc<Address>,
        services: Arc<Services>,
    ) -> Self {
        Self(Arc::new(Inner {
            session,
            log_id: Uuid::new_v4(),
            client_address,
            headers,
            address,
            services,
            close: Mutex::default(),
        }))
    }

    /// The same connection, now of another shard. No handler has it yet.
    pub(crate) fn moved_to(&self, address: Arc<Address>) -> Self {
        Self(Arc::new(Inner {
            session: self.0.session.clone(),
            log_id: self.0.log_id,
            client_address: self.0.client_address,
            headers: self.0.headers.clone(),
            address,
            services: self.0.services.clone(),
            close: Mutex::default(),
        }))
    }

    /// The session's id, which the client knows too. A credential: not for logs.
    pub fn id(&self) -> &str {
        &self.0.session
    }

    /// The same, for the tables that know sessions by it.
    pub(crate) fn shared_id(&self) -> Arc<str> {
        self.0.session.clone()
    }

    /// What to call this connection in logs.
    pub fn log_id(&self) -> Uuid {
        self.0.log_id
    }

    /// Where the client is: the address of the socket's other end or, behind
    /// [trusted proxies](crate::Builder::trusted_proxies), the one that they have passed on. There it is `None` when they
    /// have passed on none. An IPv4 address never looks like an IPv6 one.
    /// After a resumption it is still where the first connection came from.
    pub fn client_address(&self) -> Option<IpAddr> {
        self.0.client_address
    }

    /// The headers of the opening request that handlers may see: those of Meteor's `httpHeaders`.
    pub fn headers(&self) -> &Headers {
        &self.0.headers
    }

    /// Who asks, for the rules about rates.
    pub(crate) fn caller(&self, user: Option<&str>) -> Caller {
        Caller {
            user: user.map(Into::into),
            address: self.client_address(),
            connection: self.id().into(),
        }
    }

    /// Closes the connection with 1000. What was sent before arrives; nothing more is sent.
    pub fn close(&self) {
        self.0.address.send(Mail::Close);
    }

    /// Calls `f` when the connection has ended, at once if it has.
    pub fn on_close(&self, f: impl FnOnce() + Send + 'static) {
        let mut state = self.0.close.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.closed {
            return state.callbacks.push(Box::new(f));
        }
        drop(state);
        f();
    }

    /// The connection has ended: runs the callbacks, on the handlers' runtime.
    pub(crate) fn closed(&self) {
        let mut state = self.0.close.lock().unwrap_or_else(PoisonError::into_inner);
        state.closed = true;
        let callbacks = std::mem::take(&mut state.callbacks);
        drop(state);
        self.0.services.call_back(callbacks);
    }

    pub(crate) fn send(&self, mail: Mail) {
        self.0.address.send(mail);
    }

    /// Bytes of mail that the session has not read yet.
    pub(crate) fn queued_mail(&self) -> usize {
        self.0.address.queued()
    }

    pub(crate) fn services(&self) -> &Arc<Services> {
        &self.0.services
    }

    pub(crate) fn shard(&self) -> usize {
        self.0.address.shard()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("log_id", &self.0.log_id)
            .field("client_address", &self.0.client_address)
            .finish_non_exhaustive()
    }
}
