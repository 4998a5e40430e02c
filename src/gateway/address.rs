//! The address of a Meteor server, as its URL says it.

use warp::http::Uri;

/// Where a Meteor server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UpstreamAddress {
    /// For the resolver: without the brackets of an IPv6 address.
    host: String,
    port: u16,
    /// The path of its `ROOT_URL`: empty, or with a slash at its beginning and none at its end.
    prefix: String,
}

impl UpstreamAddress {
    /// Reads `http://host:port/path`; an error says what is wrong with it.
    pub(super) fn parse(url: &str) -> Result<Self, &'static str> {
        let uri: Uri = url.parse().map_err(|_| "is no URL")?;
        if uri.scheme_str() != Some("http") {
            return Err("does not begin with http://");
        }
        let authority = uri.authority().ok_or("has no host")?;
        if authority.as_str().contains('@') {
            return Err("has a user name, which nobody would read");
        }
        if uri.query().is_some() {
            return Err("has a query, which nobody would read");
        }
        let host = authority.host();
        let host = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
        Ok(Self {
            host: host.unwrap_or_else(|| authority.host()).to_owned(),
            port: authority.port_u16().unwrap_or(80),
            prefix: uri.path().trim_end_matches('/').to_owned(),
        })
    }

    /// For the resolver.
    pub(super) fn host_and_port(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The path of its WebSocket.
    pub(super) fn websocket_path(&self) -> String {
        format!("{}/websocket", self.prefix)
    }
}

impl std::fmt::Display for UpstreamAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { host, port, prefix } = self;
        match host.contains(':') {
            true => write!(f, "http://[{host}]:{port}{prefix}"),
            false => write!(f, "http://{host}:{port}{prefix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_http_servers() {
        for (url, shown, path) in [
            ("http://a:4000", "http://a:4000", "/websocket"),
            ("http://a", "http://a:80", "/websocket"),
            ("http://a/", "http://a:80", "/websocket"),
            (
                "http://[::1]:1/p/q/",
                "http://[::1]:1/p/q",
                "/p/q/websocket",
            ),
        ] {
            let address = UpstreamAddress::parse(url).unwrap();
            assert_eq!(address.to_string(), shown);
            assert_eq!(address.websocket_path(), path);
        }
        for url in [
            "",
            "a:4000",
            "/x",
            "https://a",
            "ws://a",
            "http://u@a",
            "http://a?x=1",
        ] {
            assert!(UpstreamAddress::parse(url).is_err(), "{url}");
        }
    }
}
