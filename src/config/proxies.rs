//! Which proxies stand between clients and the server, and where they say who the client is.

/// Proxies whose information about a [client's address](crate::Connection::client_address) is used.
/// The [`AddressSource`] says where they pass it on.
///
/// With trusted proxies their `X-Forwarded-Host` is used as the request's host, and a loopback
/// address no longer means that clients are on this machine: see
/// [`OriginSettings`](crate::config::OriginSettings).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrustedProxies {
    /// So many proxies stand in a row before the server, whoever they are, each of which appends
    /// the address that it is asked from to `X-Forwarded-For`, or says it where the
    /// [`AddressSource`] is: none by default. It is Meteor's `HTTP_FORWARDED_COUNT`.
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
