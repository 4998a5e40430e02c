//! How long handlers may keep others waiting.

use std::time::Duration;

/// How long handlers may keep others waiting.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct HandlerSettings {
    /// How long one subscription that waits for the bus may keep its client's next messages
    /// waiting: 250 ms by default. After that it waits beside them, as if its handler had called
    /// `unblock`.
    pub bus_patience: Duration,
    /// From when on a running method counts among
    /// [`Stats::slow_methods`](crate::Stats::slow_methods): 30 s by default. Nothing ends it.
    pub slow_method: Duration,
    /// How long a login by resume token may wait for an answer that is about the token: 10 s by
    /// default. It waits while the store of users fails or does not answer, and while too many
    /// logins from its client's address [have failed](crate::RateLimit::failed_methods). Then the
    /// connection is closed with 1013 `Try again later`, which is counted in
    /// [`Stats::postponed_logins`](crate::Stats::postponed_logins): real clients come again after
    /// that, and take any error for a reason to forget their token.
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
