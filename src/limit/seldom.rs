//! A log line that anybody can cause is written once a second at most, and says how many it stands for.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const APART: Duration = Duration::from_secs(1);

/// When a line was last written, and how often it was not.
#[derive(Debug, Default)]
pub(crate) struct Seldom(Mutex<Written>);

#[derive(Debug, Default)]
struct Written {
    last: Option<Instant>,
    left_out: u64,
}

impl Seldom {
    /// Whether to write the line now; if so, how many were left out since the last.
    pub(crate) fn left_out(&self, now: Instant) -> Option<u64> {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = written.last;
        if last.is_some_and(|last| now.saturating_duration_since(last) < APART) {
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
    use crate::clock;

    #[test]
    fn row_021_a_line_is_written_once_a_second_and_counts_the_rest() {
        let (seldom, start) = (Seldom::default(), clock::now());
        assert_eq!(seldom.left_out(start), Some(0));
        assert_eq!(seldom.left_out(start), None);
        assert_eq!(seldom.left_out(start + APART / 2), None);
        assert_eq!(seldom.left_out(start + APART), Some(2));
        assert_eq!(seldom.left_out(start + 3 * APART), Some(0));
    }
}
