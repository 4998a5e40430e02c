//! Which proxies stand between clients and the server, and where they say who the client is.

/// Whose word about a [client's address](crate::Connection::client_address) counts. Where that word
/// stands is for the [`AddressSource`] to say.
///
/// The proxies' `X-Forwarded-Host` counts as the host by which the server was asked, and a loopback
/// address is no longer for this machine alone: see [`OriginSettings`](crate::config::OriginSettings).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrustedProxies {
    /// So many proxies stand in a row before the server, whoever they are, each of which appends
    /// the address that it is asked from to `X-Forwarded-For`, or says it where the
    /// [`AddressSource`] is: none by default. It is Meteor's `HTTP_FORWARDED_COUNT`.
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

/// Where [trusted proxies](TrustedProxies) say what the client's address is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddressSource {
    /// In `X-Forwarded-For`, to which each of them appends.
    #[default]
    XForwardedFor,
    /// In the parameter `for` of `Forwarded` (RFC 7239), to which each of them appends. `unknown`
    /// and what is obfuscated is no address. `X-Forwarded-For` means nothing then.
    Forwarded,
    /// In this header, which the outermost of them sets and the others leave as it is, such as
    /// `CF-Connecting-IP` or `Fly-Client-IP`. Of several entries the last counts. The outermost has
    /// to replace what a client sends in it, and no client may reach the others around it.
    Header(String),
    /// Before everything else on a connection, even TLS: the PROXY protocol of HAProxy and of load
    /// balancers, version 1 or 2. A trusted proxy must speak it, or its connection is closed: with
    /// `Hops` everybody who connects, with `Networks` who is in one of them. Whoever else begins so
    /// is answered with 400. What stands in headers means nothing then.
    ProxyProtocol,
}
