//! Connections to Meteor, opened for the sessions of clients: in their order, not too many at once,
//! and over to the next server where one refuses.

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle as Runtime;
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use warp::http::HeaderMap;

use super::handshake::{self, Refusal};
use super::headers::ClientHeaders;
use super::http::{Pool, StickyCookies};
use super::upstreams::Upstreams;
use super::{GatewaySettings, Meteor, Opened};
use crate::base::ThrottledLog;
use crate::base::clock;
use crate::base::error::Result;
use crate::telemetry::Gauges;

/// How long to wait before servers are asked again, when all of them have refused.
const RETRY: Duration = Duration::from_millis(250);

/// How often servers that cannot be reached are looked at.
const PROBE: Duration = Duration::from_secs(1);

/// The way to the Meteor servers; one per server, shared by all shards.
pub(crate) struct Gateway {
    pub(super) upstreams: Upstreams,
    pub(super) settings: GatewaySettings,
    /// Whether clients speak TLS to this server.
    pub(super) is_encrypted: bool,
    /// Whether HTTP that is not this server's goes to Meteor.
    pub(super) passes_http: bool,
    /// Which server a browser belongs to.
    pub(super) cookies: StickyCookies,
    /// Connections for HTTP.
    pub(super) pool: Arc<Pool>,
    /// Permits for connections that are being opened. Waiting clients stand here in their order.
    room: Semaphore,
    /// When the next connection may be opened.
    next: Mutex<Option<Instant>>,
    /// Whether a task looks after servers that cannot be reached.
    is_probing: AtomicBool,
    /// Attempts to open a connection, and requests.
    pub(super) tasks: TaskTracker,
    /// Tasks that live as long as the server.
    background: TaskTracker,
    pub(super) runtime: Runtime,
    pub(super) draining: CancellationToken,
    pub(super) gauges: Arc<Gauges>,
    refusals_log: ThrottledLog,
    pub(super) http_log: ThrottledLog,
}

/// No connection was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unavailable;

/// A connection that is being opened. Dropping this ends the attempt.
#[derive(Debug)]
pub(crate) struct Opening {
    _attempt: DropGuard,
}

/// What a gateway needs of the server around it.
pub(crate) struct Surroundings {
    pub(crate) is_encrypted: bool,
    pub(crate) tasks: TaskTracker,
    pub(crate) background: TaskTracker,
    pub(crate) runtime: Runtime,
    pub(crate) draining: CancellationToken,
    pub(crate) gauges: Arc<Gauges>,
}

impl Gateway {
    pub(crate) fn new(
        meteor: &Meteor,
        settings: GatewaySettings,
        around: Surroundings,
    ) -> Result<Self> {
        let Surroundings {
            is_encrypted,
            tasks,
            background,
            runtime,
            draining,
            gauges,
        } = around;
        let addresses = meteor.addresses()?;
        let pool = Pool::new(
            addresses.len(),
            settings.http,
            background.clone(),
            runtime.clone(),
            draining.clone(),
        );
        Ok(Self {
            passes_http: meteor.passes_http(),
            cookies: StickyCookies::new(&addresses, &meteor.key()?, is_encrypted),
            pool: Arc::new(pool),
            upstreams: Upstreams::new(addresses),
            settings,
            is_encrypted,
            room: Semaphore::new(settings.connects.clamp(1, Semaphore::MAX_PERMITS)),
            next: Mutex::default(),
            is_probing: AtomicBool::new(false),
            tasks,
            background,
            runtime,
            draining,
            gauges,
            refusals_log: ThrottledLog::default(),
            http_log: ThrottledLog::default(),
        })
    }

    pub(crate) fn settings(&self) -> &GatewaySettings {
        &self.settings
    }

    /// Whether a Meteor server is there, as far as is known.
    pub(crate) fn is_available(&self) -> bool {
        let left_out = self.settings.left_out;
        self.upstreams.any_accepts(left_out, clock::now())
    }

    /// How many servers have refused their latest connection.
    pub(crate) fn away(&self) -> usize {
        self.upstreams.away()
    }

    /// The headers of a client's request, for its connection to Meteor. `peer` has sent it, and may
    /// be a proxy whose word counts.
    pub(crate) fn headers(
        &self,
        request: &HeaderMap,
        peer: IpAddr,
        is_trusted: bool,
    ) -> ClientHeaders {
        ClientHeaders::of(request, peer, self.is_encrypted, is_trusted)
    }

    /// Opens a connection for a client, as soon as its turn comes. `deliver` gets it, unless what
    /// this returns is dropped before.
    pub(crate) fn open(
        self: &Arc<Self>,
        headers: ClientHeaders,
        address: Option<IpAddr>,
        deliver: impl FnOnce(std::result::Result<Opened, Unavailable>) + Send + 'static,
    ) -> Opening {
        let gateway = self.clone();
        let attempt = CancellationToken::new();
        let cancelled = attempt.clone();
        let opening = async move {
            let began = clock::now();
            let patience = gateway.settings.queue_timeout;
            let opened = gateway.open_in_turn(headers, address, began);
            let opened = tokio::time::timeout(patience, opened).await;
            let opened = opened.unwrap_or(Err(Unavailable));
            if opened.is_err() {
                // Meteor's client comes back at once after a connection that was open.
                let until = began.checked_add(gateway.settings.away_timeout);
                tokio::time::sleep_until(until.unwrap_or(began).into()).await;
            }
            deliver(opened);
        };
        let opening = async move {
            // The client has left: nobody waits for the connection.
            cancelled.run_until_cancelled(opening).await;
        };
        self.tasks.spawn_on(opening, &self.runtime);
        Opening {
            _attempt: attempt.drop_guard(),
        }
    }

