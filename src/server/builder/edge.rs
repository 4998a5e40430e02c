//! Whom the server lets in, and how often they may ask: origins, proxies, addresses, rates.

use std::time::Duration;

use super::Builder;
use crate::base::error::Error;
use crate::limit::{Limiter, Rate, Rule};
use crate::method::Method;
use crate::publication::Publication;
use crate::server::HealthChecks;
use crate::server::address::{Subnet, TrustedProxies};
use crate::server::origin::Allowed;

/// The rules about rates.
#[derive(Debug)]
pub(super) struct Rates {
    own: Vec<Rule>,
    login: Vec<Rule>,
    /// Callers that one rule tells apart at a time.
    counters: usize,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            own: Vec::new(),
            login: Rule::login(),
            counters: 100_000,
        }
    }
}

impl Rates {
    /// Puts the rules to work for what is registered.
    pub(super) fn limiter(self, methods: &[Method], publications: &[Publication]) -> Limiter {
        let mut rules = self.own;
        rules.extend(self.login);
        let methods = methods.iter().map(Method::name);
        let publications = publications.iter().map(Publication::name);
        Limiter::new(rules, methods, publications, self.counters)
    }
}

impl Builder {
    /// How many proxies stand between clients and this server, each of which appends the address that it is asked from
    /// to `X-Forwarded-For`: none by default. It is Meteor's `HTTP_FORWARDED_COUNT`.
    ///
    /// [`client_address`](crate::Connection::client_address) is then the entry that many from the right; what a client
    /// writes there itself stands further left and is not looked at. Up to 3.2.1 Meteor did the same; later versions want
    /// exactly that many entries, so that any client may have no address. Too high a number lets clients choose their
    /// address, too low a one gives all of them that of a proxy.
    ///
    /// The proxies' `X-Forwarded-Host` counts as the host by which the server was asked, and a loopback address is no
    /// longer for this machine alone: see [`allow_origin`](Self::allow_origin).
    #[must_use]
    pub fn trusted_proxies(mut self, hops: usize) -> Self {
        self.edge.trusted_proxies = TrustedProxies::Hops(hops);
        self
    }

