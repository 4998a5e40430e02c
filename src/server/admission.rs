//! Decides whether a client is let in, by its origin, by what its address has already, and by its
//! guesses at other clients' sessions. Requests for DDP and SockJS are checked before they are
//! answered. Requests for the program's own routes are not.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use warp::http::{HeaderMap, HeaderValue, Request, StatusCode, Version, header};
use warp::reply::Response;

use super::address::{Proxies, client_address};
use super::answer::plain;
use super::origin::{Authority, OriginRefusal, Origins, only};
use crate::base::ThrottledLog;
use crate::base::clock;
use crate::gateway::{ClientHeaders, Requester};
use crate::handler::Headers;
use crate::limit::{AddressLimits, Addresses, Network, Seat};
use crate::shard::Shared;
use crate::shard::polling_sessions::{CountedSession, Full, PollingSession, SessionKey};
use crate::transport::metered::Activity;

/// Most characters of a refused origin in the log.
const SHOWN: usize = 200;

/// How many refused origins are logged by name.
const NAMED_ORIGINS: usize = 100;

/// The checks, and what they share.
#[derive(Debug)]
pub(super) struct Admission {
    proxies: Proxies,
    origins: Origins,
    addresses: Arc<Addresses>,
    shared: Arc<Shared>,
    /// The refused origins that stand in the log. Filled by `log`, never drained; bounded by
    /// `NAMED_ORIGINS`.
    named_origins: Mutex<HashSet<String>>,
    /// Throttles what is logged of other refusals.
    origins_log: ThrottledLog,
    addresses_log: ThrottledLog,
}

/// A client that was let in.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) client_address: Option<IpAddr>,
    pub(super) headers: Headers,
    /// All headers, if there is a Meteor server behind this one.
    pub(super) for_meteor: Option<ClientHeaders>,
    /// Kept as long as the connection: it counts the connection for its address.
    pub(super) seat: Option<Seat>,
}

