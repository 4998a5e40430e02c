//! Settings of the channels of a process.

use std::time::Duration;

use crate::PayloadLimits;

/// How the channels of a process behave, over any bus.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ChannelSettings {
    /// Limits on a payload. A larger or deeper one is dropped on receipt and counted, and cannot be
    /// emitted.
    pub payload: PayloadLimits,
    /// What a subscription does when it needs a channel while the bus is away: it waits for 30 s by
    /// default.
    pub when_away: WhenAway,
    /// How many channels have their own counts of failures: 100 by default. All others share one
    /// entry.
    pub failing_channels: usize,
    /// Messages that may wait for one [`Listener`](crate::Listener): 1,024 by default. One more
    /// causes a gap.
    pub queued_messages: usize,
    /// Bytes of these messages: 4 MiB by default. More cause a gap; a single message may wait
    /// whatever its size.
    pub queued_bytes: usize,
}

/// What a subscription does when it needs a channel and the bus cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenAway {
    /// Waits for the bus, at most this long, then fails with 503 `bus-unavailable`.
    Hold(Duration),
    /// Fails at once.
    Refuse,
}

/// How long a confirmation is awaited if no other time is set.
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
