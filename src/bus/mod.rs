//! Ephemeral channels between processes: who emits does not know who listens, and nothing is stored.
//! One [`Channels`] per process counts who wants which channel; a [`Bus`] carries the messages, inside this process or
//! through Redis.

mod channel;
mod channels;
mod emitter;
mod error;
mod failures;
mod fault;
mod local;
mod message;
mod redis;
mod registry;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_redis;
#[cfg(test)]
mod tests_support;

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::channel::{Channel, IntoChannel, IntoChannels, InvalidChannel};
pub use self::channels::WhenAway;
pub use self::emitter::Emitter;
pub use self::error::{BusError, Cause, EmitError};
pub use self::failures::ChannelFailures;
pub use self::fault::{BusFault, BusFaults};
pub use self::message::{Message, ParseError};
pub use self::redis::{EmitQueue, Redis};

pub(crate) use self::channel::InternalChannel;
pub(crate) use self::channels::{Channels, Settings};
pub(crate) use self::local::Local;
pub(crate) use self::message::{Batch, PayloadError, PayloadLimits};
pub(crate) use self::registry::{Lease, Registry};

/// Where a shard takes in what the bus brings.
///
/// The calls come from the bus's reader, which serves everybody: they must neither wait nor panic.
pub(crate) trait Port: Send + Sync + 'static {
    /// All messages of one read, given once to each shard that follows at least one of their channels; the batch may
    /// hold messages of channels that this shard does not follow.
    fn deliver(&self, batch: &Batch);

    /// Continuity was lost and has been restored: messages of these channels may be missing. None that came after the hole
    /// has been delivered yet.
    fn gap(&self, gap: Gap);

    /// The bus no longer carries this channel, which it may have carried before: whoever follows it hears nothing more.
    fn refused(&self, channel: &Arc<str>, error: &BusError);
}

/// A hole in what a shard was delivered.
#[derive(Debug, Clone)]
pub(crate) struct Gap {
    /// The number of the connection that carries the channels from here on. It grows by one with each reconnect.
    pub(crate) generation: u64,
    /// The channels this shard follows that were live before; each is confirmed again by now.
    pub(crate) channels: Arc<[Arc<str>]>,
}

/// What carries messages between those who emit and those who listen.
///
/// Which channels are wanted stands in the [`Registry`]. The bus makes its own state agree with that, answers each wait
/// there, and hands what it receives to [`Registry::deliver`].
pub(crate) trait Bus: fmt::Debug + Send + Sync + 'static {
    /// Whether a channel is live as soon as it is wanted, so that nobody has to be asked or awaited.
    fn is_immediate(&self) -> bool;

    /// Starts listening. Called once, in a runtime; what is started is counted in `tasks` and ends when `closed` is
    /// cancelled.
    ///
    /// # Errors
    ///
    /// What the operating system says to a new thread.
    fn start(
        &self,
        registry: &Arc<Registry>,
        tasks: &TaskTracker,
        closed: &CancellationToken,
    ) -> io::Result<()>;

    /// Publishes a text that is known to be one JSON value.
    fn publish<'a>(
        &'a self,
        registry: &'a Registry,
        channel: &'a str,
        payload: Bytes,
    ) -> Publishing<'a>;
}

/// The future of [`Bus::publish`], which is boxed so that the trait can be used as an object.
pub(crate) type Publishing<'a> = Pin<Box<dyn Future<Output = Result<(), EmitError>> + Send + 'a>>;
