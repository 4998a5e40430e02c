//! How the server shuts down.

use std::time::Duration;

/// How a server ends: on which signals, and how long it takes.
///
/// A supervisor of the process must wait at least as long as [`within`](Self::within) before it
/// kills the process.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct DrainSettings {
    /// Whether [`BoundServer::serve`](crate::BoundServer::serve) handles the signals that ask a
    /// process to end: yes by default. If not, they have their default effect, which ends the
    /// process at once, or the effect that the program gives them.
    pub signals: bool,
    /// The time over which closes are spread, so that clients do not all come back at the same
    /// moment: 10 s by default. Fewer than a hundred clients take one hundredth of it.
    /// The closes end early enough for the last clients to answer before [`within`](Self::within)
    /// is over.
    pub spread: Duration,
    /// How long the whole shutdown may take, including methods that have started: 25 s by default.
    pub within: Duration,
}

impl Default for DrainSettings {
    fn default() -> Self {
        Self {
            signals: true,
            spread: Duration::from_secs(10),
            within: Duration::from_secs(25),
        }
    }
}
