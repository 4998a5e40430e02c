//! How long to wait before the next attempt to connect. Each wait is up to twice the last one, up
//! to a limit, and partly random, so that processes that lost the same Redis do not reconnect at
//! the same moment.

use std::time::Duration;

#[derive(Debug)]
pub(super) struct Backoff {
    shortest: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    pub(super) fn new(shortest: Duration, longest: Duration) -> Self {
        Self {
            shortest,
            longest,
            next: shortest.min(longest),
        }
    }

    pub(super) fn reset(&mut self) {
        *self = Self::new(self.shortest, self.longest);
    }

    /// A random time between half of the current step and all of it; the step then doubles.
    pub(super) fn next(&mut self) -> Duration {
        let step = self.next;
        self.next = step.saturating_mul(2).min(self.longest);
        step.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_085_waits_grow_to_a_second_and_start_again() {
        const SHORTEST: Duration = Duration::from_millis(50);
        const LONGEST: Duration = Duration::from_secs(1);
        let mut backoff = Backoff::new(SHORTEST, LONGEST);
        let waits: Vec<Duration> = (0..10).map(|_| backoff.next()).collect();
        assert!(
            waits
                .iter()
                .all(|wait| (SHORTEST / 2..=LONGEST).contains(wait)),
            "{waits:?}"
        );
        assert!(
            waits.last().is_some_and(|wait| *wait >= LONGEST / 2),
            "{waits:?}"
        );
        backoff.reset();
        assert!(backoff.next() <= SHORTEST);
    }
}
