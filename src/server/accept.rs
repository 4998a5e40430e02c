//! The accept loop: HTTP/1.1 by hyper with limits that warp's own server has not, and upgraded sockets to the shards.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use updraft_protocol::ejson;
use warp::filters::BoxedFilter;
use warp::http::{HeaderMap, HeaderValue};
use warp::reply::Response;

use super::admission::{Admission, Admitted, Refused};
use super::http;
use super::sockjs::{BodyLimits, Sites};
#[cfg(feature = "tls")]
use super::tls::Handshake;
use crate::services::Services;
use crate::shard::{Arrival, Shard};
use crate::sockjs::Registry;

/// A request's headers must be there after so long.
const HEADERS_WITHIN: Duration = Duration::from_secs(10);

/// Most headers of a request.
const MAX_HEADERS: usize = 64;

/// Most bytes of a request's head.
const MAX_HEAD: usize = 16 * 1024;

/// How long a new client may wait for room on its way to a shard.
const ROOM_WITHIN: Duration = Duration::from_secs(10);

/// The pause after a failed `accept`, which is mostly for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// What stands between the listener and the shards.
#[derive(Clone, Debug)]
pub(super) struct Front {
    shards: Arc<[Shard]>,
    /// Counts clients, to begin the search for a shard elsewhere each time.
    next: Arc<AtomicUsize>,
    /// Room on the way to the shards: who finds none waits. Taken by `hand_over`, given back as a shard takes the client.
    room: Arc<Semaphore>,
    services: Arc<Services>,
    admission: Arc<Admission>,
    sockets: SocketOptions,
    sites: Arc<Sites>,
    posts: Posts,
    /// None where clients speak in the open.
    #[cfg(feature = "tls")]
    handshake: Option<Handshake>,
}

/// What clients may post.
#[derive(Clone, Copy, Debug)]
pub(super) struct Posts {
    pub(super) bodies: BodyLimits,
    /// Bytes of messages that one session has not taken.
    pub(super) waiting: usize,
}

/// How sockets are set up.
#[derive(Clone, Copy, Debug)]
pub(super) struct SocketOptions {
    /// Bytes that the kernel may hold for a client: more would hide that it does not read.
    pub(super) send_buffer: usize,
    /// How long the kernel waits for a client's machine to confirm; zero for its own time.
    pub(super) user_timeout: Duration,
}

/// The client's address, in the extensions of each request.
#[derive(Clone, Copy, Debug)]
pub(super) struct PeerAddr(pub(super) SocketAddr);

impl Front {
    pub(super) fn new(
        shards: Arc<[Shard]>,
        arrivals: usize,
        services: Arc<Services>,
        admission: Admission,
        sockets: SocketOptions,
        sites: Sites,
        posts: Posts,
    ) -> Self {
        Self {
            shards,
            next: Arc::new(AtomicUsize::new(0)),
            room: Arc::new(Semaphore::new(arrivals.min(Semaphore::MAX_PERMITS))),
            services,
            admission: Arc::new(admission),
            sockets,
            sites: Arc::new(sites),
            posts,
            #[cfg(feature = "tls")]
            handshake: None,
        }
    }

    /// Begins each connection with this handshake.
    #[cfg(feature = "tls")]
    pub(super) fn with_handshake(self, handshake: Option<Handshake>) -> Self {
        Self { handshake, ..self }
    }

    pub(super) fn sites(&self) -> &Sites {
        &self.sites
    }

    pub(super) fn polling(&self) -> &Registry {
        &self.services.polling
    }

    pub(super) fn bodies(&self) -> BodyLimits {
        self.posts.bodies
    }

    /// Bytes that may be posted to a session and wait.
    pub(super) fn posted_limit(&self) -> usize {
        self.posts.waiting
    }

    /// Depth and breadth of what is posted.
    pub(super) fn json_limits(&self) -> &ejson::Limits {
        &self.services.session.limits
    }

