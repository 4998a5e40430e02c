//! The only place where the time is read: sessions and everything in them get it as a parameter.

use std::time::{Instant, SystemTime};

use updraft_protocol::ejson::Date;

/// The monotonic time.
#[expect(
    clippy::disallowed_methods,
    reason = "the edge: everything inside is handed the time"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The time of the wall clock, to compare expiry dates with.
pub(crate) fn date() -> Date {
    Date::from(SystemTime::now())
}
