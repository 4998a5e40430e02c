//! Which pages may use the server. A browser sends its user's requests from any page, and names the
//! page's origin. Pages of the same origin may, pages of configured origins, and on a loopback
//! listener pages of this machine.

use std::net::{IpAddr, Ipv6Addr};
use std::ops::RangeInclusive;

use warp::http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::base::error::{Error, Result};
use crate::config::OriginSettings;

/// The origins of the settings, parsed.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    any: bool,
    /// Whether a request without `Origin` is let in: programs send none, browsers do.
    missing: bool,
    allowed: Vec<Allowed>,
}

/// One origin of the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Allowed {
    /// `null`, which pages without an origin send.
    Opaque,
    Origin {
        scheme: String,
        host: String,
        /// Whether it means all hosts below `host`, and not `host` itself.
        is_wildcard: bool,
        port: Option<u16>,
    },
}

/// The pages of this machine, for `Content-Security-Policy`, in which IPv6 addresses cannot be
/// written.
const LOCAL_SOURCES: [&str; 4] = [
    "http://localhost:*",
    "https://localhost:*",
    "http://127.0.0.1:*",
    "https://127.0.0.1:*",
];

/// Meteor draws the port of a Cordova app from these, by the app's name.
const CORDOVA_PORTS: RangeInclusive<u16> = 12_000..=13_000;

/// Decides whether the origin of a request is allowed.
#[derive(Clone, Debug)]
pub(super) struct Origins {
    policy: Policy,
    /// Whether only this machine can reach the listener, with no proxy in between.
    is_local: bool,
    is_behind_proxies: bool,
    /// Whether the pages of Cordova's apps are allowed, which have the clients of a Meteor app.
    allows_cordova: bool,
    /// The policy as a `Content-Security-Policy`; none if any page may.
    frame_ancestors: Option<HeaderValue>,
    /// Whether all clients use TLS. Behind proxies nobody knows: the client may not use TLS to a
    /// proxy that uses it to us.
    is_https: bool,
}

/// Why a request is refused, with the header that is the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum OriginRefusal {
    Host(String),
    Origin(String),
    NoOrigin,
}

/// The origin that a request names.
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

impl Policy {
    /// Parses the settings.
    ///
    /// # Errors
    ///
    /// A text is not an origin.
    pub(super) fn parse(settings: &OriginSettings) -> Result<Self> {
        let OriginSettings {
            allowed,
            allow_missing: missing,
            allow_any: any,
        } = settings;
        let parse = |text: &String| {
            Allowed::parse(text).ok_or_else(|| {
                Error::configuration(format!(
                    "origins.allowed: {text:?} is not an origin; its form is \
                     https://app.example.com, without a path"
                ))
            })
        };
        Ok(Self {
            any: *any,
            missing: *missing,
            allowed: allowed.iter().map(parse).collect::<Result<_>>()?,
        })
    }

    fn frame_ancestors(&self, is_local: bool) -> Option<HeaderValue> {
        if self.any {
            return None;
        }
        let mut policy = "frame-ancestors 'self'".to_owned();
        let allowed = self.allowed.iter().filter_map(Allowed::as_source);
        let local = is_local.then_some(LOCAL_SOURCES).into_iter().flatten();
        for source in local.map(str::to_owned).chain(allowed) {
            policy.push(' ');
            policy.push_str(&source);
        }
        // All parts were parsed, so they have only characters that a header may have.
        let refuses = HeaderValue::from_static("frame-ancestors 'none'");
        Some(HeaderValue::try_from(policy).unwrap_or(refuses))
    }
}

