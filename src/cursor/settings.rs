//! The settings of cursors.

use std::time::Duration;

/// How long a call to a store may take.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);

/// Settings of cursors: the places in topics that the server keeps for clients. See
/// [`Follow::cursor`](crate::Follow::cursor).
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CursorSettings {
    /// After so many bytes of records that a client has not confirmed, it is pinged: 64 KiB by
    /// default. So it is after a quarter of the
    /// [records](crate::config::ClientLimits::followed_records) that may wait for it.
    pub confirm_bytes: usize,
    /// How long a record may be unconfirmed before the client is pinged: 1 s by default.
    pub confirm_after: Duration,
    /// How often moves are written to the store: each second by default, all that have moved
    /// together. When a subscription ends, its cursor is written at once.
    pub write_interval: Duration,
    /// For how long a cursor is kept when its subscription has ended: 10 min by default. A client
    /// that comes back later begins where the handler says.
    pub expires: Duration,
}

impl Default for CursorSettings {
    fn default() -> Self {
        Self {
            confirm_bytes: 64 * 1024,
            confirm_after: Duration::from_secs(1),
            write_interval: Duration::from_secs(1),
            expires: Duration::from_secs(600),
        }
    }
}
