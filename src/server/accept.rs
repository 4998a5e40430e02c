//! The accept loop: HTTP/1.1 by hyper, with limits that warp's own server does not have.

use std::fmt;
use std::future::pending;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream, ToSocketAddrs, lookup_host};
use warp::http::Request;

use super::front::Front;
use super::http;
use super::incoming::{IncomingBody, too_late};
use super::proxy_protocol;
use super::routes::Routes;
#[cfg(feature = "tls")]
use super::tls::Handshake;
use crate::base::ThrottledLog;
use crate::base::clock;
use crate::base::error::{Error, Result};
use crate::base::files::REMEDY;
use crate::config::ListenerSettings;
use crate::transport::metered::{Activity, Metered, OverTcp};

/// The pause after a failed `accept`, which is mostly because too many files are open.
const PAUSE: Duration = Duration::from_millis(100);

/// How often at most the log says that `accept` failed.
const FAILURES_TOLD: Duration = Duration::from_secs(60);

/// Accepts connections, and serves HTTP on them until they end or become WebSockets.
pub(super) struct Acceptor {
    front: Arc<Front>,
    /// The program's own routes.
    routes: Arc<Routes>,
    /// Throttles the line about connections that could not be accepted.
    failures: ThrottledLog,
    /// None without TLS.
    #[cfg(feature = "tls")]
    handshake: Option<Handshake>,
}

/// The longest timeout that hyper gets: it adds it to a time, which must not overflow.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

impl Acceptor {
    pub(super) fn new(front: Arc<Front>, routes: Routes) -> Self {
        Self {
            front,
            routes: Arc::new(routes),
            failures: ThrottledLog::each(FAILURES_TOLD),
            #[cfg(feature = "tls")]
            handshake: None,
        }
    }

    /// Begins each connection with this TLS handshake.
    #[cfg(feature = "tls")]
    pub(super) fn with_handshake(self, handshake: Handshake) -> Self {
        let handshake = Some(handshake);
        Self { handshake, ..self }
    }

