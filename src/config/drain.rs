//! How a server that is told to end sends its clients away.

use std::time::Duration;

/// How a server ends: by which signals, and how long it takes.
///
/// What supervises the process must wait as long as [`within`](Self::within) before it kills.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct DrainSettings {
    /// Whether [`BoundServer::serve`](crate::BoundServer::serve) hears the signals by which a process is told
    /// to end: yes by default. If not, they do what they do by default, which is to end the process
    /// at once, or what the program has them do.
    pub signals: bool,
    /// Over how long closes are spread, so that clients do not all come back at the same moment:
    /// 10 s by default. Fewer than a hundred clients take as many hundredths of it. It ends early
    /// enough for the last clients to answer before [`within`](Self::within) is over.
    pub spread: Duration,
    /// How long all of it may take, with the methods that have begun: 25 s by default.
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
