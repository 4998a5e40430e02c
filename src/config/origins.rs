//! Which pages may connect to the server.

/// Pages that may connect to the server, in addition to its own.
///
/// Pages of the server's own origin may always connect; the own origin is that of the request's
/// `Host`. A server that listens on a loopback address, without
/// [`trusted_proxies`](crate::Settings::trusted_proxies), also admits pages of this machine, on any
/// port. It does so only if the `Host` is `localhost`, `127.…`, `[::1]` or the host of an allowed
/// origin, because a foreign page can have a name of its own resolve to this address. Any other
/// request is answered with 403, before the WebSocket handshake or a SockJS session. That is
/// logged, and counted in [`Stats::refused_origins`](crate::Stats::refused_origins). SockJS's
/// iframe page is sent with a `Content-Security-Policy` with which browsers show it only inside
/// admitted pages.
///
/// This applies to DDP and SockJS. [Routes](crate::Builder::route) decide for themselves whom they
/// answer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OriginSettings {
    /// Origins whose pages are admitted: `https://app.example.com`, `https://app.example.com:8443`,
    /// `https://*.example.com` for all names below `example.com`, or `null` for pages without an
    /// origin. None by default.
    pub allowed: Vec<String>,
    /// Whether a request without an `Origin` is admitted: yes by default, because only browsers
    /// send one. A request that the browser marks as coming from the server's own page is always
    /// admitted. One that it marks as coming from another site, a script for example, is judged by
    /// its `Referer`.
    pub allow_missing: bool,
    /// Whether pages of any origin are admitted, whatever the `Host`: no by default. With it, any
    /// site can use the server through its visitors' browsers, from their networks. It is for
    /// public data, and for tests.
    pub allow_any: bool,
}

impl Default for OriginSettings {
    fn default() -> Self {
        Self {
            allowed: Vec::new(),
            allow_missing: true,
            allow_any: false,
        }
    }
}
