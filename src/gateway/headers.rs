//! The headers with which a connection to Meteor is opened: those of the client's own request, and
//! who has sent it.

use std::fmt;
use std::net::IpAddr;

use warp::http::{HeaderMap, HeaderName, HeaderValue, header};

/// Headers of one connection, which are not passed on.
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// What proxies say of a client; from a client itself it is worth nothing.
const FORWARDED: [HeaderName; 6] = [
    header::FORWARDED,
    FORWARDED_FOR,
    FORWARDED_HOST,
    FORWARDED_PORT,
    FORWARDED_PROTO,
    HeaderName::from_static("x-real-ip"),
];

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The headers of a client's request as Meteor is to see them.
///
/// `Debug` does not show them: there are cookies among them.
#[derive(Clone, Default)]
pub(crate) struct ClientHeaders(HeaderMap);

impl ClientHeaders {
    /// Of a request from `peer`. Unless that is trusted, what the request says of proxies is
    /// dropped.
    pub(super) fn of(
        request: &HeaderMap,
        peer: IpAddr,
        is_encrypted: bool,
        is_trusted: bool,
    ) -> Self {
        let mut headers = passed(request, peer, is_encrypted, is_trusted);
        headers.remove(header::CONTENT_LENGTH);
        let handshake = headers.keys();
        let handshake = handshake.filter(|name| name.as_str().starts_with("sec-websocket-"));
        let handshake: Vec<HeaderName> = handshake.cloned().collect();
        for name in handshake {
            headers.remove(name);
        }
        Self(headers)
    }

    pub(super) fn map(&self) -> &HeaderMap {
        &self.0
    }

    pub(super) fn into_map(self) -> HeaderMap {
        self.0
    }
}

impl fmt::Debug for ClientHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientHeaders").finish_non_exhaustive()
    }
}

/// All headers of a request from `peer` but those of its connection, and who has sent it.
pub(super) fn passed(
    request: &HeaderMap,
    peer: IpAddr,
    is_encrypted: bool,
    is_trusted: bool,
) -> HeaderMap {
    let mut headers = without_hop_by_hop(request);
    if !is_trusted {
        let forwarded = headers.keys().filter(|name| is_forwarded(name));
        let forwarded: Vec<HeaderName> = forwarded.cloned().collect();
        for name in forwarded {
            headers.remove(name);
        }
    }
    let peer = peer.to_canonical().to_string();
    let before = headers.get_all(FORWARDED_FOR).iter();
    let before = before.filter_map(|value| value.to_str().ok());
    let all: Vec<&str> = before.chain([peer.as_str()]).collect();
    if let Ok(value) = HeaderValue::try_from(all.join(", ")) {
        headers.insert(FORWARDED_FOR, value);
    }
    let proto = if is_encrypted { "https" } else { "http" };
    let proto = HeaderValue::from_static(proto);
    headers.entry(FORWARDED_PROTO).or_insert(proto);
    if let Some(host) = headers.get(header::HOST).cloned() {
        headers.entry(FORWARDED_HOST).or_insert(host);
    }
    headers
}

/// The headers that belong to a message, and not to the connection on which it came.
pub(super) fn without_hop_by_hop(headers: &HeaderMap) -> HeaderMap {
    let named: Vec<HeaderName> = named_by_connection(headers).collect();
    let mut kept = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        if !HOP_BY_HOP.contains(name) && !named.contains(name) {
            kept.append(name, value.clone());
        }
    }
    kept
}

fn is_forwarded(name: &HeaderName) -> bool {
    FORWARDED.contains(name) || name.as_str().starts_with("x-forwarded-")
}

/// The headers that `Connection` names: they are hop-by-hop too, but for `Host`. Without it the app
/// would take its own address for that of the site.
fn named_by_connection(headers: &HeaderMap) -> impl Iterator<Item = HeaderName> {
    let values = headers.get_all(header::CONNECTION).into_iter();
    let values = values.filter_map(|value| value.to_str().ok());
    let names = values.flat_map(|value| value.split(','));
    let names = names.filter_map(|name| name.trim().parse().ok());
    names.filter(|name| *name != header::HOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(headers: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    fn lines(headers: ClientHeaders) -> Vec<String> {
        let map = headers.into_map();
        let line = |(name, value): (&HeaderName, &HeaderValue)| {
            format!("{name}: {}", value.to_str().unwrap())
        };
        let mut lines: Vec<String> = map.iter().map(line).collect();
        lines.sort();
        lines
    }

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 9));

    #[test]
    fn gateway_046_headers_of_one_connection_stay_there() {
        let request = request(&[
            ("host", "app.example"),
            ("connection", "Upgrade, X-Once"),
            ("upgrade", "websocket"),
            ("x-once", "1"),
            ("sec-websocket-key", "k"),
            ("cookie", "a=b"),
            ("cookie", "c=d"),
        ]);
        let headers = ClientHeaders::of(&request, PEER, true, false);
        let expected = [
            "cookie: a=b",
            "cookie: c=d",
            "host: app.example",
            "x-forwarded-for: 10.0.0.9",
            "x-forwarded-host: app.example",
            "x-forwarded-proto: https",
        ];
        assert_eq!(lines(headers), expected);
    }

    #[test]
    fn gateway_047_a_client_cannot_say_where_it_is_but_a_trusted_proxy_can() {
        let request = request(&[
            ("forwarded", "for=1.1.1.1"),
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-for", "2.2.2.2"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-prefix", "/x"),
            ("x-real-ip", "1.1.1.1"),
        ]);
        let untrusted = ClientHeaders::of(&request, PEER, false, false);
        let ours = ["x-forwarded-for: 10.0.0.9", "x-forwarded-proto: http"];
        assert_eq!(lines(untrusted), ours);
        let trusted = ClientHeaders::of(&request, PEER, false, true);
        let all = [
            "forwarded: for=1.1.1.1",
            "x-forwarded-for: 1.1.1.1, 2.2.2.2, 10.0.0.9",
            "x-forwarded-prefix: /x",
            "x-forwarded-proto: https",
            "x-real-ip: 1.1.1.1",
        ];
        assert_eq!(lines(trusted), all);
    }
}