impl Admission {
    pub(super) fn new(
        proxies: Proxies,
        origins: Origins,
        addresses: AddressLimits,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            proxies,
            origins,
            addresses: Arc::new(Addresses::new(addresses)),
            shared,
            named_origins: Mutex::default(),
            origins_log: ThrottledLog::default(),
            addresses_log: ThrottledLog::default(),
        }
    }

    /// Whether a connection from there begins with what a proxy says of it.
    pub(super) fn is_announced(&self, peer: SocketAddr) -> bool {
        self.proxies.speaks_first(peer)
    }

    /// A connection from a proxy did not begin with what the proxy says of it.
    pub(super) fn unannounced(&self, peer: SocketAddr, error: &io::Error) {
        let refused = &self.shared.host.gauges.refused_connections;
        refused.fetch_add(1, Ordering::Relaxed);
        if let Some(left_out) = self.addresses_log.left_out(clock::now()) {
            tracing::warn!(
                %peer,
                %error,
                left_out,
                "A connection is refused: by the settings trusted_proxies and address_source it \
                 has to begin with a PROXY header."
            );
        }
    }

    /// Lets a new client in, or says why not.
    pub(super) fn admit(&self, headers: &HeaderMap, peer: SocketAddr) -> Result<Admitted, Refused> {
        self.screen(headers)?;
        if self.shared.host.memory.is_overloaded() {
            return Err(self.refused(Refused::Busy));
        }
        let client_address = client_address(&self.proxies, peer, headers);
        let network = Network::of(client_address);
        let seat = self.addresses.seat(network).or_else(|full| {
            // Sessions that were opened and left alone must not keep other clients out.
            match self.shared.polling.make_room(network) {
                true => self.addresses.seat(network),
                false => Err(full),
            }
        });
        let Ok(seat) = seat else {
            self.log_address(client_address, "it has as many connections as it may");
            return Err(self.refused(Refused::TooMany));
        };
        Ok(Admitted {
            client_address,
            headers: Headers::of(headers),
            for_meteor: self.for_meteor(headers, peer.ip().to_canonical()),
            seat,
        })
    }

    /// Who has sent a request that is passed to Meteor, on a connection with this activity.
    pub(super) fn requester(
        &self,
        headers: &HeaderMap,
        peer: SocketAddr,
        activity: Arc<Activity>,
    ) -> Requester {
        let address = peer.ip().to_canonical();
        Requester {
            peer: address,
            is_trusted: self.proxies.trusts(address),
            address: client_address(&self.proxies, peer, headers),
            activity,
        }
    }

    /// What Meteor is told of a client, if there is a Meteor server behind this one.
    fn for_meteor(&self, headers: &HeaderMap, peer: IpAddr) -> Option<ClientHeaders> {
        let gateway = self.shared.gateway.as_ref()?;
        Some(gateway.headers(headers, peer, self.proxies.trusts(peer)))
    }

    /// Refuses requests from pages of origins that are not allowed. Enough for requests that open
    /// no session or connection.
    pub(super) fn screen(&self, headers: &HeaderMap) -> Result<(), Refused> {
        self.origins.judge(headers).map_err(|refusal| {
            let refused = &self.shared.host.gauges.refused_origins;
            refused.fetch_add(1, Ordering::Relaxed);
            self.log(&refusal);
            match refusal {
                OriginRefusal::Host(_) => Refused::Host,
                OriginRefusal::Origin(_) | OriginRefusal::NoOrigin => Refused::Origin,
            }
        })
    }

    /// Counts a new SockJS session over HTTP, or says why there is no room for it.
    pub(super) fn admit_polling(
        &self,
        client_address: Option<IpAddr>,
    ) -> Result<CountedSession<PollingSession>, Refused> {
        let entered = self.shared.polling.enter(Network::of(client_address));
        entered.map_err(|full| match full {
            Full::Everywhere => self.refused(Refused::Busy),
            Full::Address => {
                let why = "it has as many SockJS sessions over HTTP as it may";
                self.log_address(client_address, why);
                self.refused(Refused::TooMany)
            }
        })
    }

    /// Refuses a request without a valid host, whatever its path.
    pub(super) fn require_host<B>(request: &Request<B>) -> Result<(), Refused> {
        match has_host(request.version(), request.headers()) {
            true => Ok(()),
            false => Err(Refused::NoHost),
        }
    }

    /// Finds the SockJS session that a request names, to send to it.
    ///
    /// An address that has named too many sessions which do not exist may be guessing: it gets 429
    /// for every session but those that it has opened itself.
    pub(super) fn find_session(
        &self,
        key: &SessionKey,
        headers: &HeaderMap,
        peer: SocketAddr,
    ) -> Result<Arc<PollingSession>, Refused> {
        let client_address = client_address(&self.proxies, peer, headers);
        let network = Network::of(client_address);
        let is_guessing = self.addresses.is_guessing(network, clock::now());
        let session = self.shared.polling.living(key);
        if let Some(session) = session.filter(|it| !is_guessing || it.network == network) {
            return Ok(session);
        }
        if is_guessing {
            self.log_address(
                client_address,
                "it asks for SockJS sessions that do not exist",
            );
            return Err(Refused::TooMany);
        }
        self.addresses.guessed(network, clock::now());
        Err(Refused::Unknown)
    }

    /// Which pages may have a page of this server in a frame.
    pub(super) fn frame_ancestors(&self) -> Option<&HeaderValue> {
        self.origins.frame_ancestors()
    }

    /// Names each origin once. Were there no bound on how many, anybody could fill the log.
    fn log(&self, refusal: &OriginRefusal) {
        if let OriginRefusal::Origin(origin) = refusal {
            let mut named = lock(&self.named_origins);
            let origin = shown(origin);
            if named.contains(&origin) {
                return;
            }
            if named.len() < NAMED_ORIGINS {
                tracing::warn!(
                    %origin,
                    "A request was refused: pages of this origin are not allowed. The setting \
                     origins.allowed (--allow-origin) allows them. It is not logged again."
                );
                named.insert(origin);
                return;
            }
        }
        let Some(left_out) = self.origins_log.left_out(clock::now()) else {
            return;
        };
        match refusal {
            OriginRefusal::Host(host) => tracing::warn!(
                host = %shown(host),
                left_out,
                "A request was refused: a loopback address answers to loopback hosts only. \
                 Another, such as a tunnel's, is allowed by the setting origins.allowed \
                 (--allow-origin), a proxy's by trusted_proxies (--trusted-proxies)."
            ),
            OriginRefusal::Origin(origin) => tracing::warn!(
                origin = %shown(origin),
                left_out,
                "A request was refused: pages of this origin are not allowed. The setting \
                 origins.allowed (--allow-origin) allows them."
            ),
            OriginRefusal::NoOrigin => tracing::warn!(
                left_out,
                "A request was refused: it has no Origin. The setting origins.allow_missing \
                 allows it."
            ),
        }
    }

    /// Counts a connection as refused.
    fn refused(&self, why: Refused) -> Refused {
        let refused = &self.shared.host.gauges.refused_connections;
        refused.fetch_add(1, Ordering::Relaxed);
        why
    }

    fn log_address(&self, address: Option<IpAddr>, why: &'static str) {
        if let Some(left_out) = self.addresses_log.left_out(clock::now()) {
            tracing::warn!(
                ?address,
                left_out,
                why,
                "Requests from an address are refused. If it is a proxy's, the setting \
                 trusted_proxies (--trusted-proxies) is not right."
            );
        }
    }
}

fn lock(named: &Mutex<HashSet<String>>) -> MutexGuard<'_, HashSet<String>> {
    // Nothing that can panic runs under the lock.
    named.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a client is not let in, as far as the client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Its request has no valid `Host`.
    NoHost,
    /// Its `Host` is not allowed.
    Host,
    /// Its `Origin` is not allowed.
    Origin,
    /// Its address has too many connections or sessions, or has sent too many requests.
    TooMany,
    /// The server has no room for any client.
    Busy,
    /// It asks for a session that does not exist.
    Unknown,
}

impl Refused {
    pub(super) fn answer(self) -> Response {
        let (status, text) = match self {
            Self::NoHost => (StatusCode::BAD_REQUEST, "Not a valid Host header"),
            Self::Host => (StatusCode::FORBIDDEN, "This host is not allowed"),
            Self::Origin => (StatusCode::FORBIDDEN, "This origin is not allowed"),
            Self::TooMany => (StatusCode::TOO_MANY_REQUESTS, "Too many requests"),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "Too much is queued"),
            Self::Unknown => (StatusCode::NOT_FOUND, "Not found"),
        };
        plain(status, text)
    }
}

/// Whether a request has exactly one `Host` that can be parsed. HTTP/1.0 needs none.
fn has_host(version: Version, headers: &HeaderMap) -> bool {
    match only(headers, header::HOST) {
        Some(host) => Authority::parse(host).is_some(),
        None => version < Version::HTTP_11 && !headers.contains_key(header::HOST),
    }
}

/// A peer's text for the log: escaped and cut.
fn shown(text: &str) -> String {
    let cut: String = text.chars().take(SHOWN).collect();
    format!("{cut:?}")
}
