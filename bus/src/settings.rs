//! What the channels of a process are told at the start.

use std::time::Duration;

use crate::PayloadLimits;

/// How the channels of a process behave, whatever carries them.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ChannelSettings {
    /// What a payload may be. What is larger or deeper is dropped on receipt and counted, and
    /// cannot be emitted.
    pub payload: PayloadLimits,
    /// What who needs a channel does while the bus is away: waits 30 s for it by default.
    pub when_away: WhenAway,
    /// Channels that are told apart in the counts of failures: 100 by default. All others share one
    /// entry.
    pub failing_channels: usize,
    /// Messages that may wait for one [`Listener`](crate::Listener): 1,024 by default. One more is
    /// a gap.
    pub queued_messages: usize,
    /// Bytes that these may have: 4 MiB by default. More is a gap; one message may wait whatever
    /// its size.
    pub queued_bytes: usize,
}

/// What a subscription does that needs a channel while the bus cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenAway {
    /// Waits for the bus, at most so long, and then fails with 503 `bus-unavailable`.
    Hold(Duration),
    /// Fails at once.
    Refuse,
}

/// How long a confirmation is awaited, where no other time is set.
pub(crate) const CONFIRMATION: Duration = Duration::from_secs(30);

impl Default for ChannelSettings {
    fn default() -> Self {
        Self {
            payload: PayloadLimits::default(),
            when_away: WhenAway::default(),
            failing_channels: 100,
            queued_messages: 1024,
            queued_bytes: 4 * 1024 * 1024,
        }
    }
}

impl Default for WhenAway {
    fn default() -> Self {
        Self::Hold(CONFIRMATION)
    }
}
