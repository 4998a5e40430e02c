//! Rate limits, and limits for one address. This module knows names, users and addresses, but no
//! sockets and sessions, and gets the time from its callers. All shards share it; it locks only
//! where something is limited.

mod addresses;
mod counters;
mod rate_limit;

pub use addresses::AddressLimits;
pub(crate) use addresses::{Addresses, Seat};
pub use counters::RequestRate;
pub use rate_limit::RateLimit;

use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use crate::base::ThrottledLog;
use counters::Counters;

/// How much rate limits may remember.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RuleLimits {
    /// Callers that one rule tells apart at a time: 100,000 by default. With more, all counters
    /// start again, which is logged.
    pub callers: usize,
}

impl Default for RuleLimits {
    fn default() -> Self {
        Self { callers: 100_000 }
    }
}

/// What kind of handler is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum HandlerKind {
    Method,
    Subscription,
}

/// The caller of a method, or the subscriber of a publication.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) user: Option<Box<str>>,
    pub(crate) address: Option<IpAddr>,
    /// The session's id.
    pub(crate) connection: Box<str>,
}

/// The properties by which a rule counts separately. A property that it ignores is `None` in all
/// its keys.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    handler: Option<(HandlerKind, usize)>,
    user: Option<Box<str>>,
    address: Option<IpAddr>,
    connection: Option<Box<str>>,
}

/// The rules of a server, and their counters.
#[derive(Debug)]
pub(crate) struct Limiter {
    rules: Vec<CountedRule>,
    /// The rules that count all calls of a method, by the number of the method.
    methods: Vec<Box<[usize]>>,
    /// The rules that count failed calls of a method, by the number of the method.
    failures: Vec<Box<[usize]>>,
    /// The rules for a publication, by the number of the publication.
    publications: Vec<Box<[usize]>>,
    /// Throttles the log line about refused requests.
    pub(crate) log: ThrottledLog,
}

#[derive(Debug)]
struct CountedRule {
    rule: RateLimit,
    counters: Counters<Key>,
}

/// A call that counts as failed, in each rule about failures: the index of the rule, the key, and
/// the start of the span.
pub(crate) struct Reserved(Vec<(usize, Key, Instant)>);