    async fn open_in_turn(
        self: &Arc<Self>,
        headers: ClientHeaders,
        address: Option<IpAddr>,
        began: Instant,
    ) -> std::result::Result<Opened, Unavailable> {
        let _room = self.room.acquire().await.map_err(|_| Unavailable)?;
        let named = self.cookies.named(headers.map());
        loop {
            let (left_out, now) = (self.settings.left_out, clock::now());
            let mut is_unwanted = false;
            for number in self.upstreams.candidates(address, named, left_out, now) {
                if !self.upstreams.may_try(number, left_out, clock::now()) {
                    continue;
                }
                self.pace().await;
                match self.try_open(number, headers.clone()).await {
                    Ok(opened) => {
                        if self.upstreams.accepted(number) {
                            self.log_accepted(number);
                        }
                        return Ok(opened);
                    }
                    Err(refusal) if refusal.concerns_client() => {
                        is_unwanted = true;
                        self.note(number, &refusal);
                    }
                    Err(refusal) => self.refused(number, &refusal),
                }
            }
            let now = clock::now();
            let waited = now.saturating_duration_since(began);
            let failing = self.upstreams.failing_for(now);
            if is_unwanted || waited.min(failing) >= self.settings.away_timeout {
                return Err(Unavailable);
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn try_open(
        &self,
        number: usize,
        headers: ClientHeaders,
    ) -> std::result::Result<Opened, Refusal> {
        let Some(address) = self.upstreams.address(number) else {
            return Err(Refusal::Silent);
        };
        let opened = handshake::open(address, headers, self.settings.message);
        let limited = tokio::time::timeout(self.settings.connect_timeout, opened);
        limited.await.unwrap_or(Err(Refusal::Silent))
    }

    /// Waits until another connection may be opened.
    async fn pace(&self) {
        let step = Duration::from_secs(1)
            .checked_div(self.settings.connects_per_second)
            .unwrap_or_default();
        let now = clock::now();
        let turn = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let turn = next.map_or(now, |next| next.max(now));
            *next = Some(turn + step);
            turn
        };
        if turn > now {
            tokio::time::sleep_until(turn.into()).await;
        }
    }

    /// A server has refused a connection. Clients are sent elsewhere for a while.
    pub(super) fn refused(self: &Arc<Self>, number: usize, refusal: &Refusal) {
        let listens = refusal.listens();
        self.upstreams.refused(number, listens, clock::now());
        self.note(number, refusal);
        if !listens && !self.is_probing.swap(true, Ordering::AcqRel) {
            self.background
                .spawn_on(self.clone().probe(), &self.runtime);
        }
    }

    /// Counts a refusal, and says why in the log.
    fn note(&self, number: usize, refusal: &Refusal) {
        let refused = &self.gauges.refused_upstreams;
        refused.fetch_add(1, Ordering::Relaxed);
        if let Some(left_out) = self.refusals_log.left_out(clock::now())
            && let Some(address) = self.upstreams.address(number)
        {
            tracing::warn!(%address, left_out, "Meteor refuses a connection: {refusal}.");
        }
    }

    pub(super) fn log_accepted(&self, number: usize) {
        if let Some(address) = self.upstreams.address(number) {
            tracing::info!(%address, "Meteor accepts connections again.");
        }
    }

    /// Looks after servers that cannot be reached, until all of them listen again: so the first
    /// client need not wait until one is asked again.
    async fn probe(self: Arc<Self>) {
        loop {
            let rest = tokio::time::sleep(PROBE);
            if self.draining.run_until_cancelled(rest).await.is_none() {
                return;
            }
            let away = self.upstreams.unreachable();
            if away.is_empty() {
                self.is_probing.store(false, Ordering::Release);
                // Unless another was refused just now, which has found this task running.
                let is_over = self.upstreams.unreachable().is_empty();
                if is_over || self.is_probing.swap(true, Ordering::AcqRel) {
                    return;
                }
            }
            for number in away {
                if self.listens(number).await {
                    self.upstreams.listens(number);
                }
            }
        }
    }

    async fn listens(&self, number: usize) -> bool {
        let Some(address) = self.upstreams.address(number) else {
            return false;
        };
        let connected = tokio::net::TcpStream::connect(address.host_and_port());
        let connected = tokio::time::timeout(PROBE, connected);
        matches!(connected.await, Ok(Ok(_)))
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway")
            .field("upstreams", &self.upstreams)
            .finish_non_exhaustive()
    }
}
