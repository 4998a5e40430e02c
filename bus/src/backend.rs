//! What carries messages between those who emit and those who listen: inside this process, or over
//! Redis.

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

/// What [`Channels`](crate::Channels) are carried by: this process by default, else what this was
/// made from, such as a `Redis`.
#[derive(Debug, Clone)]
pub struct Bus(Arc<dyn Backend>);

/// Which channels are wanted stands in the [`ChannelRegistry`]. The backend makes its own state agree with
/// that, answers each wait there, and hands what it receives to [`ChannelRegistry::deliver`].
pub(crate) trait Backend: fmt::Debug + Send + Sync + 'static {
    /// Whether a channel is live as soon as it is wanted, so that nobody has to be asked or
    /// awaited.
    fn is_immediate(&self) -> bool;

    /// Starts listening. Called once, in a runtime; what is started is counted in `tasks` and ends
    /// when `closed` is cancelled.
    ///
    /// # Errors
    ///
    /// What the operating system says to a new thread.
    fn start(
        &self,
        registry: &Arc<ChannelRegistry>,
        tasks: &TaskTracker,
        closed: &CancellationToken,
    ) -> io::Result<()>;

    /// Publishes a text that is known to be one JSON value.
    fn publish<'a>(
        &'a self,
        registry: &'a ChannelRegistry,
        channel: &'a str,
        payload: Bytes,
    ) -> Publishing<'a>;
}

/// The future of [`Backend::publish`], which is boxed so that the trait can be used as an object.
pub(crate) type Publishing<'a> = Pin<Box<dyn Future<Output = Result<(), EmitError>> + Send + 'a>>;

impl Bus {
    pub(crate) fn new(backend: impl Backend) -> Self {
        Self(Arc::new(backend))
    }

    pub(crate) fn backend(&self) -> &dyn Backend {
        &*self.0
    }
}
