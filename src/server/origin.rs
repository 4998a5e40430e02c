//! Which pages may talk to the server: a browser says where its page is from, and sends the user's requests from any.
//! Same-origin pages may, those of configured origins, and on a loopback listener those of this machine.

mod ancestors;

use std::net::{IpAddr, Ipv6Addr};

use warp::http::{HeaderMap, HeaderName, header};

/// What the program says about origins.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    pub(super) any: bool,
    /// Whether a request without `Origin` is let in: programs send none, browsers do.
    pub(super) missing: bool,
    pub(super) allowed: Vec<Allowed>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            any: false,
            missing: true,
            allowed: Vec::new(),
        }
    }
}

/// An origin of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Allowed {
    /// Of pages that have none: `null`.
    Opaque,
    Origin {
        scheme: String,
        host: String,
        /// Whether the hosts below `host` are meant, and not itself.
        is_wildcard: bool,
        port: Option<u16>,
    },
}

/// Judges requests.
#[derive(Clone, Debug)]
pub(super) struct Origins {
    policy: Policy,
    /// Whether only this machine can reach the listener, and no proxy speaks for others.
    is_local: bool,
    is_behind_proxies: bool,
}

/// Why a request is refused, with what its sender said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Host(String),
    Origin(String),
    NoOrigin,
}

/// An origin as a request has it.
#[derive(Clone, Copy, Debug)]
struct Origin<'a> {
    scheme: &'a str,
    authority: Authority<'a>,
}

/// `host`, `host:port`, `[address]:port`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Authority<'a> {
    host: &'a str,
    port: Option<u16>,
}

impl Allowed {
    /// `https://app.example.com`, `https://app.example.com:8443`, `https://*.example.com` or `null`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text == "null" {
            return Some(Self::Opaque);
        }
        let (scheme, authority) = text.split_once("://")?;
        let (authority, is_wildcard) = match authority.strip_prefix("*.") {
            Some(authority) => (authority, true),
            None => (authority, false),
        };
        let Authority { host, port } = Authority::parse(authority)?;
        is_scheme(scheme).then(|| Self::Origin {
            scheme: scheme.to_owned(),
            host: host.to_owned(),
            is_wildcard,
            port,
        })
    }

    fn has(&self, origin: &Origin<'_>) -> bool {
        let Self::Origin { scheme, port, .. } = self else {
            return false;
        };
        scheme.eq_ignore_ascii_case(origin.scheme)
            && origin.authority.has_port(*port, scheme)
            && self.has_host(origin.authority.host)
    }

    fn has_host(&self, other: &str) -> bool {
        match self {
            Self::Opaque => false,
            Self::Origin {
                host,
                is_wildcard: false,
                ..
            } => host.eq_ignore_ascii_case(other),
            Self::Origin { host, .. } => {
                let dot = other.len().checked_sub(host.len() + 1);
                let parts = dot.filter(|dot| *dot > 0).and_then(|dot| {
                    let (_, tail) = other.split_at_checked(dot)?;
                    tail.strip_prefix('.')
                });
                parts.is_some_and(|tail| tail.eq_ignore_ascii_case(host))
            }
        }
    }
}

impl Origins {
    pub(super) fn new(policy: Policy, listener: IpAddr, trusted_proxies: usize) -> Self {
        let is_behind_proxies = trusted_proxies > 0;
        Self {
            policy,
            is_local: listener.to_canonical().is_loopback() && !is_behind_proxies,
            is_behind_proxies,
        }
    }

    /// Whether a request may be answered, going by where it says it comes from and where it thinks it has come.
    pub(super) fn judge(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        if self.policy.any {
            return Ok(());
        }
        let host = only(headers, header::HOST).unwrap_or_default();
        // A page may have its own name point to 127.0.0.1, and is of the same origin then.
        if self.is_local && !self.may_be_called(host) {
            return Err(Refusal::Host(host.to_owned()));
        }
        let Some(origin) = headers.get(header::ORIGIN) else {
            return self.judge_without_origin(headers, host);
        };
        let origin = only(headers, header::ORIGIN).ok_or_else(|| {
            let shown = String::from_utf8_lossy(origin.as_bytes());
            Refusal::Origin(shown.into_owned())
        })?;
        self.judge_origin(origin, headers, host)
    }

