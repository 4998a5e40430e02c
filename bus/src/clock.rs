//! The one place where time is read.

use std::time::Instant;

/// The current time; it never goes back.
#[expect(
    clippy::disallowed_methods,
    reason = "the edge: everything inside is handed the time"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
