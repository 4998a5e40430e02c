//! Which pages may talk to the server.

/// Pages that may talk to the server, beside those of its own.
///
/// These may in any case: pages of the server's own origin, which is that of the `Host` they ask
/// for. A server that listens on a loopback address, without
/// [`trusted_proxies`](crate::Settings::trusted_proxies), also answers to pages of this machine, on
/// any port; but only if it was asked for as `localhost`, `127.…`, `[::1]` or the host of an
/// allowed origin, for a page may have a name of its own point here. Anything else is 403, before
/// the WebSocket handshake or a SockJS session; the log says so, and it is counted in
/// [`Stats::refused_origins`](crate::Stats::refused_origins). SockJS's page for frames is sent with
/// a `Content-Security-Policy` by which browsers show it within the same pages only.
///
/// This is about DDP and SockJS. [Routes](crate::Builder::route) answer whoever asks, as their
/// filters say.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OriginSettings {
    /// Origins whose pages may: `https://app.example.com`, `https://app.example.com:8443`,
    /// `https://*.example.com` for all names below `example.com`, or `null` for pages that have
    /// none. None by default.
    pub allowed: Vec<String>,
    /// Whether a request without an `Origin` is let in: yes by default, for only browsers send one.
    /// What a browser says is from the server's own page is let in in any case; and what it says is
    /// from another site, a script for example, goes by its `Referer`.
    pub allow_missing: bool,
    /// Whether pages of any origin may, whatever host they ask for: no by default. Then any site
    /// may use the server with its visitors' browsers, from their networks: for what is public
    /// anyway, and for tests.
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
