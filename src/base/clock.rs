//! The one place where time is read: sessions and everything in them are handed it.

use std::time::{Instant, SystemTime};

use updraft_protocol::ejson::Date;

/// The time, which never goes back.
#[expect(
    clippy::disallowed_methods,
    reason = "the edge: everything inside is handed the time"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The wall clock's time, which expiry dates are compared with.
pub(crate) fn date() -> Date {
    Date::from(SystemTime::now())
}
