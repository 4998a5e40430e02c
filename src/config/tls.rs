//! TLS towards clients.

use std::time::Duration;

/// How long a client may take over TLS, and how its certificate is kept up to date.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct TlsSettings {
    /// How long a client may take over the TLS handshake: 5 s by default. Then it is closed, as at
    /// once when it speaks anything else; either is counted in
    /// [`Stats::failed_handshakes`](crate::Stats::failed_handshakes).
    pub handshake_timeout: Duration,
    /// How often the files of the certificate are looked at, which may have been replaced: every
    /// 10 s by default. With zero only [`Tls::reload`](crate::Tls::reload) reads them again.
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
