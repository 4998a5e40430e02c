//! TLS for clients.

use std::time::Duration;

/// How long a client may take for the TLS handshake, and how often its certificate is checked for
/// changes.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct TlsSettings {
    /// How long a client may take for the TLS handshake: 5 s by default. Then the connection is
    /// closed. A client that does not speak TLS is closed at once. Both are counted in
    /// [`Stats::failed_handshakes`](crate::Stats::failed_handshakes).
    pub handshake_timeout: Duration,
    /// How often the files of the certificate are checked, because they may have been replaced:
    /// every 10 s by default. With zero only [`Tls::reload`](crate::Tls::reload) reads them again.
    pub watch_interval: Duration,
}

impl Default for TlsSettings {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(5),
            watch_interval: Duration::from_secs(10),
        }
    }
}