impl Limiter {
    /// Methods and publications are numbered in the order of these names. A publication without a
    /// name is not limited.
    pub(crate) fn new<'a>(
        rules: Vec<RateLimit>,
        methods: impl Iterator<Item = &'a str>,
        publications: impl Iterator<Item = &'a str>,
        counters: usize,
    ) -> Self {
        let covering = |kind, name: &str, failures: bool| {
            let numbered = rules.iter().enumerate();
            let covering = numbered.filter(|(_, rule)| {
                !name.is_empty() && rule.counts_failures() == failures && rule.covers(kind, name)
            });
            covering.map(|(at, _)| at).collect()
        };
        let (methods, failures) = methods
            .map(|name| [false, true].map(|failures| covering(HandlerKind::Method, name, failures)))
            .map(|[all, failures]| (all, failures))
            .unzip();
        Self {
            log: ThrottledLog::default(),
            methods,
            failures,
            publications: publications
                .map(|name| covering(HandlerKind::Subscription, name, false))
                .collect(),
            rules: rules
                .into_iter()
                .map(|rule| CountedRule {
                    counters: Counters::new(rule.rate, counters),
                    rule,
                })
                .collect(),
        }
    }

    /// Counts a call. If it exceeds a limit, returns how long until another is allowed.
    pub(crate) fn call(
        &self,
        method: usize,
        caller: impl FnOnce() -> Caller,
        now: Instant,
    ) -> Option<Duration> {
        let rules = self.methods.get(method)?;
        self.count(rules, HandlerKind::Method, method, caller, now)
    }

    /// Whether there are rules about failed calls of a method.
    pub(crate) fn counts_failures(&self, method: usize) -> bool {
        let rules = self.failures.get(method);
        rules.is_some_and(|rules| !rules.is_empty())
    }

    /// Counts a call as failed until [`take_back`](Self::take_back). If it exceeds a limit, returns
    /// how long until another is allowed, unless one that runs succeeds before.
    pub(crate) fn reserve(
        &self,
        method: usize,
        caller: &Caller,
        now: Instant,
    ) -> Result<Reserved, Duration> {
        let mut reserved = Reserved(Vec::new());
        let mut longest = None;
        for at in self.failures.get(method).into_iter().flatten() {
            let rule = self.rules.get(*at);
            let key =
                rule.and_then(|it| Some((it, it.rule.key(HandlerKind::Method, method, caller)?)));
            let Some((CountedRule { counters, .. }, key)) = key else {
                continue;
            };
            match counters.reserve(key.clone(), now) {
                Ok(since) => reserved.0.push((*at, key, since)),
                Err(wait) => longest = longest.max(Some(wait)),
            }
        }
        let Some(longest) = longest else {
            return Ok(reserved);
        };
        self.take_back(reserved);
        Err(longest)
    }

    /// A call has not failed after all.
    pub(crate) fn take_back(&self, Reserved(reserved): Reserved) {
        for (at, key, since) in reserved {
            if let Some(CountedRule { counters, .. }) = self.rules.get(at) {
                counters.take_back(&key, since);
            }
        }
    }

    /// Counts a subscription. If it exceeds a limit, returns how long until another is allowed.
    pub(crate) fn subscribe(
        &self,
        publication: usize,
        caller: impl FnOnce() -> Caller,
        now: Instant,
    ) -> Option<Duration> {
        let rules = self.publications.get(publication)?;
        self.count(rules, HandlerKind::Subscription, publication, caller, now)
    }

    fn count(
        &self,
        rules: &[usize],
        kind: HandlerKind,
        number: usize,
        caller: impl FnOnce() -> Caller,
        now: Instant,
    ) -> Option<Duration> {
        if rules.is_empty() {
            return None;
        }
        let caller = caller();
        // Each rule counts, including requests that another rule refuses.
        let waits = rules.iter().filter_map(|at| {
            let CountedRule { rule, counters } = self.rules.get(*at)?;
            counters.count(rule.key(kind, number, &caller)?, now)
        });
        waits.max()
    }
}

/// What counts as one address. Clients without a known address count as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Network(Option<IpAddr>);

impl Network {
    pub(crate) fn of(address: Option<IpAddr>) -> Self {
        Self(address.map(network))
    }
}

