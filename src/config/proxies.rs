//! Which proxies stand between clients and the server.

/// Proxies whose information about a [client's address](crate::Connection::client_address) is used.
///
/// With trusted proxies their `X-Forwarded-Host` is used as the request's host, and a loopback
/// address no longer means that clients are on this machine: see
/// [`OriginSettings`](crate::config::OriginSettings).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrustedProxies {
    /// This many proxies stand in a row before the server, whatever their addresses: 0 by default.
    /// Each of them appends the address of its client to `X-Forwarded-For`. It is Meteor's
    /// `HTTP_FORWARDED_COUNT`.
    ///
    /// The client's address is the entry that many from the right. Entries that a client writes
    /// itself are further left and are ignored. Up to 3.2.1 Meteor did the same; later versions
    /// require exactly that many entries, so that any client can have no address. If the number is
    /// too high, clients can choose their address. If it is too low, all of them have that of a
    /// proxy.
    Hops(usize),
    /// All proxies in these networks, such as `10.0.0.0/8`, or with these addresses, such as
    /// `192.0.2.1`. If the socket's peer is one of them, the client's address is the last entry of
    /// `X-Forwarded-For` that is not. Any other peer is the client itself, whatever its headers
    /// say.
    Networks(Vec<String>),
}

impl Default for TrustedProxies {
    fn default() -> Self {
        Self::Hops(0)
    }
}