    /// Accepts connections until the server begins to shut down.
    pub(super) async fn run(self, listener: TcpListener) {
        let mut draining = std::pin::pin!(self.front.draining().cancelled());
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = &mut draining => return,
            };
            match accepted {
                Ok((socket, peer)) => self.connection(socket, peer),
                Err(error) => {
                    self.count_failure(&error);
                    // The next connection is not affected by an error of this one.
                    if !concerns_one_connection(&error) {
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        }
    }

    /// Counts a connection that could not be accepted.
    fn count_failure(&self, error: &io::Error) {
        let failed = &self.front.gauges().failed_accepts;
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

    /// Serves a connection in a task of its own.
    fn connection(&self, socket: TcpStream, peer: SocketAddr) {
        let (front, routes) = (self.front.clone(), self.routes.clone());
        if front.admission().is_announced(peer) {
            #[cfg(feature = "tls")]
            let handshake = self.handshake.clone();
            self.front.spawn(async move {
                let Some((socket, peer)) = announced(&front, socket, peer).await else {
                    return;
                };
                #[cfg(feature = "tls")]
                if let Some(handshake) = handshake {
                    return serve_encrypted(front, handshake, socket, peer, routes).await;
                }
                serve(front, socket, peer, routes).await;
            });
            return;
        }
        #[cfg(feature = "tls")]
        if let Some(handshake) = self.handshake.clone() {
            let serving = serve_encrypted(front, handshake, socket, peer, routes);
            return self.front.spawn(serving);
        }
        self.front.spawn(serve(front, socket, peer, routes));
    }
}

/// Takes off what a proxy says of the connection; from then on its peer is the client, if the proxy
/// has named it.
async fn announced(
    front: &Front,
    mut socket: TcpStream,
    peer: SocketAddr,
) -> Option<(TcpStream, SocketAddr)> {
    let read = proxy_protocol::read_header(&mut socket);
    let timeout = front.settings().http.header_timeout;
    let timeout = if timeout.is_zero() { LONGEST } else { timeout };
    let header = tokio::select! {
        header = tokio::time::timeout(timeout, read) => header,
        () = front.draining().cancelled() => return None,
    };
    match header.unwrap_or_else(|late| Err(late.into())) {
        Ok(client) => Some((socket, client.unwrap_or(peer))),
        Err(error) => {
            front.admission().unannounced(peer, &error);
            None
        }
    }
}

/// Begins with a TLS handshake.
#[cfg(feature = "tls")]
async fn serve_encrypted(
    front: Arc<Front>,
    handshake: Handshake,
    socket: TcpStream,
    peer: SocketAddr,
    routes: Arc<Routes>,
) {
    let done = tokio::select! {
        done = handshake.with(socket) => done,
        () = front.draining().cancelled() => return,
    };
    match done {
        Ok(socket) => serve(front, socket, peer, routes).await,
        Err(error) => handshake_failed(&front, peer, &error),
    }
}

#[cfg(feature = "tls")]
fn handshake_failed(front: &Front, peer: SocketAddr, error: &io::Error) {
    let failed = &front.gauges().failed_handshakes;
    failed.fetch_add(1, Ordering::Relaxed);
    tracing::debug!(%peer, %error, "A TLS handshake came to nothing.");
}

/// Serves HTTP until the connection ends or becomes a WebSocket.
async fn serve<S>(front: Arc<Front>, socket: S, peer: SocketAddr, routes: Arc<Routes>)
where
    S: OverTcp + AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let http = &front.settings().http;
    let activity = Arc::<Activity>::default();
    let socket = Metered::new(socket, activity.clone());
    let header_timeout = http.header_timeout.min(LONGEST);
    let draining = front.draining();
    let has_asked = AtomicBool::new(false);
    let answer = |request: Request<body::Incoming>| {
        has_asked.store(true, Ordering::Relaxed);
        let request = request.map(|body| IncomingBody::new(body, draining.clone()));
        http::answer(
            front.clone(),
            routes.clone(),
            (peer, activity.clone()),
            request,
        )
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout((!header_timeout.is_zero()).then_some(header_timeout))
        .max_headers(http.headers)
        .max_buf_size(front.header_bytes())
        .serve_connection(TokioIo::new(socket), service_fn(answer))
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = activity.broken_off() => return,
        () = draining.cancelled() => {
            // This ends an idle connection. Complete requests are answered, but the first request
            // of a connection is waited for only briefly.
            connection.as_mut().graceful_shutdown();
            let asks_too_late = async {
                too_late(draining).await;
                if has_asked.load(Ordering::Relaxed) {
                    pending().await
                }
            };
            tokio::select! {
                ended = &mut connection => ended,
                () = activity.broken_off() => return,
                () = asks_too_late => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "A connection ended with an error.");
    }
}

/// Whether a connection that ended before it was accepted is the cause of this error.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused
    )
}

/// A socket that is bound to one of the addresses and does not listen yet. The sockets that it will
/// accept inherit its options, which saves system calls.
pub(super) async fn bind(
    settings: &ListenerSettings,
    addresses: impl ToSocketAddrs + fmt::Debug,
) -> Result<TcpSocket> {
    let given = format!("{addresses:?}");
    let found = lookup_host(addresses).await;
    let mut failed = Error::of_address(format!("{given} has no address"));
    for address in found.map_err(|error| not_an_address(&given, &error))? {
        match bind_to(settings, address) {
            Ok(socket) => return Ok(socket),
            Err(error) => failed = not_bound(address, &error),
        }
    }
    Err(failed)
}

fn bind_to(settings: &ListenerSettings, address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // As every server on Unix does: connections of an earlier process in TIME_WAIT must not prevent
    // a new start.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    // Each message is one write already, so Nagle's algorithm could only delay it.
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

/// The error for a text that is no address, or a name that has none.
fn not_an_address(given: &str, error: &io::Error) -> Error {
    let text = if error.kind() == ErrorKind::InvalidInput {
        format!("{given} is no address to listen on; its form is HOST:PORT, as in 127.0.0.1:3000")
    } else {
        format!("{given} cannot be listened on: {error}; is the name right?")
    };
    Error::of_address(text)
}

/// The error for an address on which the operating system does not let us listen.
pub(super) fn not_bound(address: SocketAddr, error: &io::Error) -> Error {
    let why = match error.kind() {
        ErrorKind::AddrInUse => "address in use; does another server listen there?",
        ErrorKind::AddrNotAvailable => {
            "no address of this machine; 0.0.0.0 listens on all that are"
        }
        ErrorKind::PermissionDenied => "permission denied; ports below 1024 take a right to them",
        _ => &error.to_string(),
    };
    Error::of_address(format!("{address} cannot be listened on: {why}"))
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
