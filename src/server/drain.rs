//! How long a server takes to end: over which time its clients are sent away, and when whatever is
//! left is given up.

use std::time::Duration;

/// So many clients take all of the time over which closes may be spread, fewer a part of it.
const MANY: u32 = 100;

/// What the program says about the end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drain {
    /// Over how long closes are spread where there are many clients.
    pub(super) spread: Duration,
    /// How long all of it may take, where no deadline is given.
    pub(super) within: Duration,
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            spread: Duration::from_secs(10),
            within: Duration::from_secs(25),
        }
    }
}

impl Drain {
    /// Over how long so many clients are closed. The last one has time to answer, which is
    /// `linger`, before the deadline; or half of the time there is, if that is longer.
    pub(super) fn spread(&self, clients: usize, deadline: Duration, linger: Duration) -> Duration {
        let clients = u32::try_from(clients).unwrap_or(u32::MAX).min(MANY);
        let latest = deadline.saturating_sub(linger).max(deadline / 2);
        self.spread.min(latest).saturating_mul(clients) / MANY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const LINGER: Duration = Duration::from_secs(5);

    fn millis(clients: usize, deadline: Duration) -> u128 {
        let spread = Drain::default().spread(clients, deadline, LINGER);
        spread.as_millis()
    }

    #[test]
    fn found_110_few_clients_are_closed_at_once_and_many_over_the_whole_time() {
        assert_eq!(millis(0, HOUR), 0);
        assert_eq!(millis(1, HOUR), 100);
        assert_eq!(millis(30, HOUR), 3_000);
        assert_eq!(millis(100, HOUR), 10_000);
        assert_eq!(millis(usize::MAX, HOUR), 10_000);
    }

    #[test]
    fn found_110_the_last_client_has_time_to_answer() {
        let seconds = Duration::from_secs;
        assert_eq!(millis(1000, seconds(25)), 10_000);
        assert_eq!(millis(1000, seconds(12)), 7_000);
        assert_eq!(millis(1000, seconds(8)), 4_000, "at least half");
        assert_eq!(millis(1000, Duration::ZERO), 0);
        let longest = Drain {
            spread: Duration::MAX,
            within: Duration::MAX,
        };
        assert!(longest.spread(1000, Duration::MAX, LINGER) > HOUR);
    }
}