    /// Browsers send no `Origin` for scripts and frames of any site, nor for what a page gets from its own; but newer
    /// ones say which it is.
    fn judge_without_origin(&self, headers: &HeaderMap, host: &str) -> Result<(), Refusal> {
        let site = headers.get("sec-fetch-site").map(|it| it.as_bytes());
        match site {
            Some(b"same-origin") => Ok(()),
            Some(b"cross-site" | b"same-site") => {
                let referer = only(headers, header::REFERER).unwrap_or_default();
                self.judge_origin(origin_of_url(referer), headers, host)
            }
            _ if self.policy.missing => Ok(()),
            _ => Err(Refusal::NoOrigin),
        }
    }

    fn judge_origin(&self, text: &str, headers: &HeaderMap, host: &str) -> Result<(), Refusal> {
        let is_allowed = match Origin::parse(text) {
            Some(origin) => {
                self.policy.allowed.iter().any(|it| it.has(&origin))
                    || origin.is_of(host)
                    || self.is_behind_proxies && origin.is_of_forwarded(headers)
                    || self.is_local && is_loopback(origin.authority.host)
            }
            None => text == "null" && self.policy.allowed.contains(&Allowed::Opaque),
        };
        if is_allowed {
            return Ok(());
        }
        Err(Refusal::Origin(text.to_owned()))
    }

    fn may_be_called(&self, host: &str) -> bool {
        Authority::parse(host).is_some_and(|Authority { host, .. }| {
            is_loopback(host) || self.policy.allowed.iter().any(|it| it.has_host(host))
        })
    }
}

impl<'a> Origin<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let authority = Authority::parse(authority)?;
        is_scheme(scheme).then_some(Self { scheme, authority })
    }

    /// Whether this is the origin of what a request asked for. Nobody knows whether TLS was in between, so the scheme
    /// does not count.
    fn is_of(&self, host: &str) -> bool {
        let Some(Authority { host, port }) = Authority::parse(host) else {
            return false;
        };
        host.eq_ignore_ascii_case(self.authority.host) && self.authority.has_port(port, self.scheme)
    }

    /// The same, for the host by which a proxy was asked. A page cannot set the header for another site.
    fn is_of_forwarded(&self, headers: &HeaderMap) -> bool {
        let lines = headers.get_all("x-forwarded-host").iter();
        let mut hosts = lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(','));
        hosts.any(|host| self.is_of(host.trim()))
    }
}

impl<'a> Authority<'a> {
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']')?;
                address.parse::<Ipv6Addr>().ok()?;
                (address, port)
            }
            None => {
                let end = text.find(':').unwrap_or(text.len());
                let (host, port) = text.split_at_checked(end)?;
                is_name(host).then_some((host, port))?
            }
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => None,
            Some("") => None,
            Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(port.parse().ok()?)
            }
            _ => return None,
        };
        Some(Self { host, port })
    }

    /// Whether another port is the same, where none is that of the scheme.
    fn has_port(&self, other: Option<u16>, scheme: &str) -> bool {
        let usual = match scheme.to_ascii_lowercase().as_str() {
            "https" | "wss" => Some(443),
            "http" | "ws" => Some(80),
            _ => None,
        };
        self.port.or(usual) == other.or(usual)
    }
}

