//! Which proxies stand between clients and the server.

/// Whose word about a [client's address](crate::Connection::client_address) counts.
///
/// The proxies' `X-Forwarded-Host` counts as the host by which the server was asked, and a loopback
/// address is no longer for this machine alone: see
/// [`OriginSettings`](crate::config::OriginSettings).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrustedProxies {
    /// So many proxies stand in a row before the server, whoever they are, each of which appends
    /// the address that it is asked from to `X-Forwarded-For`: none by default. It is Meteor's
    /// `HTTP_FORWARDED_COUNT`.
    ///
    /// The client's address is then the entry that many from the right; what a client writes there
    /// itself stands further left and is not looked at. Up to 3.2.1 Meteor did the same; later
    /// versions want exactly that many entries, so that any client may have no address. Too high a
    /// number lets clients choose their address, too low a one gives all of them that of a proxy.
    Hops(usize),
    /// All that are in these networks, such as `10.0.0.0/8`, or have these addresses, such as
    /// `192.0.2.1`. Where the socket's other end is one of them, the client's address is the last
    /// entry of `X-Forwarded-For` that is none; whoever else asks is the client itself, whatever it
    /// says.
    Networks(Vec<String>),
}

impl Default for TrustedProxies {
    fn default() -> Self {
        Self::Hops(0)
    }
}