    /// As [`trusted_proxies`](Self::trusted_proxies), for proxies that are known by their
    /// addresses, and not by their number: addresses such as `192.0.2.1` and networks such as
    /// `10.0.0.0/8`. Where the socket's other end is one of them,
    /// [`client_address`](crate::Connection::client_address) is the last entry of `X-Forwarded-For`
    /// that is none; whoever else asks is the client itself, whatever it says. Of the two methods
    /// the one that is called last counts.
    #[must_use]
    pub fn trusted_proxy_networks(
        mut self,
        networks: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Self {
        let mut known = Vec::new();
        for network in networks {
            let network = network.as_ref();
            match Subnet::parse(network) {
                Some(network) => known.push(network),
                None => {
                    let text = format!(
                        "trusted proxy {network:?}: not an address or a network, such as \
                         10.0.0.0/8"
                    );
                    self.mistake
                        .get_or_insert_with(|| Error::configuration(text));
                }
            }
        }
        self.edge.trusted_proxies = TrustedProxies::Networks(known);
        self
    }

    /// Lets pages of this origin talk to the server: `https://app.example.com`, `https://app.example.com:8443`,
    /// `https://*.example.com` for all names below `example.com`, or `null` for pages that have none. May be called
    /// several times.
    ///
    /// Without it these may: pages of the server's own origin, which is that of the `Host` they ask for, and programs,
    /// which send no `Origin`. A server that listens on a loopback address, without
    /// [`trusted_proxies`](Self::trusted_proxies), also answers to pages of this machine, on any port; but only if it was
    /// asked for as `localhost`, `127.…`, `[::1]` or the host of an allowed origin, for a page may have a name of its own
    /// point here. Anything else is 403, before the WebSocket handshake or a SockJS session; the log says so, and it is
    /// counted in [`Stats::refused_origins`](crate::Stats::refused_origins). SockJS's page for frames is sent with a
    /// `Content-Security-Policy` by which browsers show it within the same pages only.
    ///
    /// This is about DDP and SockJS. [Routes](Self::route) answer whoever asks, as their filters say.
    #[must_use]
    pub fn allow_origin(mut self, origin: &str) -> Self {
        match Allowed::parse(origin) {
            Some(allowed) => self.edge.origins.allowed.push(allowed),
            None => {
                let text = format!(
                    "origin {origin:?}: its form is https://app.example.com, without a path"
                );
                self.mistake
                    .get_or_insert_with(|| Error::configuration(text));
            }
        }
        self
    }

    /// Whether a request without an `Origin` is let in: yes by default, for only browsers send one. What a browser says
    /// is from the server's own page is let in in any case; and what it says is from another site, a script for example,
    /// goes by its `Referer`.
    #[must_use]
    pub fn allow_missing_origin(mut self, allows: bool) -> Self {
        self.edge.origins.missing = allows;
        self
    }

    /// Lets pages of any origin talk to the server, whatever host they ask for. Then any site may use it with its
    /// visitors' browsers, from their networks: for what is public anyway, and for tests.
    #[must_use]
    pub fn allow_any_origin(mut self) -> Self {
        self.edge.origins.any = true;
        self
    }

    /// Connections that one [client address](crate::Connection::client_address) may have, SockJS
    /// sessions among them; of IPv6, one network of 64 bits. With one more, the oldest of its
    /// SockJS sessions over HTTP that has not said `connect` ends; if there is none, the new one is
    /// answered with 429.
    ///
    /// There is no such limit by default: a school, a company or a carrier is one address, and behind a proxy that
    /// [`trusted_proxies`](Self::trusted_proxies) does not know everybody is.
    #[must_use]
    pub fn connections_per_address(mut self, connections: usize) -> Self {
        self.edge.per_address = Some(connections);
        self
    }

    /// How often one client address may send to a SockJS session that does not exist: 1,000 times
    /// within 60 s by default. After that, until the time is over, what it sends to sessions that
    /// do not exist, or that another address has opened, is answered with 429: it cannot find out
    /// sessions of others by guessing. Everything else goes on, its own sessions too.
    ///
    /// A load balancer that does not keep a session on one server has honest clients send to
    /// sessions that are elsewhere.
    #[must_use]
    pub fn unknown_session_limit(mut self, requests: u32, within: Duration) -> Self {
        self.edge.guesses = Rate { requests, within };
        self
    }

    /// Answers load balancers, at `/healthz` and `/readyz` or where `checks` says; by default there
    /// is nothing there.
    ///
    /// The first is 200 as long as the process answers: it is for whoever restarts processes, and
    /// restarting helps against nothing else. The second is 200 while new clients may come, and 503
    /// while the server shuts down, while the bus is away, and while more is queued than
    /// [`memory_limit`](Self::memory_limit) allows: it is for whoever sends clients here, and those
    /// that are here stay. Both answer `GET`, `HEAD` and `OPTIONS`, whatever the `Host` and the
    /// `Origin`, before all routes, and without the [path prefix](Self::path_prefix).
    ///
    /// ```
    /// # use updraft::prelude::*;
    /// use updraft::HealthChecks;
    ///
    /// let builder = Server::builder().health_checks(HealthChecks::new());
    /// ```
    #[must_use]
    pub fn health_checks(mut self, checks: HealthChecks) -> Self {
        self.health = Some(checks);
        self
    }

    /// Adds a rule of how often clients may call methods and subscribe: see [`Rule`]. What exceeds it fails with
    /// `too-many-requests`, as with Meteor's `ddp-rate-limiter`, and is counted in
    /// [`Stats::rate_limited`](crate::Stats::rate_limited). Rules count in this process only.
    #[must_use]
    pub fn rate_limit(mut self, rule: Rule) -> Self {
        self.rates.own.push(rule);
        self
    }

    /// Replaces the rules for logging in, which are those of [`Rule::login`] by default; `[]` switches them off. Where no
    /// such method is registered they cost nothing.
    #[must_use]
    pub fn login_rules(mut self, rules: impl IntoIterator<Item = Rule>) -> Self {
        self.rates.login = rules.into_iter().collect();
        self
    }

    /// How many callers one rule tells apart at a time: 100,000 by default. With more, all begin anew, and the log says
    /// so.
    #[must_use]
    pub fn rate_limit_counters(mut self, callers: usize) -> Self {
        self.rates.counters = callers;
        self
    }
}
