//! Over which time a server that shuts down closes its clients.

use std::time::Duration;

/// With so many clients or more, closes take all of the time over which they may be spread.
const MANY: u32 = 100;

/// Over how long so many clients are closed: `most` if there are many, fewer take a part of it. The
/// last client is closed `close_timeout` before the deadline, so that it has time to answer, but
/// not before half of the time is over.
pub(super) fn spread(
    most: Duration,
    clients: usize,
    deadline: Duration,
    close_timeout: Duration,
) -> Duration {
    let clients = u32::try_from(clients).unwrap_or(u32::MAX).min(MANY);
    let latest = deadline.saturating_sub(close_timeout).max(deadline / 2);
    most.min(latest).saturating_mul(clients) / MANY
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const MOST: Duration = Duration::from_secs(10);
    const TO_ANSWER: Duration = Duration::from_secs(5);

    fn millis(clients: usize, deadline: Duration) -> u128 {
        spread(MOST, clients, deadline, TO_ANSWER).as_millis()
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
        assert!(spread(Duration::MAX, 1000, Duration::MAX, TO_ANSWER) > HOUR);
    }
}
