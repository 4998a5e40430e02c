//! Gauges of what is alive, so that a leak is visible.

mod gauge_guard;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use updraft_bus::BusFaults;

pub(crate) use gauge_guard::{
    GaugeGuard, LiveConnection, LiveSession, LiveSubscription, LiveTunnel, LiveUpstream, Login,
    ParkedSession, SlowMethod,
};

/// What is alive in a server at one moment, and what has happened since it started.
///
/// The gauges return to zero when every client has left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Clients: sockets whose WebSocket handshake is done, and SockJS sessions over HTTP.
    pub connections: usize,
    /// SockJS sessions over HTTP requests; included in `connections`.
    pub polling_sessions: usize,
    /// Sessions that have sent `connect`, parked ones included.
    pub sessions: usize,
    /// Sessions that have lost their connection and wait for their client to come back.
    pub parked_sessions: usize,
    /// Subscriptions, universal ones included.
    pub subscriptions: usize,
    /// Connections on which a user has logged in through [accounts](crate::account).
    pub logins: usize,
    /// Method calls that have run longer than
    /// [`slow_method`](crate::config::HandlerSettings::slow_method), 30 s by default.
    pub slow_methods: usize,
    /// Handlers and other tasks of the server that have not ended.
    pub tasks: usize,
    /// Channels of the bus that are followed.
    pub channels: usize,
    /// Topics that are read for subscriptions which follow them: each once, however many there are.
    pub followed_topics: usize,
    /// Pages that were read from the stores of topics for subscriptions that had fallen behind, or
    /// came back. Those that ask for the same page at the same time share it.
    pub topic_pages: u64,
    /// Messages from the bus that were dropped because they were not JSON, too large, or too deeply
    /// nested.
    pub dropped_payloads: u64,
    /// Handlers that panicked, or failed with an internal error.
    pub failed_handlers: u64,
    /// Handlers that started 100 ms or more after they were asked for, because others block the
    /// threads that they share.
    pub late_handlers: u64,
    /// Handlers of publications that were dropped because they took too long.
    pub expired_publications: u64,
    /// Changes and removals of documents that the subscription does not publish; nothing was sent
    /// for them.
    pub unpublished_changes: u64,
    /// Mapping functions, and functions called for gaps, that failed or panicked. Each failure cost
    /// one event of one subscription.
    pub failed_mappings: u64,
    /// How often a subscription was told that it may have missed events.
    pub gaps: u64,
    /// Connections closed because their client did not read.
    pub slow_clients: u64,
    /// Bytes that wait for slow clients and handlers: output that clients have not taken, and input
    /// and mail that nobody has used yet.
    pub queued_bytes: usize,
    /// Bytes of the parameters of running handlers, counted until the handler ends.
    pub parameter_bytes: usize,
    /// Connections refused because too much was queued, or because too many came at once or from
    /// the same address.
    pub refused_connections: u64,
    /// How often a connection could not be accepted, mostly because too many files were open. It
    /// waits meanwhile. See [`raise_file_limit`](crate::raise_file_limit).
    pub failed_accepts: u64,
    /// Requests refused because of their `Origin` or, on a loopback address, their `Host`.
    pub refused_origins: u64,
    /// Connections whose TLS handshake failed or took too long.
    pub failed_handshakes: u64,
    /// How often the files of the TLS certificate were read again but could not be used, so that
    /// the former certificate stays.
    pub failed_certificates: u64,
    /// Calls and subscriptions refused by a [`RateLimit`](crate::RateLimit).
    pub rate_limited: u64,
    /// Logins by token that could not be decided in time, so that their clients had to connect
    /// again: see [`login_patience`](crate::config::HandlerSettings::login_patience).
    pub postponed_logins: u64,
    /// Connections to the [Meteor](crate::Meteor) server behind this one, one for each session.
    pub upstreams: usize,
    /// How often a Meteor server has refused a connection, or has not answered in time. The log
    /// says why.
    pub refused_upstreams: u64,
    /// Connections to Meteor that broke without a close frame, or were silent for too long. Their
    /// clients were closed with 1012.
    pub lost_upstreams: u64,
    /// Messages of Meteor that were dropped because they were none.
    pub unreadable_upstream: u64,
    /// Messages of Meteor that were dropped because their collection is
    /// [owned](crate::Builder::owns) by this server.
    pub foreign_documents: u64,
    /// Meteor servers that have refused their latest connection. While that is all of them, the
    /// [health check](crate::HealthChecks) says that no new clients should come.
    pub meteor_servers_away: usize,
    /// Requests that were [passed](crate::Meteor::http) to Meteor and answered to their end.
    pub passed_requests: u64,
    /// Requests that were to be passed to Meteor, and were answered with 502 or 504 or broken off.
    /// The log says why.
    pub failed_requests: u64,
    /// WebSockets that are passed to Meteor as they are, because they are not DDP's.
    pub tunnels: usize,
    /// Whether the bus cannot be reached at the moment.
    pub bus_is_away: bool,
    /// How often the bus was connected successfully; each time but the first is a gap. Zero for the
    /// bus inside this process.
    pub bus_generation: u64,
    /// The faults of the bus, and how often each occurred.
    pub bus_faults: BusFaults,
}

