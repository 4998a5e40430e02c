//! The accept loop: HTTP/1.1 by hyper with limits that warp's own server has not, and upgraded sockets to the shards.

use std::future::pending;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use hyper::body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream, ToSocketAddrs, lookup_host};
use tokio::sync::Semaphore;
use updraft_protocol::ejson;
use warp::filters::BoxedFilter;
use warp::http::Request;
use warp::reply::Response;

use super::admission::Admission;
use super::health::Condition;
use super::http;
use super::incoming::{Incoming, too_late};
use super::sockjs::Sites;
#[cfg(feature = "tls")]
use super::tls::Handshake;
use crate::base::ThrottledLog;
use crate::base::clock;
use crate::base::files::REMEDY;
use crate::config::{ListenerSettings, Settings};
use crate::shard::Shared;
use crate::shard::polling_sessions::Registry;
use crate::shard::{Arrival, Shard};

/// The pause after a failed `accept`, which is mostly because too many files are open.
const PAUSE: Duration = Duration::from_millis(100);

/// How often at most the log says so.
const FAILURES_TOLD: Duration = Duration::from_secs(60);

/// What stands between the listener and the shards.
#[derive(Debug)]
pub(super) struct Front {
    shards: Arc<[Shard]>,
    /// Counts clients, to begin the search for a shard elsewhere each time.
    next: AtomicUsize,
    /// Room on the way to the shards: who finds none waits. Taken by `hand_over`, given back as a shard takes the client.
    room: Arc<Semaphore>,
    shared: Arc<Shared>,
    admission: Admission,
    sites: Sites,
    settings: Arc<Settings>,
    /// For the line about connections that could not be accepted.
    failures: ThrottledLog,
    /// None where clients speak in the open.
    #[cfg(feature = "tls")]
    handshake: Option<Handshake>,
}

/// The longest time that hyper is told: it adds it to another.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

impl Front {
    pub(super) fn new(
        shards: Arc<[Shard]>,
        shared: Arc<Shared>,
        admission: Admission,
        sites: Sites,
        settings: Arc<Settings>,
    ) -> Self {
        let arrivals = settings.inbox.arrivals.min(Semaphore::MAX_PERMITS);
        Self {
            shards,
            next: AtomicUsize::new(0),
            room: Arc::new(Semaphore::new(arrivals)),
            shared,
            admission,
            sites,
            settings,
            failures: ThrottledLog::each(FAILURES_TOLD),
            #[cfg(feature = "tls")]
            handshake: None,
        }
    }

    /// Begins each connection with this handshake.
    #[cfg(feature = "tls")]
    pub(super) fn with_handshake(self, handshake: Handshake) -> Self {
        let handshake = Some(handshake);
        Self { handshake, ..self }
    }

    pub(super) fn sites(&self) -> &Sites {
        &self.sites
    }

