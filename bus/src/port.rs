//! How a server with threads of its own takes in what the bus brings, without a queue in between.
//! A shard is one of several that share the work; it has a number, and a port.

use std::sync::Arc;

use crate::{BusError, Message};

/// All messages of one read of the bus, in the order in which they came; never empty.
pub type Batch = Arc<[Arc<Message>]>;

/// Where a shard takes in what the bus brings.
///
/// The calls come from the bus's reader, which serves everybody: they must neither wait nor panic.
pub trait Port: Send + Sync + 'static {
    /// All messages of one read, given once to each shard that follows at least one of their
    /// channels; the batch may hold messages of channels that this shard does not follow.
    fn deliver(&self, batch: &Batch);

    /// Continuity was lost and has been restored: messages of these channels may be missing. None
    /// that came after the hole has been delivered yet.
    fn gap(&self, gap: Gap);

    /// The bus no longer carries this channel, which it may have carried before: whoever follows it
    /// hears nothing more.
    fn refused(&self, channel: &Arc<str>, error: &BusError);
}

/// A hole in what a shard was delivered.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Gap {
    /// The number of the connection that carries the channels from here on. It grows by one with
    /// each reconnect.
    pub generation: u64,
    /// The channels this shard follows that were live before; each is confirmed again by now.
    pub channels: Arc<[Arc<str>]>,
}

impl Gap {
    /// A gap in these channels, which the connection of this number carries from here on.
    pub fn new(generation: u64, channels: impl Into<Arc<[Arc<str>]>>) -> Self {
        let channels = channels.into();
        Self {
            generation,
            channels,
        }
    }
}
