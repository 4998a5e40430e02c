//! Times of handlers.

use std::time::Duration;

/// How long handlers, and logins, may take before something is done about it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct HandlerSettings {
    /// How long a subscription that waits for the bus may block its client's next messages: 250 ms
    /// by default. After that it waits in the background, as if its handler had called `unblock`.
    pub bus_patience: Duration,
    /// How long a method may run before it counts among
    /// [`Stats::slow_methods`](crate::Stats::slow_methods): 30 s by default. Nothing ends it.
    pub slow_method: Duration,
    /// How long a login by resume token may wait for an answer that is about the token: 10 s by
    /// default. It waits while the store of users fails or does not answer, and while too many
    /// logins from its client's address [have failed](crate::RateLimit::failed_methods). Then the
    /// connection is closed with 1013 `Try again later`, which
    /// [`Stats::postponed_logins`](crate::Stats::postponed_logins) counts. Real clients come again
    /// after that, while they forget their token after any error.
    pub login_patience: Duration,
}

impl Default for HandlerSettings {
    fn default() -> Self {
        Self {
            bus_patience: Duration::from_millis(250),
            slow_method: Duration::from_secs(30),
            login_patience: Duration::from_secs(10),
        }
    }
}