/// The upper half of an IPv6 address, because the lower half belongs to one subscriber.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let bits = address.to_bits() >> 64 << 64;
            Ipv6Addr::from_bits(bits).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;

    const MINUTE: Duration = Duration::from_secs(60);

    fn caller(user: Option<&str>, address: &str, connection: &str) -> Caller {
        Caller {
            user: user.map(Into::into),
            address: address.parse().ok(),
            connection: connection.into(),
        }
    }

    fn limiter(rules: Vec<RateLimit>) -> Limiter {
        let methods = ["login", "add"].into_iter();
        Limiter::new(rules, methods, ["", "room"].into_iter(), 100)
    }

    /// Whether each caller in turn is let through.
    fn calls<const N: usize>(limiter: &Limiter, method: usize, callers: [Caller; N]) -> [bool; N] {
        let now = clock::now();
        callers.map(|caller| limiter.call(method, || caller, now).is_none())
    }

    #[test]
    fn row_060_what_a_rule_does_not_tell_apart_is_counted_together() {
        let a = caller(Some("a"), "192.0.2.1", "1");
        let b = caller(None, "192.0.2.2", "2");
        let together = limiter(vec![RateLimit::everything().limit(2, MINUTE)]);
        assert_eq!(calls(&together, 0, [a.clone(), b.clone()]), [true, true]);
        assert_eq!(calls(&together, 1, [a.clone(), b.clone()]), [false, false]);
        assert!(together.subscribe(1, || a.clone(), clock::now()).is_some());
        let universal = together.subscribe(0, || a.clone(), clock::now());
        assert_eq!(universal, None, "a publication without a name");
        for apart in [
            RateLimit::every_method().per_user(),
            RateLimit::every_method().per_address(),
            RateLimit::every_method().per_connection(),
        ] {
            let limiter = limiter(vec![apart.limit(1, MINUTE)]);
            let callers = [a.clone(), b.clone(), a.clone(), b.clone()];
            assert_eq!(calls(&limiter, 0, callers), [true, true, false, false]);
            assert!(limiter.subscribe(1, || a.clone(), clock::now()).is_none());
        }
        let names = limiter(vec![RateLimit::everything().per_name().limit(1, MINUTE)]);
        assert_eq!(calls(&names, 0, [a.clone(), b.clone()]), [true, false]);
        assert_eq!(calls(&names, 1, [a, b]), [true, false]);
    }

    #[test]
    fn row_060_a_rule_is_for_those_that_match() {
        let guest = caller(None, "192.0.2.1", "1");
        let user = caller(Some("u"), "192.0.2.1", "1");
        let guests = RateLimit::methods(["add"]).per_user_if(|user| user.is_none());
        let limiter = limiter(vec![guests.limit(0, MINUTE)]);
        assert_eq!(calls(&limiter, 1, [guest.clone(), user]), [false, true]);
        assert_eq!(calls(&limiter, 0, [guest]), [true], "another method");
    }

    #[test]
    fn row_060_the_longest_wait_of_all_rules_is_told_and_all_have_counted() {
        let rules = vec![
            RateLimit::every_method().limit(0, MINUTE),
            RateLimit::methods(["login"]).limit(1, 2 * MINUTE),
        ];
        let limiter = limiter(rules);
        let now = clock::now();
        let call = || limiter.call(0, || caller(None, "", "1"), now);
        assert_eq!(call(), Some(MINUTE));
        assert_eq!(call(), Some(2 * MINUTE));
    }

    #[test]
    fn row_062_logins_are_limited_per_connection_and_per_public_address() {
        let limiter = limiter(RateLimit::login());
        let logins = |address: &str, connections: u32| {
            let now = clock::now();
            let callers = (0..connections).map(|n| caller(None, address, &n.to_string()));
            let through = callers.filter(|it| {
                let is_let_through = limiter.call(0, || it.clone(), now).is_none();
                is_let_through && limiter.reserve(0, it, now).is_ok()
            });
            through.count()
        };
        assert_eq!(logins("203.0.113.7", 1500), 1000, "none has succeeded");
        assert_eq!(logins("2001:db8::1", 600), 600);
        assert_eq!(logins("2001:db8::2", 600), 400, "the same network");
        assert_eq!(logins("127.0.0.1", 1500), 1500, "most likely a proxy");
        let one = caller(None, "127.0.0.1", "other");
        let many = [(); 7].map(|()| one.clone());
        let expected = [true, true, true, true, true, false, false];
        assert_eq!(calls(&limiter, 0, many), expected);
        assert_eq!(calls(&limiter, 1, [one]), [true], "no login");
    }

    #[test]
    fn found_103_only_calls_that_fail_are_counted_by_address() {
        let limiter = limiter(RateLimit::login());
        let now = clock::now();
        let by = |connection: usize| caller(None, "203.0.113.7", &connection.to_string());
        for n in 0..4996 {
            let reserved = limiter
                .reserve(0, &by(n), now)
                .unwrap_or_else(|_| panic!("{n}"));
            // An attacker who mixes: each fifth is a guess, and fails.
            if n % 5 != 0 {
                limiter.take_back(reserved);
            }
        }
        assert!(limiter.reserve(0, &by(5000), now).is_err(), "no guess more");
        assert!(limiter.reserve(1, &by(5000), now).is_ok(), "no login");
        assert!(limiter.counts_failures(0) && !limiter.counts_failures(1));
    }

    #[test]
    fn found_103_what_one_rule_refuses_no_rule_counts() {
        let failed = || RateLimit::failed_methods(["login"]);
        let limiter = limiter(vec![
            failed().per_address().limit(2, MINUTE),
            failed().per_connection().limit(1, 2 * MINUTE),
        ]);
        let now = clock::now();
        let reserve = |connection: &str| {
            let by = caller(None, "203.0.113.7", connection);
            limiter.reserve(0, &by, now).map(drop)
        };
        assert_eq!(reserve("a"), Ok(()));
        assert_eq!(reserve("a"), Err(2 * MINUTE));
        assert_eq!(reserve("b"), Ok(()), "the address had one left");
        assert_eq!(reserve("c"), Err(MINUTE));
    }
}
