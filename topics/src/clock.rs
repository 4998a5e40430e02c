//! The time of day, and where a store has it from.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

/// The clock of a store: milliseconds since 1970.
#[derive(Clone)]
pub(crate) struct StoreClock(Arc<dyn Fn() -> u64 + Send + Sync>);

impl StoreClock {
    pub(crate) fn new(now: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    pub(crate) fn now(&self) -> u64 {
        (self.0)()
    }
}

impl Default for StoreClock {
    fn default() -> Self {
        Self::new(now)
    }
}

impl fmt::Debug for StoreClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreClock")
    }
}

/// Milliseconds since 1970.
pub(crate) fn now() -> u64 {
    millis(UNIX_EPOCH.elapsed().unwrap_or_default())
}

pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
