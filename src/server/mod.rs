//! The server: makes a listener, shards and a bus of what is registered, and serves until it is
//! told to stop.

mod accept;
mod address;
mod admission;
mod answer;
mod builder;
mod drain;
mod front;
mod handle;
mod health;
mod http;
mod incoming;
mod listening;
mod origin;
mod proxy_protocol;
mod routes;
mod signals;
mod sites;
mod sockjs;
#[cfg(feature = "tls")]
mod tls;
mod unread;
mod upgrade;

pub use builder::Builder;
pub use handle::Handle;
pub use health::HealthChecks;
pub use listening::ListenerGuard;
#[cfg(feature = "tls")]
pub use tls::Tls;
pub use unread::RequestBody;

use std::fmt;
use std::future::pending;
use std::net::SocketAddr;
use std::pin::pin;

use tokio::net::TcpListener;

use crate::base::error::Result;
use accept::Acceptor;
use builder::MemoryLimit;
use signals::{ProcessSignal, Signals};

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

/// A server that is bound to its address, and serves when [`serve`](Self::serve) is awaited.
///
/// Dropping it, or the future of `serve`, shuts it down at once.
pub struct BoundServer {
    listener: TcpListener,
    local_addr: SocketAddr,
    is_encrypted: bool,
    memory_limit: MemoryLimit,
    acceptor: Acceptor,
    handle: Handle,
    /// Whether `serve` listens to signals.
    hears_signals: bool,
    #[cfg(feature = "tls")]
    tls: Option<Tls>,
    stop: StopOnDrop,
}

impl BoundServer {
    /// The address in use; with port 0 it has the port that was chosen.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The handle by which the rest of the program reaches the server.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Serves until the process is told to end, by SIGTERM or Ctrl-C, or the program calls
    /// [`Handle::shutdown`].
    ///
    /// At the first signal the server shuts down as
    /// [`DrainSettings`](crate::config::DrainSettings) says, and this resolves. At the second the
    /// process exits at once, with the status that a shell reports of that signal (143 for
    /// SIGTERM). SIGHUP has the files of the [certificate](Builder::tls) read again, if there is
    /// one, and does nothing else.
    ///
    /// A program that handles signals itself uses [`serve_until`](Self::serve_until) or
    /// [`DrainSettings::signals`](crate::config::DrainSettings::signals).
    ///
    /// # Errors
    ///
    /// The process cannot listen to signals. Serving itself fails with no error so far: the failure
    /// of one client is logged.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, the server stops: connections are dropped, and methods that have
    /// begun run to their end.
    pub async fn serve(self) -> Result<()> {
        if !self.hears_signals {
            return self.serve_until(pending()).await;
        }
        let mut signals = Signals::new()?;
        let handle = self.handle();
        #[cfg(feature = "tls")]
        let tls = self.tls.clone();
        let mut serving = pin!(self.run());
        let mut is_ending = false;
        loop {
            let signal = tokio::select! {
                () = &mut serving => return Ok(()),
                signal = signals.next() => signal,
            };
            match signal {
                ProcessSignal::End { .. } if !is_ending => {
                    is_ending = true;
                    tracing::info!("The process is told to end; the server shuts down.");
                    handle.begin_drain();
                }
                ProcessSignal::End { status } => {
                    tracing::warn!("The process is told again to end; it does not wait.");
                    std::process::exit(status);
                }
                ProcessSignal::Reload =>
                {
                    #[cfg(feature = "tls")]
                    if let Some(tls) = tls.clone() {
                        handle.reload(tls);
                    }
                }
            }
        }
    }

    /// Serves until `end` resolves, then shuts down as
    /// [`DrainSettings`](crate::config::DrainSettings) says; or until [`Handle::shutdown`]. It does
    /// not listen to signals.
    ///
    /// ```no_run
    /// # use updraft::prelude::*;
    /// # async fn told_by_the_parent_process() {}
    /// # async fn run() -> Result<()> {
    /// let bound = Server::builder().bind("127.0.0.1:3000").await?;
    /// bound.serve_until(told_by_the_parent_process()).await
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// None so far: the failure of one client is logged.
    ///
    /// # Cancel safety
    ///
    /// As [`serve`](Self::serve).
    pub async fn serve_until(self, end: impl Future<Output = ()>) -> Result<()> {
        let handle = self.handle();
        let mut serving = pin!(self.run());
        tokio::select! {
            () = &mut serving => return Ok(()),
            () = end => handle.begin_drain(),
        }
        serving.await;
        Ok(())
    }

    /// Serves until the server has shut down.
    async fn run(self) {
        let scheme = if self.is_encrypted { "https://" } else { "" };
        tracing::info!(address = %format_args!("{scheme}{}", self.local_addr), "Listening.");
        self.memory_limit.log();
        let Self {
            listener,
            acceptor,
            handle,
            stop,
            ..
        } = self;
        acceptor.run(listener).await;
        handle.finished().await;
        drop(stop);
    }
}

/// Ends the shards and the bus when it is dropped, however serving ends.
struct StopOnDrop(Handle);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl fmt::Debug for BoundServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundServer")
            .field("local_addr", &self.local_addr)
            .finish_non_exhaustive()
    }
}
