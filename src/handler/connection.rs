//! The client at the other end, as handlers see it.

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use updraft_protocol::ejson::{Date, Object, Text, Value};
use updraft_protocol::message::WireError;
use uuid::Uuid;

use super::host::{Callback, Host};
use crate::base::clock;
use crate::base::error::Error;
use crate::base::memory::CountedParameters;
use crate::limit::Caller;
use crate::mail::{Address, Mail};

/// A client's connection.
#[derive(Clone)]
pub struct Connection(Arc<Inner>);

struct Inner {
    /// What the client was told at `connect`. A credential.
    session: Arc<str>,
    /// What logs call this connection.
    log_id: Uuid,
    since: Date,
    client_address: Option<IpAddr>,
    headers: Headers,
    address: Arc<Address>,
    host: Arc<Host>,
    close: Mutex<CloseState>,
}

/// Whether a connection has ended, and what is to be called when it does.
enum CloseState {
    /// Filled by handlers, drained when the connection ends; bounded by what the server's own
    /// handlers ask for.
    Open(Vec<Callback>),
    Closed,
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
///
/// One text of lines, `name: value`, for each of many clients has some.
#[derive(Clone, Debug, Default)]
pub struct Headers(Box<str>);

impl Headers {
    pub(crate) fn of(request: &warp::http::HeaderMap) -> Self {
        let mut shown = String::new();
        for name in SHOWN {
            let values = request.get_all(name).iter();
            // What can be read as text holds no line breaks.
            let values = values
                .map(|value| value.to_str())
                .collect::<Result<Vec<_>, _>>();
            if let Some(values) = values.ok().filter(|values| !values.is_empty()) {
                shown.extend([name, ": ", &values.join(", "), "\n"]);
            }
        }
        Self(shown.into())
    }

    /// A header's value, by its lower-case name.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value)
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.lines().filter_map(|line| line.split_once(": "))
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
        host: Arc<Host>,
    ) -> Self {
        Self(Arc::new(Inner {
            session,
            log_id: Uuid::new_v4(),
            since: clock::date(),
            client_address,
            headers,
            address,
            host,
            close: Mutex::new(CloseState::Open(Vec::new())),
        }))
    }

    /// The same connection, now of another shard. No handler has it yet.
    pub(crate) fn moved_to(&self, address: Arc<Address>) -> Self {
        self.with(self.0.session.clone(), address)
    }

    /// The same connection, with the session id that Meteor gave. No handler has it yet.
    pub(crate) fn with_session(&self, session: Arc<str>) -> Self {
        self.with(session, self.0.address.clone())
    }

    fn with(&self, session: Arc<str>, address: Arc<Address>) -> Self {
        Self(Arc::new(Inner {
            session,
            log_id: self.0.log_id,
            since: self.0.since,
            client_address: self.0.client_address,
            headers: self.0.headers.clone(),
            address,
            host: self.0.host.clone(),
            close: Mutex::new(CloseState::Open(Vec::new())),
        }))
    }

    /// The id of the session, which the client was told at `connect`.
    ///
    /// **A secret**: who knows it can take the session over, with its user. Tell it nobody but this
    /// client, keep it out of logs and databases, and use [`log_id`](Self::log_id) wherever a
    /// connection has to have a name. It is in no `Debug` of this library.
    pub fn session_id(&self) -> &str {
        &self.0.session
    }

    /// The same, for the tables that know sessions by it.
    pub(crate) fn shared_id(&self) -> Arc<str> {
        self.0.session.clone()
    }

    /// What to call this connection in logs, and as a key: a random UUID, which no client is told.
    pub fn log_id(&self) -> Uuid {
        self.0.log_id
    }

    /// When the client came, by the wall clock. After a resumption it is still the time of the
    /// first connection.
    pub fn since(&self) -> Date {
        self.0.since
    }

