//! Who is let in: a client's origin, the number of connections from its address, and its guesses at others' sessions.
//! Asked before a request of DDP or SockJS is answered; the program's own routes are its own business.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use warp::Reply;
use warp::http::{HeaderMap, HeaderValue, Request, StatusCode, Version, header};
use warp::reply::Response;

use super::address::{TrustedProxies, client_address};
use super::origin::{Authority, Origins, Policy, Refusal, only};
use crate::clock;
use crate::connection::Headers;
use crate::limit::{Addresses, Rate, Seat, Seldom};
use crate::services::Services;

/// Most characters of a refused origin in the log.
const SHOWN: usize = 200;

/// What the program says about the edge.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) trusted_proxies: TrustedProxies,
    pub(super) origins: Policy,
    /// Whether the listener speaks TLS.
    pub(super) is_encrypted: bool,
    /// Connections from one address; without limit where this is nothing.
    pub(super) per_address: Option<usize>,
    pub(super) guesses: Rate,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            trusted_proxies: TrustedProxies::Hops(0),
            origins: Policy::default(),
            is_encrypted: false,
            per_address: None,
            guesses: Rate {
                requests: 1000,
                within: Duration::from_secs(60),
            },
        }
    }
}

/// Lets clients in.
#[derive(Debug)]
pub(super) struct Admission {
    trusted_proxies: TrustedProxies,
    origins: Origins,
    addresses: Arc<Addresses>,
    services: Arc<Services>,
    origins_log: Seldom,
    addresses_log: Seldom,
}

/// A client that was let in.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) client_address: Option<IpAddr>,
    pub(super) headers: Headers,
    /// To be kept as long as the connection.
    pub(super) seat: Option<Seat>,
}

impl Admission {
    pub(super) fn new(settings: Settings, listener: IpAddr, services: Arc<Services>) -> Self {
        let Settings {
            trusted_proxies,
            origins,
            is_encrypted,
            per_address,
            guesses,
        } = settings;
        let has_proxies = !trusted_proxies.is_empty();
        Self {
            trusted_proxies,
            origins: Origins::new(origins, listener, has_proxies, is_encrypted),
            addresses: Arc::new(Addresses::new(per_address, guesses)),
            services,
            origins_log: Seldom::default(),
            addresses_log: Seldom::default(),
        }
    }

    /// Lets a new client in, or says why not.
    pub(super) fn admit(&self, headers: &HeaderMap, peer: SocketAddr) -> Result<Admitted, Refused> {
        self.screen(headers)?;
        let client_address = client_address(&self.trusted_proxies, peer, headers);
        let Ok(seat) = self.addresses.seat(client_address) else {
            let refused = &self.services.gauges.refused_connections;
            refused.fetch_add(1, Ordering::Relaxed);
            self.log_address(
                client_address,
                "there are as many connections as there may be",
            );
            return Err(Refused::TooMany);
        };
        Ok(Admitted {
            client_address,
            headers: Headers::of(headers),
            seat,
        })
    }

    /// Refuses what a page of another origin asks for. Enough for requests that open nothing.
    pub(super) fn screen(&self, headers: &HeaderMap) -> Result<(), Refused> {
        self.origins.judge(headers).map_err(|refusal| {
            let refused = &self.services.gauges.refused_origins;
            refused.fetch_add(1, Ordering::Relaxed);
            self.log(&refusal);
            match refusal {
                Refusal::Host(_) => Refused::Host,
                Refusal::Origin(_) | Refusal::NoOrigin => Refused::Origin,
            }
        })
    }

    /// Looks at any request, whatever it is for: refuses one without a host, and one for a SockJS session from an
    /// address that has asked for too many which do not exist.
    pub(super) fn look_at<B>(
        self: &Arc<Self>,
        request: &Request<B>,
        peer: SocketAddr,
        is_sockjs: bool,
    ) -> Result<Watch, Refused> {
        let headers = request.headers();
        if !has_host(request.version(), headers) {
            return Err(Refused::NoHost);
        }
        if !is_sockjs {
            return Ok(Watch(None));
        }
        let client_address = client_address(&self.trusted_proxies, peer, headers);
        if self.addresses.is_guessing(client_address, clock::now()) {
            self.log_address(
                client_address,
                "it asks for SockJS sessions that do not exist",
            );
            return Err(Refused::TooMany);
        }
        Ok(Watch(Some((self.clone(), client_address))))
    }

    /// Which pages may have one of this server's in a frame.
    pub(super) fn frame_ancestors(&self) -> Option<&HeaderValue> {
        self.origins.frame_ancestors()
    }

    fn log(&self, refusal: &Refusal) {
        let Some(left_out) = self.origins_log.left_out(clock::now()) else {
            return;
        };
        match refusal {
            Refusal::Host(host) => tracing::warn!(
                host = %shown(host),
                left_out,
                "A request was refused: a loopback address answers to loopback hosts only. Another, such as a tunnel's, is \
                 allowed by Builder::allow_origin (--allow-origin), a proxy's by trusted_proxies (--trusted-proxies)."
            ),
            Refusal::Origin(origin) => tracing::warn!(
                origin = %shown(origin),
                left_out,
                "A request was refused: pages of this origin are not allowed. Builder::allow_origin \
                 (--allow-origin) allows them."
            ),
            Refusal::NoOrigin => tracing::warn!(
                left_out,
                "A request was refused: it has no Origin. Builder::allow_missing_origin(true) allows it."
            ),
        }
    }

    fn log_address(&self, address: Option<IpAddr>, why: &'static str) {
        if let Some(left_out) = self.addresses_log.left_out(clock::now()) {
            tracing::warn!(
                ?address,
                left_out,
                why,
                "Requests from an address are refused. If it is a proxy's, Builder::trusted_proxies \
                 (--trusted-proxies) is not right."
            );
        }
    }
}

/// Why a client is not let in, as far as it may know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It does not say where it has come.
    NoHost,
    /// Where it thinks it has come.
    Host,
    /// Where it comes from.
    Origin,
    /// Its address has or asks for too much.
    TooMany,
}

impl Refused {
    pub(super) fn answer(self) -> Response {
        let (status, text) = match self {
            Self::NoHost => (StatusCode::BAD_REQUEST, "Not a valid Host header"),
            Self::Host => (StatusCode::FORBIDDEN, "This host is not allowed"),
            Self::Origin => (StatusCode::FORBIDDEN, "This origin is not allowed"),
            Self::TooMany => (StatusCode::TOO_MANY_REQUESTS, "Too many requests"),
        };
        warp::reply::with_status(text, status).into_response()
    }
}

/// What is still to be counted of a request: whether it was for a SockJS session that does not exist.
#[derive(Debug)]
pub(super) struct Watch(Option<(Arc<Admission>, Option<IpAddr>)>);

impl Watch {
    pub(super) fn answered(self, status: StatusCode) {
        if let Self(Some((admission, client_address))) = self
            && status == StatusCode::NOT_FOUND
        {
            admission.addresses.guessed(client_address, clock::now());
        }
    }
}

/// Whether a request says where it has come, once and in words that can be understood; HTTP/1.0 need not.
fn has_host(version: Version, headers: &HeaderMap) -> bool {
    match only(headers, header::HOST) {
        Some(host) => Authority::parse(host).is_some(),
        None => version < Version::HTTP_11 && !headers.contains_key(header::HOST),
    }
}

/// What a peer said, for the log: escaped and cut.
fn shown(text: &str) -> String {
    let cut: String = text.chars().take(SHOWN).collect();
    format!("{cut:?}")
}