/// The only value of a header, if it is text.
pub(super) fn only(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// What stands before the path.
fn origin_of_url(url: &str) -> &str {
    let path = url
        .find("://")
        .and_then(|at| at.checked_add(3))
        .and_then(|authority| {
            let path = url.get(authority..)?.find('/')?;
            authority.checked_add(path)
        });
    path.and_then(|path| url.get(..path)).unwrap_or(url)
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// Whether this could be a host's name, or an IPv4 address.
fn is_name(text: &str) -> bool {
    (1..=253).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse()
            .is_ok_and(|address: IpAddr| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks with these headers, a line each.
    fn judge(origins: &Origins, lines: &str) -> Result<(), Refusal> {
        let mut headers = HeaderMap::new();
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').unwrap();
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, value.trim().parse().unwrap());
        }
        origins.judge(&headers)
    }

    fn origins(allowed: &[&str], listener: &str, trusted_proxies: usize) -> Origins {
        let allowed = allowed.iter().map(|text| Allowed::parse(text).unwrap());
        let policy = Policy {
            allowed: allowed.collect(),
            ..Policy::default()
        };
        Origins::new(policy, listener.parse().unwrap(), trusted_proxies)
    }

    /// Whether a page of `origin` may ask for `host`.
    fn may(origins: &Origins, host: &str, origin: &str) -> bool {
        judge(origins, &format!("host: {host}\norigin: {origin}")).is_ok()
    }

    #[test]
    fn row_021_a_page_may_talk_to_the_server_that_it_is_from() {
        let server = origins(&[], "0.0.0.0", 0);
        for (host, origin) in [
            ("a.example", "http://a.example"),
            ("a.example", "https://a.example"),
            ("a.example:443", "https://A.Example"),
            ("a.example", "https://a.example:443"),
            ("a.example:", "http://a.example:80"),
            ("a.example:3000", "http://a.example:3000"),
            ("[2001:db8::1]:3000", "http://[2001:db8::1]:3000"),
        ] {
            assert!(may(&server, host, origin), "{host} {origin}");
        }
        for (host, origin) in [
            ("a.example", "http://b.example"),
            ("a.example", "http://a.example:8080"),
            ("a.example:80", "https://a.example"),
            ("a.example", "http://a.example.evil.example"),
            ("a.example", "http://a.example/"),
            ("a.example", "http://evil@a.example"),
            ("a.example", "a.example"),
            ("a.example", "null"),
            ("", ""),
            ("a.example", "http://localhost:3000"),
        ] {
            assert!(!may(&server, host, origin), "{host} {origin}");
        }
        let twice = "host: a.example\norigin: http://a.example\norigin: http://evil.example";
        assert!(judge(&server, twice).is_err());
    }

    #[test]
    fn row_021_configured_origins_may_talk_to_it() {
        let allowed = [
            "https://app.example",
            "https://*.b.example:8443",
            "capacitor://localhost",
        ];
        let server = origins(&allowed, "0.0.0.0", 0);
        for origin in [
            "https://app.example",
            "https://app.example:443",
            "https://x.b.example:8443",
            "https://y.x.B.example:8443",
            "capacitor://localhost",
        ] {
            assert!(may(&server, "a.example", origin), "{origin}");
        }
        for origin in [
            "http://app.example",
            "https://app.example:444",
            "https://x.app.example",
            "https://b.example:8443",
            "https://.b.example:8443",
            "https://xb.example:8443",
            "https://x.b.example",
            "null",
        ] {
            assert!(!may(&server, "a.example", origin), "{origin}");
        }
        assert!(may(&origins(&["null"], "0.0.0.0", 0), "a.example", "null"));
        for bad in [
            "",
            "app.example",
            "https://",
            "https://a/",
            "https://*",
            "*",
            "://a",
            "http://a:x",
        ] {
            assert_eq!(Allowed::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn row_021_a_loopback_listener_is_for_this_machine() {
        for listener in ["127.0.0.1", "::1"] {
            let server = origins(&["https://tunnel.example"], listener, 0);
            for origin in [
                "http://localhost:3000",
                "http://127.9.8.7",
                "https://[::1]:1",
                "http://LOCALHOST",
            ] {
                assert!(may(&server, "127.0.0.1:4000", origin), "{origin}");
                assert!(may(&server, "tunnel.example", origin), "{origin}");
            }
            assert!(!may(
                &server,
                "127.0.0.1:4000",
                "http://localhost.evil.example"
            ));
            for host in [
                "evil.example:4000",
                "127.0.0.1.evil.example",
                "0.0.0.0",
                "192.168.0.1",
                "x y",
            ] {
                let same = format!("http://{host}");
                assert!(!may(&server, host, &same), "{host}");
                let refused = judge(&server, &format!("host: {host}"));
                assert_eq!(refused, Err(Refusal::Host(host.to_owned())));
            }
            for host in ["localhost:4000", "127.0.0.2", "[::1]:4000"] {
                assert_eq!(judge(&server, &format!("host: {host}")), Ok(()));
            }
        }
        let behind_proxy = origins(&[], "127.0.0.1", 1);
        assert!(may(&behind_proxy, "a.example", "https://a.example"));
        assert!(!may(&behind_proxy, "a.example", "http://localhost:3000"));
    }

    #[test]
    fn row_021_behind_proxies_the_forwarded_host_is_the_servers() {
        let asked = "host: 10.0.0.1:3000\nx-forwarded-host: a.example, b.example\norigin: https://";
        let page = |host: &str| format!("{asked}{host}");
        let server = origins(&[], "0.0.0.0", 1);
        assert!(judge(&server, &page("a.example")).is_ok());
        assert!(judge(&server, &page("b.example")).is_ok());
        assert!(judge(&server, &page("c.example")).is_err());
        let server = origins(&[], "0.0.0.0", 0);
        assert!(judge(&server, &page("a.example")).is_err());
    }

    #[test]
    fn row_021_a_request_without_an_origin_is_a_programs_unless_a_browser_says_otherwise() {
        let mut server = origins(&["https://app.example"], "0.0.0.0", 0);
        let host = "host: a.example\n";
        let script = "sec-fetch-site: cross-site\nreferer: https://";
        for missing in [true, false] {
            server.policy.missing = missing;
            let plain = judge(&server, host);
            assert_eq!(plain.is_ok(), missing, "{plain:?}");
            let typed = judge(&server, &format!("{host}sec-fetch-site: none"));
            assert_eq!(typed.is_ok(), missing, "{typed:?}");
            let own = judge(&server, &format!("{host}sec-fetch-site: same-origin"));
            assert_eq!(own, Ok(()));
            let app = judge(&server, &format!("{host}{script}app.example/page?x"));
            assert_eq!(app, Ok(()));
            let evil = judge(&server, &format!("{host}{script}evil.example/app.example"));
            assert_eq!(evil, Err(Refusal::Origin("https://evil.example".into())));
            let hidden = judge(&server, &format!("{host}sec-fetch-site: cross-site"));
            assert_eq!(hidden, Err(Refusal::Origin(String::new())));
        }
    }

    #[test]
    fn row_021_any_origin_is_allowed_only_when_said_so() {
        let mut server = origins(&[], "127.0.0.1", 0);
        server.policy.any = true;
        assert!(may(&server, "evil.example", "https://evil.example"));
        assert!(may(&server, "evil.example", "null"));
    }

    #[test]
    fn row_019_absurd_hosts_are_none() {
        for good in [
            "a",
            "a:1",
            "a:",
            "a_b.example",
            "1.2.3.4:65535",
            "[::1]",
            "[::1]:1",
        ] {
            assert!(Authority::parse(good).is_some(), "{good}");
        }
        let long = "a".repeat(254);
        for bad in [
            "", ":1", "a:65536", "a:-1", "a:+1", "a/b", "a b", "a@b", "[::1", "[x]", "[::1]x",
            "a:1:2", "é", &long,
        ] {
            assert_eq!(Authority::parse(bad), None, "{bad}");
        }
    }
}