    /// Where the client is: the address of the socket's other end or, behind [trusted
    /// proxies](crate::TrustedProxies), the one that they have passed on. There it is `None` when
    /// they have passed on none. An IPv4 address never looks like an IPv6 one. After a resumption
    /// it is still where the first connection came from.
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
            connection: self.session_id().into(),
        }
    }

    /// Closes the connection with 1000. What was sent before arrives; nothing more is sent.
    pub fn close(&self) {
        self.0.address.send(Mail::Close);
    }

    /// Closes the connection of a client whose login cannot be decided, so that it comes again: an
    /// error would have it forget its token. Nobody hears of the error that is returned.
    pub(crate) fn postpone_login(&self) -> Error {
        let postponed = &self.host().gauges.postponed_logins;
        postponed.fetch_add(1, Ordering::Relaxed);
        self.send(Mail::CloseWith(1013, "Try again later".into()));
        Error::disconnected()
    }

    /// Whether the connection has ended.
    pub(crate) fn has_ended(&self) -> bool {
        let state = self.0.close.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(*state, CloseState::Closed)
    }

    /// Calls `f` when the connection has ended, at once if it has.
    pub fn on_close(&self, f: impl FnOnce() + Send + 'static) {
        let mut state = self.0.close.lock().unwrap_or_else(PoisonError::into_inner);
        if let CloseState::Open(callbacks) = &mut *state {
            return callbacks.push(Box::new(f));
        }
        drop(state);
        f();
    }

    /// Waits while more than 1 MiB ([`ClientLimits::flow`](crate::config::ClientLimits::flow)) of
    /// what the server has sent is on its way to this client, or anything is while too much waits
    /// for all clients together ([`Settings::memory_limit`](crate::Settings::memory_limit)).
    ///
    /// So who sends much takes no more memory than that: sending itself never waits. Everything
    /// else that is awaited of a context waits for this as well.
    ///
    /// It ends when the client has taken it, and when the connection has ended.
    ///
    /// # Cancel safety
    ///
    /// Nothing happens when the future is dropped.
    pub async fn flowing(&self) {
        self.0.address.flowing().await;
    }

    /// Whether [`room`](Self::room) would wait.
    pub(crate) fn is_short(&self) -> bool {
        self.0.host.memory.is_short()
    }

    /// Waits until there is memory for another handler of this client; `false` when the client has
    /// left first.
    pub(crate) async fn room(&self) -> bool {
        self.0.address.room().await
    }

    /// Whether [`flowing`](Self::flowing) would not wait.
    pub(crate) fn is_flowing(&self) -> bool {
        self.0.address.is_flowing()
    }

    /// The connection has ended: runs the callbacks, on the handlers' runtime.
    pub(crate) fn closed(&self) {
        self.0.address.close();
        let mut state = self.0.close.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = std::mem::replace(&mut *state, CloseState::Closed);
        drop(state);
        if let CloseState::Open(callbacks) = ended {
            self.0.host.call_back(callbacks);
        }
    }

    pub(crate) fn send(&self, mail: Mail) {
        self.0.address.send(mail);
    }

    /// Bytes of mail that the session has not read yet.
    pub(crate) fn queued_mail(&self) -> usize {
        self.0.address.queued()
    }

    /// Counts the parameters of a handler until what is returned is dropped.
    pub(crate) fn count_parameters(&self, params: &[Value]) -> CountedParameters {
        let each = params.iter().map(Value::memory);
        let bytes = each.fold(0, usize::saturating_add);
        let (memory, shard) = (self.0.host.memory.clone(), self.shard());
        CountedParameters::new(memory, shard, bytes)
    }

    /// Counts a request that a rule refuses, for this method or publication; what the client is
    /// told.
    pub(crate) fn limited(
        &self,
        what: &'static str,
        name: &str,
        wait: Duration,
        now: Instant,
    ) -> WireError {
        let host = self.host();
        host.gauges.rate_limited.fetch_add(1, Ordering::Relaxed);
        if let Some(left_out) = host.limiter.log.left_out(now) {
            let (connection, address) = (self.log_id(), self.client_address());
            tracing::info!(
                %connection, ?address, %what, ?name, left_out,
                "A client asks more often than a rule allows."
            );
        }
        Error::too_many_requests(wait).into_wire()
    }

    pub(crate) fn host(&self) -> &Arc<Host> {
        &self.0.host
    }

    /// Where its session can be found.
    pub(crate) fn address(&self) -> &Arc<Address> {
        &self.0.address
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
