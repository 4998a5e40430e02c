//! What a program says about rates: which calls and subscriptions a rule counts, which of them together, and how many
//! there may be.

use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::{Caller, HandlerKind, Key, RequestRate, network};

/// The methods of Meteor's accounts with which passwords and tokens can be guessed.
const LOGIN: [&str; 4] = ["login", "createUser", "resetPassword", "forgotPassword"];

/// How often clients may call methods and subscribe: a rule of [`Builder::rate_limit`](crate::Builder::rate_limit).
///
/// A rule counts all that it matches together, or apart by user, address, connection and name, as it says. The request
/// that exceeds the limit, and each one after it until the interval is over, fails with `too-many-requests`; its handler
/// is not started. The interval begins with the caller's first request that is counted, so that the limit holds for each
/// caller; in Meteor the counters of a rule all begin anew at the same moment. Without [`limit`](Self::limit) there may
/// be 10 within a second.
///
/// ```
/// use std::time::Duration;
/// use updraft::{RateLimit, Server};
///
/// let minute = Duration::from_secs(60);
/// let sending = || RateLimit::methods(["messages.add"]);
/// let builder = Server::builder()
///     // Each user may send 30 messages a minute, over whatever connections, and guests none.
///     .rate_limit(sending().per_user_if(|user| user.is_some()).limit(30, minute))
///     .rate_limit(sending().per_user_if(|user| user.is_none()).limit(0, minute))
///     // No connection subscribes more than 100 times a minute, whatever the publications.
///     .rate_limit(RateLimit::every_subscription().per_connection().limit(100, minute));
/// ```
///
/// Subscriptions that run again because the user has changed, and publications without a name, are not counted.
pub struct RateLimit {
    kind: Option<HandlerKind>,
    name: Option<TextTest>,
    user: Option<UserTest>,
    address: Option<AddressTest>,
    connection: Option<TextTest>,
    /// Whether what succeeds is not counted.
    counts_failures: bool,
    pub(super) rate: RequestRate,
}

type TextTest = Box<dyn Fn(&str) -> bool + Send + Sync>;
type UserTest = Box<dyn Fn(Option<&str>) -> bool + Send + Sync>;
type AddressTest = Box<dyn Fn(Option<IpAddr>) -> bool + Send + Sync>;

impl RateLimit {
    /// Counts these methods, each apart.
    #[must_use]
    pub fn methods(names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::every_method().per_name_in(names)
    }

