//! The one place where time is read: sessions and everything in them are handed it.

use std::time::Instant;

/// The time, which never goes back.
#[expect(
    clippy::disallowed_methods,
    reason = "the edge: everything inside is handed the time"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
