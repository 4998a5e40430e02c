//! What every context uses: the bus, the runtime of the handlers, and the limits and gauges of
//! both.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use serde::Serialize;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;
use updraft_bus::{Channels, IntoChannel};
use updraft_protocol::ejson;

use super::{HandlerSettings, Mismatches};
use crate::base::error::{Error, Result};
use crate::base::memory::Memory;
use crate::cursor::Cursors;
use crate::feed::Feeds;
use crate::limit::Limiter;
use crate::telemetry::Gauges;

/// One per server, shared by its shards and by every context.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) channels: Channels,
    pub(crate) feeds: Feeds,
    pub(crate) cursors: Cursors,
    pub(crate) settings: HandlerSettings,
    pub(crate) limiter: Limiter,
    pub(crate) mismatches: Mismatches,
    /// The runtime that awaits `serve()`.
    pub(crate) runtime: Handle,
    /// Tasks that clients have caused: handlers, their tasks and callbacks, HTTP connections.
    /// Shutdown waits for them.
    pub(crate) tasks: TaskTracker,
    pub(crate) gauges: Arc<Gauges>,
    pub(crate) memory: Arc<Memory>,
}

impl Host {
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

    pub(crate) fn spawn<F>(&self, future: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.tasks.spawn_on(future, &self.runtime)
    }

    /// Runs callbacks on the handlers' runtime, one after the other. A panic costs one callback.
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

/// What a program wants to be called at the end of a subscription or a connection.
pub(crate) type Callback = Box<dyn FnOnce() + Send>;