    /// Counts calls of these methods that fail, each method apart. What succeeds may be as often as
    /// it likes, and does not make up for what has failed.
    ///
    /// A call that runs counts as one that fails until it has succeeded: so of many calls that are
    /// made at once no more are let through than may fail. One that fails because its client has
    /// left, or because the bus or the store of users is away, is not counted either.
    ///
    /// A `login` by resume token is never refused by such a rule, for real clients would take their
    /// token for bad and forget it. It waits for its turn, as long as
    /// [`login_patience`](crate::config::HandlerSettings::login_patience) says; then its connection
    /// is closed with 1013, and the client comes again.
    #[must_use]
    pub fn failed_methods(names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            counts_failures: true,
            ..Self::methods(names)
        }
    }

    /// Counts these publications, each apart.
    #[must_use]
    pub fn subscriptions(names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::every_subscription().per_name_in(names)
    }

    /// Counts all methods together.
    #[must_use]
    pub fn every_method() -> Self {
        Self::of(Some(HandlerKind::Method))
    }

    /// Counts all publications together.
    #[must_use]
    pub fn every_subscription() -> Self {
        Self::of(Some(HandlerKind::Subscription))
    }

    /// Counts methods and publications together.
    #[must_use]
    pub fn everything() -> Self {
        Self::of(None)
    }

    /// The rules of [`Builder::login_rules`](crate::Builder::login_rules) unless it says others.
    ///
    /// For each of `login`, `createUser`, `resetPassword` and `forgotPassword`: 5 within 10 s for
    /// one connection, as Meteor, and 1,000 [that fail](Self::failed_methods) within 10 s for one
    /// address. The latter is for guessing over many connections, and nothing to an office behind
    /// one address whose clients all come back at once. It does not count loopback and private
    /// addresses: those are most often a proxy of which
    /// [`trusted_proxies`](crate::Settings::trusted_proxies) was not told, and behind it is
    /// everybody.
    #[must_use]
    pub fn login() -> Vec<Self> {
        let within = Duration::from_secs(10);
        vec![
            Self::methods(LOGIN).per_connection().limit(5, within),
            Self::failed_methods(LOGIN)
                .per_address_if(|address| address.is_some_and(is_public))
                .limit(1000, within),
        ]
    }

    /// Counts each name apart.
    #[must_use]
    pub fn per_name(self) -> Self {
        self.per_name_if(|_| true)
    }

    /// Counts only names that match, each apart. Asked once per name, when the server is built.
    #[must_use]
    pub fn per_name_if(mut self, matches: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.name = Some(Box::new(matches));
        self
    }

    /// Counts each user apart; whoever is not logged in counts as one user.
    #[must_use]
    pub fn per_user(self) -> Self {
        self.per_user_if(|_| true)
    }

    /// Counts only users that match, each apart; `None` is whoever is not logged in. Must not block.
    #[must_use]
    pub fn per_user_if(
        mut self,
        matches: impl Fn(Option<&str>) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.user = Some(Box::new(matches));
        self
    }

    /// Counts each [client address](crate::Connection::client_address) apart, of IPv6 each network of 64 bits, for one
    /// subscriber has at least that many. Clients without an address count as one.
    #[must_use]
    pub fn per_address(self) -> Self {
        self.per_address_if(|_| true)
    }

    /// Counts only client addresses that match, apart as [`per_address`](Self::per_address) does. Must not block.
    #[must_use]
    pub fn per_address_if(
        mut self,
        matches: impl Fn(Option<IpAddr>) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.address = Some(Box::new(matches));
        self
    }

    /// Counts each connection apart.
    #[must_use]
    pub fn per_connection(self) -> Self {
        self.per_connection_if(|_| true)
    }

    /// Counts only connections whose [session id](crate::Connection::session_id), which is a secret, matches, each apart.
    /// Must not block.
    #[must_use]
    pub fn per_connection_if(
        mut self,
        matches: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.connection = Some(Box::new(matches));
        self
    }

    /// So many requests within this interval; one more fails.
    #[must_use]
    pub fn limit(mut self, requests: u32, interval: Duration) -> Self {
        self.rate = RequestRate {
            requests,
            within: interval,
        };
        self
    }

    fn of(kind: Option<HandlerKind>) -> Self {
        Self {
            kind,
            name: None,
            user: None,
            address: None,
            connection: None,
            counts_failures: false,
            rate: RequestRate {
                requests: 10,
                within: Duration::from_secs(1),
            },
        }
    }

    fn per_name_in(self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let names: HashSet<String> = names.into_iter().map(Into::into).collect();
        self.per_name_if(move |name| names.contains(name))
    }

    /// Whether it counts some requests of this name.
    pub(super) fn covers(&self, kind: HandlerKind, name: &str) -> bool {
        self.kind.is_none_or(|own| own == kind)
            && self.name.as_ref().is_none_or(|matches| matches(name))
    }

    /// Whether only requests that fail are counted.
    pub(super) fn counts_failures(&self) -> bool {
        self.counts_failures
    }

    /// What a request is counted by, if the rule is for this caller.
    pub(super) fn key(&self, kind: HandlerKind, number: usize, caller: &Caller) -> Option<Key> {
        let user = caller.user.as_deref();
        let is_meant = self.user.as_ref().is_none_or(|matches| matches(user))
            && self.address.as_ref().is_none_or(|it| it(caller.address))
            && self
                .connection
                .as_ref()
                .is_none_or(|it| it(&caller.connection));
        is_meant.then(|| Key {
            handler: self.name.as_ref().map(|_| (kind, number)),
            user: self.user.as_ref().and_then(|_| caller.user.clone()),
            address: self.address.as_ref().and(caller.address).map(network),
            connection: self.connection.as_ref().map(|_| caller.connection.clone()),
        })
    }
}

impl fmt::Debug for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit")
            .field("kind", &self.kind)
            .field("rate", &self.rate)
            .finish_non_exhaustive()
    }
}

/// Whether an address is somebody's on the internet, and not of this machine or of a network of one's own.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let is_shared = network_of_carriers(address);
            let is_own = address.is_loopback() || address.is_private() || address.is_link_local();
            !(is_own || is_shared || address.is_unspecified())
        }
        IpAddr::V6(address) => {
            let is_own = address.is_unique_local() || address.is_unicast_link_local();
            !(is_own || address.is_loopback() || address.is_unspecified())
        }
    }
}

/// 100.64.0.0/10: between carriers and their customers, and inside clusters.
fn network_of_carriers(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    first == 100 && second & 0b1100_0000 == 64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_062_public_addresses_are_told_from_ones_own() {
        for own in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.1.1",
            "100.64.0.1",
            "100.127.255.255",
            "0.0.0.0",
            "::1",
            "fd00::1",
            "fe80::1",
            "::",
        ] {
            assert!(!is_public(own.parse().unwrap()), "{own}");
        }
        for public in ["203.0.113.7", "100.128.0.1", "172.32.0.1", "2001:db8::1"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }
}
