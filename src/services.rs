//! What every context reaches: the registry of handlers, the bus, the runtime that handlers run on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use updraft_protocol::ejson;
use updraft_protocol::message::WireError;
use updraft_protocol::session::SessionConfig;

use crate::connection::Connection;
use crate::error::{Error, Result};
use crate::handler::Patience;
use crate::limit::Limiter;
use crate::memory::Memory;
use crate::method::Method;
use crate::orders::Orders;
use crate::publication::Publication;
use crate::shard::Registry;
use crate::sockjs;
use crate::stats::Gauges;
use updraft_bus::{Channels, IntoChannel};

/// One per server, shared by its shards and by every context.
#[derive(Debug)]
pub(crate) struct Services {
    /// Names and limits, as sessions know them.
    pub(crate) session: Arc<SessionConfig>,
    /// Publications by the number that `session` gives them.
    pub(crate) publications: Vec<Publication>,
    /// Methods by the number that `session` gives them.
    pub(crate) methods: Vec<Method>,
    pub(crate) channels: Channels,
    pub(crate) orders: Orders,
    pub(crate) patience: Patience,
    pub(crate) limiter: Limiter,
    /// The runtime that awaits `serve()`.
    pub(crate) runtime: Handle,
    /// Cancelled as the server begins to end, before the first client is sent away: the server is
    /// not ready any more, and nobody new is let in.
    pub(crate) draining: CancellationToken,
    /// The threads of the shards, each of which ends with its last client.
    pub(crate) shards: TaskTracker,
    /// What begins and ends with clients: handlers, their tasks and callbacks, HTTP connections. Shutdown waits for them.
    pub(crate) tasks: TaskTracker,
    /// What lives as long as the server: the bus, and what watches certificates and users.
    pub(crate) background: TaskTracker,
    pub(crate) gauges: Gauges,
    pub(crate) memory: Arc<Memory>,
    /// Sessions that live on HTTP requests.
    pub(crate) polling: Arc<sockjs::Registry>,
    /// Sessions that their clients can come back to.
    pub(crate) resumable: Registry,
}

impl Services {
    pub(crate) async fn emit(
        &self,
        channel: impl IntoChannel,
        value: impl Serialize,
    ) -> Result<()> {
        let channel = channel.into_channel()?;
        let value = ejson::to_value(&value)?;
        self.channels
            .emit(&channel, &value)
            .await
            .map_err(Error::not_emitted)
    }

    /// Counts a request that a rule refuses; what its client is told.
    pub(crate) fn limited(&self, by: &Connection, wait: Duration, now: Instant) -> WireError {
        self.gauges.rate_limited.fetch_add(1, Ordering::Relaxed);
        if let Some(left_out) = self.limiter.log.left_out(now) {
            let (connection, address) = (by.log_id(), by.client_address());
            tracing::info!(%connection, ?address, left_out, "A client asks more often than a rule allows.");
        }
        Error::too_many_requests(wait).into_wire()
    }

    pub(crate) fn spawn<F>(&self, future: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.tasks.spawn_on(future, &self.runtime)
    }

    /// Runs what is to happen at an end, on the handlers' runtime; a panic costs one of them.
    pub(crate) fn call_back(&self, callbacks: Vec<Callback>) {
        if callbacks.is_empty() {
            return;
        }
        self.spawn(async move {
            for callback in callbacks {
                if catch_unwind(AssertUnwindSafe(callback)).is_err() {
                    tracing::error!("A callback at the end of a client panicked.");
                }
            }
        });
    }
}

/// Something to do at the end of a subscription or a connection.
pub(crate) type Callback = Box<dyn FnOnce() + Send>;