    /// Takes connections until `closing`.
    pub(super) async fn run(
        &self,
        listener: TcpListener,
        routes: Option<BoxedFilter<(Response,)>>,
        closing: &CancellationToken,
    ) {
        let routes = http::routes(self.clone(), routes);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = closing.cancelled() => return,
            };
            match accepted {
                Ok((socket, peer)) => {
                    self.connection(socket, peer, routes.clone(), closing.clone())
                }
                Err(error) => {
                    tracing::warn!(%error, "A connection could not be accepted.");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Gives a client to the shard that has fewest. Where many are on their way, it waits for its turn: a storm of
    /// connections does not keep the shards from those who are there already.
    pub(super) async fn hand_over(&self, mut arrival: Arrival) {
        let room = self.room.clone().acquire_owned();
        match tokio::time::timeout(ROOM_WITHIN, room).await {
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
        self.refused();
    }

    /// Lets a client in by its origin and address, or says why not.
    pub(super) fn admit(&self, headers: &HeaderMap, peer: SocketAddr) -> Result<Admitted, Refused> {
        self.admission.admit(headers, peer)
    }

    /// Refuses what a page of another origin asks for.
    pub(super) fn screen(&self, headers: &HeaderMap) -> Result<(), Refused> {
        self.admission.screen(headers)
    }

    /// Which pages may have one of this server's in a frame.
    pub(super) fn frame_ancestors(&self) -> Option<&HeaderValue> {
        self.admission.frame_ancestors()
    }

    /// Whether there is room for a new client. One for whom there is not is counted as refused.
    pub(super) fn has_room(&self) -> bool {
        let has_room = !self.services.memory.is_exceeded();
        if !has_room {
            self.refused();
        }
        has_room
    }

    fn refused(&self) {
        let refused = &self.services.gauges.refused_connections;
        refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Runs `future` as a task of the server.
    pub(super) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.services.tasks.spawn(future);
    }

    fn connection(
        &self,
        socket: TcpStream,
        peer: SocketAddr,
        routes: BoxedFilter<(Response,)>,
        closing: CancellationToken,
    ) {
        if let Err(error) = self.sockets.apply(&socket) {
            return tracing::debug!(%error, "A socket was gone before it was set up.");
        }
        #[cfg(feature = "tls")]
        if let Some(handshake) = self.handshake.clone() {
            let front = self.clone();
            return self.spawn(async move {
                let done = tokio::select! {
                    done = handshake.with(socket) => done,
                    () = closing.cancelled() => return,
                };
                match done {
                    Ok(socket) => front.serve(socket, peer, routes, closing).await,
                    Err(error) => front.handshake_failed(peer, &error),
                }
            });
        }
        let front = self.clone();
        self.spawn(async move { front.serve(socket, peer, routes, closing).await });
    }

    #[cfg(feature = "tls")]
    fn handshake_failed(&self, peer: SocketAddr, error: &std::io::Error) {
        let failed = &self.services.gauges.failed_handshakes;
        failed.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(%peer, %error, "A TLS handshake came to nothing.");
    }

    /// Speaks HTTP until the connection ends, or is a WebSocket.
    async fn serve<S>(
        &self,
        socket: S,
        peer: SocketAddr,
        routes: BoxedFilter<(Response,)>,
        closing: CancellationToken,
    ) where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let service = TowerToHyperService::new(warp::service(routes));
        let service = hyper::service::service_fn(move |mut request: hyper::Request<_>| {
            request.extensions_mut().insert(PeerAddr(peer));
            let is_sockjs = self.sites.find(request.uri().path()).is_some();
            let looked_at = self.admission.look_at(&request, peer, is_sockjs);
            let answer = looked_at.map(|watch| {
                let answer = hyper::service::Service::call(&service, request);
                (watch, answer)
            });
            async move {
                match answer {
                    Err(refused) => Ok(refused.answer()),
                    Ok((watch, answer)) => {
                        let answer: Result<Response, Infallible> = answer.await;
                        answer.inspect(|answer| watch.answered(answer.status()))
                    }
                }
            }
        });
        let mut server = auto::Builder::new(TokioExecutor::new()).http1_only();
        server
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADERS_WITHIN)
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_HEAD);
        let connection = server.serve_connection_with_upgrades(TokioIo::new(socket), service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = closing.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(error, "A connection ended with an error.");
        }
    }
}

impl SocketOptions {
    fn apply(&self, socket: &TcpStream) -> std::io::Result<()> {
        // Each message is one write already, so waiting for more can only hurt.
        socket.set_nodelay(true)?;
        let socket = SockRef::from(socket);
        if let Err(error) = socket.set_send_buffer_size(self.send_buffer) {
            tracing::debug!(%error, "The send buffer of a socket could not be set.");
        }
        #[cfg(target_os = "linux")]
        if !self.user_timeout.is_zero() {
            socket.set_tcp_user_timeout(Some(self.user_timeout))?;
        }
        Ok(())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn row_031_the_kernel_gives_up_a_machine_that_is_gone() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (_client, (socket, _)) = (client.unwrap(), accepted.unwrap());
        let options = SocketOptions {
            send_buffer: 32 * 1024,
            user_timeout: Duration::from_secs(7),
        };
        options.apply(&socket).unwrap();
        assert!(socket.nodelay().unwrap());
        let socket = SockRef::from(&socket);
        let timeout = socket.tcp_user_timeout().unwrap();
        assert_eq!(timeout, Some(Duration::from_secs(7)));
        // Linux doubles what it is asked for, to have room for its own.
        assert_eq!(socket.send_buffer_size().unwrap(), 64 * 1024);
    }
}
