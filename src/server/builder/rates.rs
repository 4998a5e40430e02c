//! Rules about how often clients may call methods and subscribe.

use super::Builder;
use crate::limit::{Limiter, RateLimit, RuleLimits};
use crate::method::Method;
use crate::publication::Publication;

/// The rules of the program, and those for logging in.
#[derive(Debug)]
pub(super) struct Rates {
    own: Vec<RateLimit>,
    login: Vec<RateLimit>,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            own: Vec::new(),
            login: RateLimit::login(),
        }
    }
}

impl Rates {
    /// The limiter that applies the rules to the registered methods and publications.
    pub(super) fn limiter(
        self,
        limits: RuleLimits,
        methods: &[Method],
        publications: &[Publication],
    ) -> Limiter {
        let mut rules = self.own;
        rules.extend(self.login);
        let methods = methods.iter().map(Method::name);
        let publications = publications.iter().map(Publication::name);
        Limiter::new(rules, methods, publications, limits.callers)
    }
}

impl Builder {
    /// Adds a rule about how often clients may call methods and subscribe: see [`RateLimit`]. A
    /// request that exceeds it fails with `too-many-requests`, as with Meteor's `ddp-rate-limiter`,
    /// and is counted in [`Stats::rate_limited`](crate::Stats::rate_limited). Each process counts
    /// by itself.
    #[must_use]
    pub fn rate_limit(mut self, rule: RateLimit) -> Self {
        self.rates.own.push(rule);
        self
    }

    /// Replaces the rules for logging in, which are those of [`RateLimit::login`] by default; `[]`
    /// switches them off. If no such method is registered, they cost nothing.
    #[must_use]
    pub fn login_rules(mut self, rules: impl IntoIterator<Item = RateLimit>) -> Self {
        self.rates.login = rules.into_iter().collect();
        self
    }
}
