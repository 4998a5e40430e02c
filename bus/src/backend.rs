//! What carries messages between emitters and listeners: this process, or Redis.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::EmitError;
use crate::registry::ChannelRegistry;

/// What carries [`Channels`](crate::Channels): this process by default, else the value that this
/// was made from, such as a `Redis`.
#[derive(Debug, Clone)]
pub struct Bus(Arc<dyn Backend>);

/// The [`ChannelRegistry`] says which channels are wanted. The backend brings its own state in line
/// with that, answers each wait there, and passes received messages to
/// [`ChannelRegistry::deliver`].
pub(crate) trait Backend: fmt::Debug + Send + Sync + 'static {
    /// Whether a channel is live as soon as it is wanted, without a request or a wait.
    fn is_immediate(&self) -> bool;

    /// Starts listening. Called once, in a runtime; what this starts is counted in `tasks` and ends
    /// when `closed` is cancelled.
    ///
    /// # Errors
    ///
    /// The operating system's error when a thread cannot be started.
    fn start(
        &self,
        registry: &Arc<ChannelRegistry>,
        tasks: &TaskTracker,
        closed: &CancellationToken,
    ) -> io::Result<()>;

    /// Publishes a text that has been checked to be one JSON value.
    fn publish<'a>(
        &'a self,
        registry: &'a ChannelRegistry,
        channel: &'a str,
        payload: Bytes,
    ) -> Publishing<'a>;
}

/// The future of [`Backend::publish`]. It is boxed so that the trait can be used as an object.
pub(crate) type Publishing<'a> = Pin<Box<dyn Future<Output = Result<(), EmitError>> + Send + 'a>>;

impl Bus {
    pub(crate) fn new(backend: impl Backend) -> Self {
        Self(Arc::new(backend))
    }

    pub(crate) fn backend(&self) -> &dyn Backend {
        &*self.0
    }
}
