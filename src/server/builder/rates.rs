//! Rules of how often clients may ask.

use super::Builder;
use crate::limit::{Limiter, RateLimit, RuleLimits};
use crate::method::Method;
use crate::publication::Publication;

/// The rules about rates.
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
    /// Puts the rules to work for what is registered.
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
    /// Adds a rule of how often clients may call methods and subscribe: see [`RateLimit`]. What exceeds
    /// it fails with `too-many-requests`, as with Meteor's `ddp-rate-limiter`, and is counted in
    /// [`Stats::rate_limited`](crate::Stats::rate_limited). Rules count in this process only.
    #[must_use]
    pub fn rate_limit(mut self, rule: RateLimit) -> Self {
        self.rates.own.push(rule);
        self
    }

    /// Replaces the rules for logging in, which are those of [`RateLimit::login`] by default; `[]`
    /// switches them off. Where no such method is registered they cost nothing.
    #[must_use]
    pub fn login_rules(mut self, rules: impl IntoIterator<Item = RateLimit>) -> Self {
        self.rates.login = rules.into_iter().collect();
        self
    }
}