impl Allowed {
    /// `https://app.example.com`, `https://app.example.com:8443`, `https://*.example.com` or
    /// `null`.
    fn parse(text: &str) -> Option<Self> {
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

    /// As a source of `Content-Security-Policy`, in which `null` cannot be written.
    fn as_source(&self) -> Option<String> {
        let Self::Origin {
            scheme,
            host,
            is_wildcard,
            port,
        } = self
        else {
            return None;
        };
        let wildcard = if *is_wildcard { "*." } else { "" };
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        let is_address = host.contains(':');
        Some(if is_address {
            format!("{scheme}://[{host}]{port}")
        } else {
            format!("{scheme}://{wildcard}{host}{port}")
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
    pub(super) fn new(
        policy: Policy,
        listener: IpAddr,
        is_behind_proxies: bool,
        is_encrypted: bool,
    ) -> Self {
        let is_local = listener.to_canonical().is_loopback() && !is_behind_proxies;
        Self {
            frame_ancestors: policy.frame_ancestors(is_local),
            policy,
            is_local,
            is_behind_proxies,
            allows_cordova: false,
            is_https: is_encrypted && !is_behind_proxies,
        }
    }

    /// Allows the pages that a Cordova app of Meteor's serves itself on the phone.
    pub(super) fn with_cordova(self, allows_cordova: bool) -> Self {
        Self {
            allows_cordova,
            ..self
        }
    }

    /// Which pages may have a page of this server in a frame, as a `Content-Security-Policy`: those
    /// that may use the server. SockJS's page for frames acts for the page around it, with this
    /// server's origin.
    pub(super) fn frame_ancestors(&self) -> Option<&HeaderValue> {
        self.frame_ancestors.as_ref()
    }

    /// Whether a request may be answered, by its `Origin` and its `Host`.
    pub(super) fn judge(&self, headers: &HeaderMap) -> Result<(), OriginRefusal> {
        if self.policy.any {
            return Ok(());
        }
        let host = only(headers, header::HOST).unwrap_or_default();
        // A page whose own host name points to 127.0.0.1 would be of the same origin.
        if self.is_local && !self.may_be_called(host) {
            return Err(OriginRefusal::Host(host.to_owned()));
        }
        let Some(origin) = headers.get(header::ORIGIN) else {
            return self.judge_without_origin(headers, host);
        };
        let origin = only(headers, header::ORIGIN).ok_or_else(|| {
            let shown = String::from_utf8_lossy(origin.as_bytes());
            OriginRefusal::Origin(shown.into_owned())
        })?;
        self.judge_origin(origin, headers, host)
    }

    /// Browsers send no `Origin` for scripts and frames of any site, nor for requests of a page to
    /// its own site. Newer browsers tell these apart by `Sec-Fetch-Site`.
    fn judge_without_origin(&self, headers: &HeaderMap, host: &str) -> Result<(), OriginRefusal> {
        let site = headers.get("sec-fetch-site").map(|it| it.as_bytes());
        match site {
            Some(b"same-origin") => Ok(()),
            Some(b"cross-site" | b"same-site") => {
                let referer = only(headers, header::REFERER).unwrap_or_default();
                self.judge_origin(origin_of_url(referer), headers, host)
            }
            _ if self.policy.missing => Ok(()),
            _ => Err(OriginRefusal::NoOrigin),
        }
    }

    fn judge_origin(
        &self,
        text: &str,
        headers: &HeaderMap,
        host: &str,
    ) -> Result<(), OriginRefusal> {
        let is_allowed = match Origin::parse(text) {
            Some(origin) => {
                self.policy.allowed.iter().any(|it| it.has(&origin))
                    || origin.is_of(host) && (!self.is_https || origin.is_https())
                    || self.is_behind_proxies && origin.is_of_forwarded(headers)
                    || self.is_local && is_loopback(origin.authority.host)
                    || self.allows_cordova && origin.is_cordova()
            }
            None => text == "null" && self.policy.allowed.contains(&Allowed::Opaque),
        };
        if is_allowed {
            return Ok(());
        }
        Err(OriginRefusal::Origin(text.to_owned()))
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

    fn is_https(&self) -> bool {
        self.scheme.eq_ignore_ascii_case("https")
    }

    /// Whether this is an origin at which Meteor has a Cordova app serve its pages.
    fn is_cordova(&self) -> bool {
        let Authority { host, port } = self.authority;
        self.scheme.eq_ignore_ascii_case("http")
            && host.eq_ignore_ascii_case("localhost")
            && port.is_some_and(|port| CORDOVA_PORTS.contains(&port))
    }

    /// Whether this origin is that of the host which the request was sent to. The scheme is not
    /// compared, because a proxy may have taken off TLS.
    fn is_of(&self, host: &str) -> bool {
        let Some(Authority { host, port }) = Authority::parse(host) else {
            return false;
        };
        host.eq_ignore_ascii_case(self.authority.host) && self.authority.has_port(port, self.scheme)
    }

    /// The same, for the host that a proxy was asked for. A page cannot set this header for another
    /// site.
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

    /// Whether another port is the same; no port means the usual one of the scheme.
    fn has_port(&self, other: Option<u16>, scheme: &str) -> bool {
        let usual = match scheme.to_ascii_lowercase().as_str() {
            "https" | "wss" => Some(443),
            "http" | "ws" => Some(80),
            _ => None,
        };
        self.port.or(usual) == other.or(usual)
    }
}

/// The value of a header that occurs exactly once and is text.
pub(super) fn only(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// The part of a URL before its path.
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

/// Whether this could be the name of a host, or an IPv4 address.
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
mod tests;
