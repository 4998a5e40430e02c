//! Calls mapping functions. A failure or panic costs one event, and slow functions are logged.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crate::base::clock;
use crate::base::error::{Error, Result};
use crate::mapping::Event;
use crate::publication::Subscription;

/// A longer call delays every client of the shard noticeably.
const SLOW_CALL: Duration = Duration::from_millis(5);

/// Calls between two readings of the clock. A reading costs as much as a short function.
const CALLS_PER_READING: u32 = 16;

/// The calls for one message, timed together with the printing of their events.
#[derive(Default)]
pub(super) struct MappingCalls {
    /// The calls since the last reading of the clock.
    timed: Option<TimedCalls>,
}

struct TimedCalls {
    begun: Instant,
    /// That of the first call. The others are of the same publication.
    subscription: Subscription,
    calls: u32,
}

impl MappingCalls {
    /// Calls a mapping function. If it fails or panics, `failed` is told, and there is no event.
    pub(super) fn call(
        &mut self,
        map: impl FnOnce() -> Result<Event>,
        subscription: &Subscription,
        failed: impl FnOnce(&Subscription, &Error),
    ) -> Event {
        self.count(subscription);
        let outcome = catch_unwind(AssertUnwindSafe(map))
            .unwrap_or_else(|panic| Err(Error::panicked(&*panic)));
        outcome.unwrap_or_else(|error| {
            failed(subscription, &error);
            Event::none()
        })
    }

    fn count(&mut self, subscription: &Subscription) {
        if let Some(timed) = &mut self.timed
            && timed.calls < CALLS_PER_READING
            && timed.subscription.publication() == subscription.publication()
        {
            timed.calls += 1;
            return;
        }
        let now = clock::now();
        if let Some(timed) = &self.timed {
            timed.log_if_slow(now);
        }
        self.timed = Some(TimedCalls {
            begun: now,
            subscription: subscription.clone(),
            calls: 1,
        });
    }

    /// Reads the clock for the calls since the last reading, if there are any, and logs them if
    /// they were slow.
    pub(super) fn check_time(&mut self) {
        if let Some(timed) = self.timed.take() {
            timed.log_if_slow(clock::now());
        }
    }
}

impl TimedCalls {
    fn log_if_slow(&self, now: Instant) {
        let took = now.saturating_duration_since(self.begun);
        if took > SLOW_CALL {
            let (publication, calls) = (self.subscription.publication(), self.calls);
            tracing::warn!(publication, calls, ?took, "A mapping function is slow.");
        }
    }
}

impl Drop for MappingCalls {
    fn drop(&mut self) {
        self.check_time();
    }
}
