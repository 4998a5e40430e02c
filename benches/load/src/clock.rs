//! The clock of the stamps. Publisher and subscribers are threads of one process, so they share its
//! start.

use std::time::{Duration, Instant};

/// When the run began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since the run began.
    pub(crate) fn now(self) -> Duration {
        self.0.elapsed()
    }
}