/// The counters behind [`Stats`].
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    pub(crate) connections: AtomicUsize,
    pub(crate) sessions: AtomicUsize,
    pub(crate) parked_sessions: AtomicUsize,
    pub(crate) subscriptions: AtomicUsize,
    pub(crate) logins: AtomicUsize,
    pub(crate) slow_methods: AtomicUsize,
    pub(crate) failed_handlers: AtomicU64,
    pub(crate) late_handlers: AtomicU64,
    pub(crate) expired_publications: AtomicU64,
    pub(crate) unpublished_changes: AtomicU64,
    pub(crate) failed_mappings: AtomicU64,
    pub(crate) gaps: AtomicU64,
    pub(crate) slow_clients: AtomicU64,
    pub(crate) refused_connections: AtomicU64,
    pub(crate) failed_accepts: AtomicU64,
    pub(crate) refused_origins: AtomicU64,
    pub(crate) failed_handshakes: AtomicU64,
    /// Shared with the certificate, which the program may have read again.
    pub(crate) failed_certificates: Arc<AtomicU64>,
    pub(crate) rate_limited: AtomicU64,
    pub(crate) postponed_logins: AtomicU64,
    pub(crate) upstreams: AtomicUsize,
    pub(crate) refused_upstreams: AtomicU64,
    pub(crate) lost_upstreams: AtomicU64,
    pub(crate) unreadable_upstream: AtomicU64,
    pub(crate) foreign_documents: AtomicU64,
    pub(crate) passed_requests: AtomicU64,
    pub(crate) failed_requests: AtomicU64,
    pub(crate) tunnels: AtomicUsize,
}

impl Gauges {
    pub(crate) fn read(&self) -> Stats {
        Stats {
            connections: self.connections.load(Ordering::Relaxed),
            sessions: self.sessions.load(Ordering::Relaxed),
            parked_sessions: self.parked_sessions.load(Ordering::Relaxed),
            subscriptions: self.subscriptions.load(Ordering::Relaxed),
            logins: self.logins.load(Ordering::Relaxed),
            slow_methods: self.slow_methods.load(Ordering::Relaxed),
            failed_handlers: self.failed_handlers.load(Ordering::Relaxed),
            late_handlers: self.late_handlers.load(Ordering::Relaxed),
            expired_publications: self.expired_publications.load(Ordering::Relaxed),
            unpublished_changes: self.unpublished_changes.load(Ordering::Relaxed),
            failed_mappings: self.failed_mappings.load(Ordering::Relaxed),
            gaps: self.gaps.load(Ordering::Relaxed),
            slow_clients: self.slow_clients.load(Ordering::Relaxed),
            refused_connections: self.refused_connections.load(Ordering::Relaxed),
            failed_accepts: self.failed_accepts.load(Ordering::Relaxed),
            refused_origins: self.refused_origins.load(Ordering::Relaxed),
            failed_handshakes: self.failed_handshakes.load(Ordering::Relaxed),
            failed_certificates: self.failed_certificates.load(Ordering::Relaxed),
            rate_limited: self.rate_limited.load(Ordering::Relaxed),
            postponed_logins: self.postponed_logins.load(Ordering::Relaxed),
            upstreams: self.upstreams.load(Ordering::Relaxed),
            refused_upstreams: self.refused_upstreams.load(Ordering::Relaxed),
            lost_upstreams: self.lost_upstreams.load(Ordering::Relaxed),
            unreadable_upstream: self.unreadable_upstream.load(Ordering::Relaxed),
            foreign_documents: self.foreign_documents.load(Ordering::Relaxed),
            passed_requests: self.passed_requests.load(Ordering::Relaxed),
            failed_requests: self.failed_requests.load(Ordering::Relaxed),
            tunnels: self.tunnels.load(Ordering::Relaxed),
            ..Stats::default()
        }
    }
}
