//! Throttles a log line that clients can cause: it is written once in a while at most, and reports
//! how many were left out.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_secs(1);

/// When a line was last written, and how many were left out since.
#[derive(Debug)]
pub(crate) struct ThrottledLog {
    interval: Duration,
    written: Mutex<Written>,
}

#[derive(Debug, Default)]
struct Written {
    last: Option<Instant>,
    left_out: u64,
}

impl Default for ThrottledLog {
    /// At most once a second.
    fn default() -> Self {
        Self::each(INTERVAL)
    }
}

impl ThrottledLog {
    pub(crate) fn each(interval: Duration) -> Self {
        Self {
            interval,
            written: Mutex::default(),
        }
    }

    /// Whether to write the line now. If so, returns how many lines were left out since the last.
    pub(crate) fn left_out(&self, now: Instant) -> Option<u64> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let last = written.last;
        if last.is_some_and(|last| now.saturating_duration_since(last) < self.interval) {
            written.left_out = written.left_out.saturating_add(1);
            return None;
        }
        written.last = Some(now);
        Some(std::mem::take(&mut written.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;

    #[test]
    fn row_021_a_line_is_written_once_a_second_and_counts_the_rest() {
        let (throttled, start) = (ThrottledLog::default(), clock::now());
        assert_eq!(throttled.left_out(start), Some(0));
        assert_eq!(throttled.left_out(start), None);
        assert_eq!(throttled.left_out(start + INTERVAL / 2), None);
        assert_eq!(throttled.left_out(start + INTERVAL), Some(2));
        assert_eq!(throttled.left_out(start + 3 * INTERVAL), Some(0));
    }
}