    pub(super) fn polling(&self) -> &Registry {
        &self.shared.polling
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Depth and breadth of what is posted.
    pub(super) fn json_limits(&self) -> &ejson::JsonLimits {
        &self.shared.session.settings.json
    }

    /// Takes connections until the server begins to end.
    pub(super) async fn run(
        self: Arc<Self>,
        listener: TcpListener,
        routes: Option<BoxedFilter<(Response,)>>,
    ) {
        let own = routes.map(http::own);
        let mut draining = std::pin::pin!(self.shared.draining.cancelled());
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = &mut draining => return,
            };
            match accepted {
                Ok((socket, peer)) => self.connection(socket, peer, own.clone()),
                Err(error) => {
                    self.failed(&error);
                    // What is wrong with one connection is gone with it.
                    if !is_of_one(&error) {
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        }
    }

    /// Counts a connection that could not be accepted.
    fn failed(&self, error: &io::Error) {
        let failed = &self.shared.host.gauges.failed_accepts;
        failed.fetch_add(1, Ordering::Relaxed);
        if let Some(left_out) = self.failures.left_out(clock::now()) {
            tracing::warn!(
                %error,
                left_out,
                "A connection could not be accepted, and waits. If too many files are open: \
                 {REMEDY}."
            );
        }
    }

    /// Gives a client to the shard that has fewest. Where many are on their way, it waits for its turn: a storm of
    /// connections does not keep the shards from those who are there already.
    pub(super) async fn hand_over(&self, mut arrival: Arrival) {
        let room = self.room.clone().acquire_owned();
        match tokio::time::timeout(self.settings.inbox.arrival_timeout, room).await {
            Ok(Ok(room)) => arrival.room = Some(room),
            _ => return self.too_many(),
        }
        if let Some(shard) = self.next_shard() {
            self.hand_over_to(shard, arrival);
        }
    }

    /// The shard with the fewest clients; those that have equally few take turns.
    pub(super) fn next_shard(&self) -> Option<&Shard> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let (last, first) = self.shards.split_at(turn.checked_rem(self.shards.len())?);
        let shards = first.iter().chain(last);
        shards.min_by_key(|shard| shard.load())
    }

    /// Gives a client to this shard; whether it is taken. One that is not is counted as refused.
    pub(super) fn hand_over_to(&self, shard: &Shard, arrival: Arrival) -> bool {
        let is_taken = shard.arrive(arrival);
        if !is_taken {
            self.too_many();
        }
        is_taken
    }

    fn too_many(&self) {
        tracing::warn!("A connection was refused: too many came at once.");
        let refused = &self.shared.host.gauges.refused_connections;
        refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn admission(&self) -> &Admission {
        &self.admission
    }

    /// What says whether new clients may come.
    pub(super) fn condition(&self) -> Condition {
        Condition {
            is_shutting_down: self.shared.draining.is_cancelled(),
            bus_is_away: !self.shared.host.channels.is_connected(),
            memory_is_overloaded: self.shared.host.memory.is_overloaded(),
        }
    }

    /// Runs `future` as a task of the server.
    pub(super) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.shared.host.tasks.spawn(future);
    }

    /// The same, for what is not worth waiting for when the server shuts down.
    pub(super) fn spawn_until_draining(&self, future: impl Future<Output = ()> + Send + 'static) {
        let draining = self.shared.draining.clone();
        self.spawn(async move {
            draining.run_until_cancelled_owned(future).await;
        });
    }

    /// Serves a connection as a task of its own.
    fn connection(
        self: &Arc<Self>,
        socket: TcpStream,
        peer: SocketAddr,
        own: Option<BoxedFilter<(Response,)>>,
    ) {
        let front = self.clone();
        #[cfg(feature = "tls")]
        if let Some(handshake) = self.handshake.clone() {
            return self.spawn(async move {
                let done = tokio::select! {
                    done = handshake.with(socket) => done,
                    () = front.shared.draining.cancelled() => return,
                };
                match done {
                    Ok(socket) => front.serve(socket, peer, own).await,
                    Err(error) => front.handshake_failed(peer, &error),
                }
            });
        }
        self.spawn(front.serve(socket, peer, own));
    }

    #[cfg(feature = "tls")]
    fn handshake_failed(&self, peer: SocketAddr, error: &io::Error) {
        let failed = &self.shared.host.gauges.failed_handshakes;
        failed.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(%peer, %error, "A TLS handshake came to nothing.");
    }

    /// Speaks HTTP until the connection ends, or is a WebSocket.
    async fn serve<S>(
        self: Arc<Self>,
        socket: S,
        peer: SocketAddr,
        own: Option<BoxedFilter<(Response,)>>,
    ) where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let http = &self.settings.http;
        let header_timeout = http.header_timeout.min(LONGEST);
        let draining = &self.shared.draining;
        let has_asked = AtomicBool::new(false);
        let answer = |request: Request<body::Incoming>| {
            has_asked.store(true, Ordering::Relaxed);
            let request = request.map(|body| Incoming::new(body, draining.clone()));
            http::answer(self.clone(), own.clone(), peer, request)
        };
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout((!header_timeout.is_zero()).then_some(header_timeout))
            .max_headers(http.headers)
            .max_buf_size(http.header_bytes)
            .serve_connection(TokioIo::new(socket), service_fn(answer))
            .with_upgrades();
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = draining.cancelled() => {
                // An idle connection ends with this. What has been asked for is answered, but a
                // client that is still asking is waited for briefly only.
                connection.as_mut().graceful_shutdown();
                let still_asks = async {
                    too_late(draining).await;
                    if has_asked.load(Ordering::Relaxed) {
                        pending().await
                    }
                };
                tokio::select! {
                    ended = &mut connection => ended,
                    () = still_asks => return,
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "A connection ended with an error.");
        }
    }
}

/// Whether a failure is that of a connection which has ended before it was accepted.
fn is_of_one(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused
    )
}

/// A socket with these settings at one of the addresses, which does not listen yet. Those that it
/// will accept have its options, at no cost of their own.
pub(super) async fn bind(
    settings: &ListenerSettings,
    addresses: impl ToSocketAddrs,
) -> io::Result<TcpSocket> {
    let mut failed = io::Error::new(ErrorKind::InvalidInput, "the name has no address");
    for address in lookup_host(addresses).await? {
        match bind_to(settings, address) {
            Ok(socket) => return Ok(socket),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

fn bind_to(settings: &ListenerSettings, address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // As every server on Unix: what is left of old connections is no reason not to start again.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    // Each message is one write already, so waiting for more can only hurt.
    socket.set_nodelay(true)?;
    let options = SockRef::from(&socket);
    if let Err(error) = options.set_send_buffer_size(settings.send_buffer) {
        tracing::warn!(%error, "The send buffer of sockets could not be set.");
    }
    #[cfg(target_os = "linux")]
    if !settings.tcp_user_timeout.is_zero() {
        options.set_tcp_user_timeout(Some(settings.tcp_user_timeout))?;
    }
    socket.bind(address)?;
    Ok(socket)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn row_031_the_kernel_gives_up_a_machine_that_is_gone() {
        let settings = ListenerSettings {
            send_buffer: 32 * 1024,
            tcp_user_timeout: Duration::from_secs(7),
            ..ListenerSettings::default()
        };
        let socket = bind(&settings, "127.0.0.1:0").await.unwrap();
        let listener = socket.listen(10).unwrap();
        let address = listener.local_addr().unwrap();
        let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (_client, (socket, _)) = (client.unwrap(), accepted.unwrap());
        assert!(socket.nodelay().unwrap());
        let socket = SockRef::from(&socket);
        let timeout = socket.tcp_user_timeout().unwrap();
        assert_eq!(timeout, Some(Duration::from_secs(7)));
        // Linux doubles what it is asked for, to have room for its own.
        assert_eq!(socket.send_buffer_size().unwrap(), 64 * 1024);
    }
}
