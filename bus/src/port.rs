//! How a server with its own threads receives from the bus, without a queue in between. A shard is
//! one of several threads that share the work; it has a number and a port.

use std::sync::Arc;

use crate::{BusError, Message};

/// All messages of one read of the bus, in the order in which they came; never empty.
pub type Batch = Arc<[Arc<Message>]>;

/// Receives messages and gaps for a shard.
///
/// The bus's reader makes these calls, and it serves all shards: they must neither wait nor panic.
pub trait Port: Send + Sync + 'static {
    /// All messages of one read, passed once to each shard that follows at least one of their
    /// channels. The batch may also hold messages of channels that this shard does not follow.
    fn deliver(&self, batch: &Batch);

    /// Continuity was lost and has been restored: messages of these channels may be missing. No
    /// message from after the gap has been delivered yet.
    fn gap(&self, gap: Gap);

    /// The bus no longer carries this channel, if it ever did: its followers get no more messages.
    fn refused(&self, channel: &Arc<str>, error: &BusError);
}

/// A gap in the messages that a shard was delivered.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Gap {
    /// The number of the connection that now carries the channels. It grows by one with each
    /// reconnect.
    pub generation: u64,
    /// The channels of this shard that were live before the gap; all are confirmed again.
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
