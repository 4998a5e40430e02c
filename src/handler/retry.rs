//! Attempts until a time is over, with growing pauses in between.

use std::time::{Duration, Instant};

use crate::base::clock;

/// The first pause, and the longest.
const SHORTEST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(1);

/// Pauses between attempts. They are partly random, so that tasks which wait for the same thing do
/// not try all at once.
#[derive(Debug)]
pub(crate) struct Retry {
    until: Instant,
    pause: Duration,
}

impl Retry {
    /// Allows attempts for this time from now on.
    pub(crate) fn within(patience: Duration) -> Self {
        const FAR: Duration = Duration::from_secs(365 * 24 * 3600);
        let now = clock::now();
        Self {
            until: now.checked_add(patience.min(FAR)).unwrap_or(now),
            pause: SHORTEST,
        }
    }

    /// When the time is over.
    pub(crate) fn until(&self) -> Instant {
        self.until
    }

    /// Waits for the next attempt. False when the time is over and there is to be none.
    pub(crate) async fn again(&mut self) -> bool {
        let left = self.until.saturating_duration_since(clock::now());
        if left.is_zero() {
            return false;
        }
        let pause = self.pause.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.pause = self.pause.saturating_mul(2).min(LONGEST);
        tokio::time::sleep(pause.min(left)).await;
        true
    }
}
