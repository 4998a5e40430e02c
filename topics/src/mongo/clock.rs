//! The clock of a store: that of MongoDB, as this process knows it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::millis;

/// How long an answer of MongoDB counts. Within this time two clocks drift apart by a few
/// milliseconds.
const FRESH: Duration = Duration::from_secs(60);

/// Where a store has its time from: milliseconds since 1970.
#[derive(Clone)]
pub(super) enum Clock {
    /// MongoDB's, when it was asked last, and the time of this process since.
    Server(Arc<Mutex<Sample>>),
    /// One that was handed in.
    Given(Arc<dyn Fn() -> u64 + Send + Sync>),
}

/// What MongoDB has said, and when.
#[derive(Clone, Copy)]
pub(super) struct Sample {
    time: u64,
    at: Instant,
}

impl Clock {
    /// MongoDB's clock, which is now at this time.
    pub(super) fn server(time: u64) -> Self {
        Self::Server(Arc::new(Mutex::new(Sample::new(time))))
    }

    pub(super) fn now(&self) -> u64 {
        match self {
            Self::Server(sample) => {
                let Sample { time, at } = *lock(sample);
                time.saturating_add(millis(at.elapsed()))
            }
            Self::Given(now) => now(),
        }
    }

    /// Whether MongoDB should be asked.
    pub(super) fn is_stale(&self) -> bool {
        match self {
            Self::Server(sample) => lock(sample).at.elapsed() > FRESH,
            Self::Given(_) => false,
        }
    }

    /// Notes what MongoDB has said.
    pub(super) fn set(&self, time: u64) {
        if let Self::Server(sample) = self {
            *lock(sample) = Sample::new(time);
        }
    }
}

impl Sample {
    fn new(time: u64) -> Self {
        Self {
            time,
            at: Instant::now(),
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

fn lock(sample: &Mutex<Sample>) -> MutexGuard<'_, Sample> {
    sample.lock().unwrap_or_else(PoisonError::into_inner)
}
