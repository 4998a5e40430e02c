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
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::http;
use crate::shard::{Arrival, Shard};

/// A request's headers must be there after so long.
const HEADERS_WITHIN: Duration = Duration::from_secs(10);

/// Most headers of a request.
const MAX_HEADERS: usize = 64;

/// Most bytes of a request's head.
const MAX_HEAD: usize = 16 * 1024;

/// What the kernel may hold for a client: more would hide that it does not read.
const SEND_BUFFER: usize = 256 * 1024;

/// The pause after a failed `accept`, which is mostly for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// What stands between the listener and the shards.
#[derive(Clone, Debug)]
pub(super) struct Front {
    shards: Arc<[Shard]>,
    next: Arc<AtomicUsize>,
    tasks: TaskTracker,
}

/// The client's address, in the extensions of each request.
#[derive(Clone, Copy, Debug)]
pub(super) struct PeerAddr(pub(super) SocketAddr);

impl Front {
    pub(super) fn new(shards: Arc<[Shard]>, tasks: TaskTracker) -> Self {
        Self {
            shards,
            next: Arc::new(AtomicUsize::new(0)),
            tasks,
        }
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

    /// Gives a socket to the next shard.
    pub(super) fn hand_over(&self, arrival: Arrival) {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        if let Some(shard) = turn
            .checked_rem(self.shards.len())
            .and_then(|at| self.shards.get(at))
        {
            shard.arrive(arrival);
        }
    }

    /// Runs `future` as a task of the server.
    pub(super) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(future);
    }

    fn connection(
        &self,
        socket: TcpStream,
        peer: SocketAddr,
        routes: BoxedFilter<(Response,)>,
        closing: CancellationToken,
    ) {
        // Each message is one write already, so waiting for more can only hurt.
        if let Err(error) = socket.set_nodelay(true) {
            return tracing::debug!(%error, "A socket was gone before it was set up.");
        }
        if let Err(error) = SockRef::from(&socket).set_send_buffer_size(SEND_BUFFER) {
            tracing::debug!(%error, "The send buffer of a socket could not be set.");
        }
        self.spawn(async move {
            let service = TowerToHyperService::new(warp::service(routes));
            let service = hyper::service::service_fn(move |mut request: hyper::Request<_>| {
                request.extensions_mut().insert(PeerAddr(peer));
                let answer = hyper::service::Service::call(&service, request);
                async move { answer.await.map_err(|never: Infallible| match never {}) }
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
        });
    }
}
