//! Settings of HTTP that is passed to a Meteor app.

use std::time::Duration;

/// Requests that are passed to the Meteor app behind this server, if
/// [they are](crate::Meteor::http).
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct PassedHttpSettings {
    /// How long a request may make no progress: 60 s by default; zero means no limit. Then it is
    /// answered with 504 or, if its answer has begun, its connection is broken off.
    pub progress_timeout: Duration,
    /// Bytes of the headers together with the first line, of a request and of its answer: 32 KiB by
    /// default. A longer request is answered with 431, a longer answer becomes 502. What this
    /// server answers itself may have
    /// [`HttpSettings::header_bytes`](crate::config::HttpSettings::header_bytes).
    pub header_bytes: usize,
    /// Connections to each Meteor server that are kept for the next request: 32 by default.
    pub idle_connections: usize,
    /// How long a connection is kept: 4 s by default. Node.js closes its end after 5 s.
    pub idle_timeout: Duration,
}

impl Default for PassedHttpSettings {
    fn default() -> Self {
        Self {
            progress_timeout: Duration::from_secs(60),
            header_bytes: 32 * 1024,
            idle_connections: 32,
            idle_timeout: Duration::from_secs(4),
        }
    }
}
