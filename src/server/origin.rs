//! Which pages may talk to the server: a browser says where its page is from, and sends the user's requests from any.
//! Same-origin pages may, those of configured origins, and on a loopback listener those of this machine.

use std::net::{IpAddr, Ipv6Addr};

use warp::http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::base::error::{Error, Result};
use crate::config::OriginSettings;

/// What the program says about origins.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    any: bool,
    /// Whether a request without `Origin` is let in: programs send none, browsers do.
    missing: bool,
    allowed: Vec<Allowed>,
}

/// An origin of the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Allowed {
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

/// The pages of this machine. There is no way to write IPv6 addresses here.
const LOCAL_SOURCES: [&str; 4] = [
    "http://localhost:*",
    "https://localhost:*",
    "http://127.0.0.1:*",
    "https://127.0.0.1:*",
];

/// Judges requests.
#[derive(Clone, Debug)]
pub(super) struct Origins {
    policy: Policy,
    /// Whether only this machine can reach the listener, and no proxy speaks for others.
    is_local: bool,
    is_behind_proxies: bool,
    /// The policy in the words of `Content-Security-Policy`; nothing where any page may.
    frame_ancestors: Option<HeaderValue>,
    /// Whether clients can have come over TLS only. A proxy may be asked without, though it asks us with it.
    is_https: bool,
}

/// Why a request is refused, with what its sender said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum OriginRefusal {
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

impl Policy {
    /// Refuses what is no origin.
    pub(super) fn parse(settings: &OriginSettings) -> Result<Self> {
        let OriginSettings {
            allowed,
            allow_missing: missing,
            allow_any: any,
        } = settings;
        let parse = |text: &String| {
            Allowed::parse(text).ok_or_else(|| {
                Error::configuration(format!(
                    "origins.allowed: {text:?} is not an origin; its form is https://app.example.com, \
                     without a path"
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
        // All of it was parsed, so there is nothing in it that could not be in a header.
        let refuses = HeaderValue::from_static("frame-ancestors 'none'");
        Some(HeaderValue::try_from(policy).unwrap_or(refuses))
    }
}

impl Allowed {
    /// `https://app.example.com`, `https://app.example.com:8443`, `https://*.example.com` or `null`.
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

    /// As a source of `Content-Security-Policy`, which knows no pages without an origin.
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
            is_https: is_encrypted && !is_behind_proxies,
        }
    }

    /// Which pages may have a page of this server in a frame, as a `Content-Security-Policy`: those that may talk to it.
    /// What SockJS's page for frames does for the page around it, it does in the name of this server's origin.
    pub(super) fn frame_ancestors(&self) -> Option<&HeaderValue> {
        self.frame_ancestors.as_ref()
    }

    /// Whether a request may be answered, going by where it says it comes from and where it thinks it has come.
    pub(super) fn judge(&self, headers: &HeaderMap) -> Result<(), OriginRefusal> {
        if self.policy.any {
            return Ok(());
        }
        let host = only(headers, header::HOST).unwrap_or_default();
        // A page may have its own name point to 127.0.0.1, and is of the same origin then.
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

    /// Browsers send no `Origin` for scripts and frames of any site, nor for what a page gets from its own; but newer
    /// ones say which it is.
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

    /// Whether this is the origin of what a request asked for. Where nobody knows whether TLS was in between, the scheme
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
mod tests;
