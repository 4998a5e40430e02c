//! What the parts of a shard's loop read: what it was given at the start, the time, and its phase.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::clock;
use crate::shard::inbox::Inbox;
use crate::shard::{ClientLimits, Shared};

pub(super) struct ShardContext {
    /// The shard's own.
    pub(super) inbox: Arc<Inbox>,
    pub(super) shared: Arc<Shared>,
    pub(super) limits: ClientLimits,
    pub(super) phase: Phase,
    started: Instant,
    /// The time of this turn, since the start.
    pub(super) now: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Serving,
    /// Nobody new is let in, and who is lost does not come back.
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

    /// The time at this moment, since the start.
    pub(super) fn elapsed(&self) -> Duration {
        clock::now().duration_since(self.started)
    }

    /// The time of this turn, for what is not of the shard.
    pub(super) fn instant(&self) -> Instant {
        self.started + self.now
    }

    pub(super) fn is_serving(&self) -> bool {
        self.phase == Phase::Serving
    }
}
