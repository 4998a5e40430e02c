//! Rules about rates: which calls and subscriptions a rule counts, which of them together, and how
//! many are allowed.

use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::{Caller, HandlerKind, Key, RequestRate, network};

/// The methods of Meteor's accounts through which passwords and tokens can be guessed.
const LOGIN_METHODS: [&str; 4] = ["login", "createUser", "resetPassword", "forgotPassword"];

/// How often clients may call methods and subscribe: a rule of
/// [`Builder::rate_limit`](crate::Builder::rate_limit).
///
/// A rule counts all matching requests together, or separately by user, address, connection and
/// name. A request above the limit fails with `too-many-requests`, and so does each further one
/// until the interval is over; their handlers are not started. The interval begins with the first
/// counted request of a caller, so that the limit holds for each caller. In Meteor all counters of
/// a rule start again at the same moment. Without [`limit`](Self::limit) 10 requests are allowed
/// within a second.
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
/// Subscriptions that run again because the user has changed, and publications without a name, are
/// not counted.
pub struct RateLimit {
    kind: Option<HandlerKind>,
    name: Option<TextTest>,
    user: Option<UserTest>,
    address: Option<AddressTest>,
    connection: Option<TextTest>,
    /// Whether only failures are counted.
    counts_failures: bool,
    pub(super) rate: RequestRate,
}

type TextTest = Box<dyn Fn(&str) -> bool + Send + Sync>;
type UserTest = Box<dyn Fn(Option<&str>) -> bool + Send + Sync>;
type AddressTest = Box<dyn Fn(Option<IpAddr>) -> bool + Send + Sync>;

impl RateLimit {
    /// Counts calls of these methods, each method separately.
    #[must_use]
    pub fn methods(names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::every_method().per_name_in(names)
    }

    /// Counts calls of these methods that fail, each method separately. Successful calls are not
    /// limited, and do not reduce the count of failures.
    ///
    /// A running call counts as a failure until it has succeeded. So when many calls are made at
    /// once, no more are let through than may fail. A call is not counted if it fails because its
    /// client has left, or because the bus or the store of users cannot be reached.
    ///
    /// A `login` by resume token is never refused by such a rule, because real clients would take
    /// their token for invalid and forget it. It waits for its turn, at most for
    /// [`login_patience`](crate::config::HandlerSettings::login_patience). Then its connection is
    /// closed with 1013, and the client connects again.
    #[must_use]
    pub fn failed_methods(names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            counts_failures: true,
            ..Self::methods(names)
        }
    }

    /// Counts subscriptions to these publications, each publication separately.
    #[must_use]
    pub fn subscriptions(names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::every_subscription().per_name_in(names)
    }

    /// Counts calls of all methods together.
    #[must_use]
    pub fn every_method() -> Self {
        Self::of(Some(HandlerKind::Method))
    }

    /// Counts subscriptions to all publications together.
    #[must_use]
    pub fn every_subscription() -> Self {
        Self::of(Some(HandlerKind::Subscription))
    }

    /// Counts calls and subscriptions together.
    #[must_use]
    pub fn everything() -> Self {
        Self::of(None)
    }

    /// The default rules of [`Builder::login_rules`](crate::Builder::login_rules).
    ///
    /// For each of `login`, `createUser`, `resetPassword` and `forgotPassword` they allow 5 calls
    /// within 10 s for one connection, as Meteor does, and 1,000 [failures](Self::failed_methods)
    /// within 10 s for one address. The latter stops guessing over many connections, but not an
    /// office behind one address whose clients all come back at once. Loopback and private
    /// addresses are not counted: most often they are a proxy that is missing in
    /// [`trusted_proxies`](crate::Settings::trusted_proxies), with all clients behind it.
    #[must_use]
    pub fn login() -> Vec<Self> {
        let within = Duration::from_secs(10);
        vec![
            Self::methods(LOGIN_METHODS)
                .per_connection()
                .limit(5, within),
            Self::failed_methods(LOGIN_METHODS)
                .per_address_if(|address| address.is_some_and(is_public))
                .limit(1000, within),
        ]
    }

    /// Counts each name separately.
    #[must_use]
    pub fn per_name(self) -> Self {
        self.per_name_if(|_| true)
    }

    /// Counts only matching names, each separately. `matches` is called once per name, when the
    /// server is built.
    #[must_use]
    pub fn per_name_if(mut self, matches: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.name = Some(Box::new(matches));
        self
    }

    /// Counts each user separately. All clients that are not logged in count as one user.
    #[must_use]
    pub fn per_user(self) -> Self {
        self.per_user_if(|_| true)
    }

    /// Counts only matching users, each separately; `None` stands for a client that is not logged
    /// in. `matches` must not block.
    #[must_use]
    pub fn per_user_if(
        mut self,
        matches: impl Fn(Option<&str>) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.user = Some(Box::new(matches));
        self
    }

    /// Counts each [client address](crate::Connection::client_address) separately. An IPv6 network
    /// of 64 bits counts as one address, because a subscriber has at least that many addresses.
    /// Clients without a known address count as one.
    #[must_use]
    pub fn per_address(self) -> Self {
        self.per_address_if(|_| true)
    }

    /// Counts only matching client addresses, separately as [`per_address`](Self::per_address)
    /// does. `matches` must not block.
    #[must_use]
    pub fn per_address_if(
        mut self,
        matches: impl Fn(Option<IpAddr>) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.address = Some(Box::new(matches));
        self
    }

    /// Counts each connection separately.
    #[must_use]
    pub fn per_connection(self) -> Self {
        self.per_connection_if(|_| true)
    }

    /// Counts only connections whose [session id](crate::Connection::session_id) matches, each
    /// separately. The session id is a secret. `matches` must not block.
    #[must_use]
    pub fn per_connection_if(
        mut self,
        matches: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.connection = Some(Box::new(matches));
        self
    }

    /// Allows this many requests within this interval; further ones fail.
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

    /// Whether only failed requests are counted.
    pub(super) fn counts_failures(&self) -> bool {
        self.counts_failures
    }

    /// The key of a request, if the rule applies to this caller.
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

/// Whether an address is public: not of this machine, and not of a private network.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let is_shared = is_carrier_network(address);
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
fn is_carrier_network(address: Ipv4Addr) -> bool {
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
