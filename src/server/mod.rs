//! The server: what is registered becomes a listener, shards and a bus, and is served until it is told to stop.

mod accept;
mod address;
mod admission;
mod builder;
mod handle;
mod health;
mod http;
mod origin;
mod sockjs;
#[cfg(feature = "tls")]
mod tls;
mod unread;

pub use builder::Builder;
pub use handle::Handle;
pub use health::HealthChecks;
#[cfg(feature = "tls")]
pub use tls::Tls;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use crate::error::Result;
use accept::Front;

/// Where a server begins: [`Server::builder`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Server {}

impl Server {
    /// A server with nothing registered yet.
    pub fn builder() -> Builder {
        Builder::default()
    }
}

/// A server that has its address, and serves when [`serve`](Self::serve) is awaited.
///
/// Dropping it, or the future of `serve`, shuts it down at once.
pub struct Bound {
    listener: TcpListener,
    local_addr: SocketAddr,
    routes: Option<BoxedFilter<(Response,)>>,
    front: Arc<Front>,
    handle: Handle,
    stop: StopOnDrop,
}

impl Bound {
    /// The address in use; with port 0 the one that was chosen.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// What the rest of the program reaches the server by.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Serves until [`Handle::shutdown`].
    ///
    /// # Errors
    ///
    /// None so far that arise while serving; what fails for one client is logged.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, the server stops: connections are dropped, methods that have begun run to their end.
    pub async fn serve(self) -> Result<()> {
        let Self {
            listener,
            routes,
            front,
            handle,
            stop,
            ..
        } = self;
        front.run(listener, routes).await;
        handle.finished().await;
        drop(stop);
        Ok(())
    }
}

/// Ends the shards and the bus, however serving ends.
struct StopOnDrop(Handle);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl fmt::Debug for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bound")
            .field("local_addr", &self.local_addr)
            .finish_non_exhaustive()
    }
}

/// Told when the server is to stop, and when it has.
#[derive(Clone, Debug, Default)]
struct Phases {
    /// No more connections are taken, those that are there are closed.
    closing: CancellationToken,
    /// Everything has ended, or was given up.
    finished: CancellationToken,
}
