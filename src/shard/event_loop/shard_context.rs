//! State that all parts of a shard's loop read: limits, what the shards share, the time, and the
//! phase.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::clock;
use crate::shard::inbox::Inbox;
use crate::shard::{ClientLimits, Shared};

pub(super) struct ShardContext {
    /// The inbox of this shard.
    pub(super) inbox: Arc<Inbox>,
    pub(super) shared: Arc<Shared>,
    pub(super) limits: ClientLimits,
    pub(super) phase: Phase,
    started: Instant,
    /// The time of this turn, since the start of the shard.
    pub(super) now: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Serving,
    /// Nobody new is admitted, and lost clients cannot come back.
    ShuttingDown,
    Stopped,
}

impl ShardContext {
    pub(super) fn new(inbox: Arc<Inbox>, shared: Arc<Shared>, limits: ClientLimits) -> Self {
        Self {
            inbox,
            shared,
            limits,
            phase: Phase::Serving,
            started: clock::now(),
            now: Duration::ZERO,
        }
    }

    /// A turn begins.
    pub(super) fn tick(&mut self) {
        self.now = self.elapsed();
    }

    /// The current time, since the start of the shard.
    pub(super) fn elapsed(&self) -> Duration {
        clock::now().duration_since(self.started)
    }

    /// The time of this turn, for code outside the shard.
    pub(super) fn instant(&self) -> Instant {
        self.started + self.now
    }

    pub(super) fn is_serving(&self) -> bool {
        self.phase == Phase::Serving
    }
}
