//! What the channels of a process are told at the start.

use std::time::Duration;

use crate::PayloadLimits;

/// How the channels of a process behave, whatever carries them.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// What a payload may be: 1 MiB and 64 levels by default; what is larger or deeper is dropped
    /// on receipt and counted, and cannot be emitted.
    pub limits: PayloadLimits,
    /// What who needs a channel does while the bus is away.
    pub when_away: WhenAway,
    /// How many channels are told apart in the counts of failures; 100 by default.
    pub failing_channels: usize,
    /// How many messages may wait for one [`Listener`](crate::Listener); 1,024 by default.
    pub queued_messages: usize,
    /// How many bytes these may have; 4 MiB by default. One message may wait whatever its size.
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

impl Default for Settings {
    fn default() -> Self {
        Self {
            limits: PayloadLimits::default(),
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
