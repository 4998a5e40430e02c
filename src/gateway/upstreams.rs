//! The Meteor servers, and which of them accept connections.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::address::UpstreamAddress;

/// The processes of one app.
#[derive(Debug)]
pub(super) struct Upstreams {
    addresses: Vec<UpstreamAddress>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// When each has refused a connection, unless it has accepted one since.
    refused: Vec<Option<Instant>>,
    /// Since when none has accepted a connection, if one was refused.
    failing: Option<Instant>,
}

impl Upstreams {
    pub(super) fn new(addresses: Vec<UpstreamAddress>) -> Self {
        let state = State {
            refused: vec![None; addresses.len()],
            failing: None,
        };
        Self {
            addresses,
            state: Mutex::new(state),
        }
    }

    pub(super) fn address(&self, number: usize) -> Option<&UpstreamAddress> {
        self.addresses.get(number)
    }

    pub(super) fn count(&self) -> usize {
        self.addresses.len()
    }

    /// The servers to try for a client, in this order. It begins with the server that it has
    /// `named`; else a client of one address always begins with the same one. Those that have
    /// refused a connection within `left_out` are not among them.
    pub(super) fn candidates(
        &self,
        client: Option<IpAddr>,
        named: Option<usize>,
        left_out: Duration,
        now: Instant,
    ) -> Vec<usize> {
        let state = self.lock();
        let is_out = |refused: &Option<Instant>| {
            refused.is_some_and(|at| now.saturating_duration_since(at) < left_out)
        };
        let servers = state.refused.iter().enumerate();
        let mut numbers: Vec<usize> = servers
            .filter(|(_, refused)| !is_out(refused))
            .map(|(number, _)| number)
            .collect();
        numbers.sort_by_cached_key(|number| {
            let mut hasher = DefaultHasher::new();
            (client, number).hash(&mut hasher);
            (named != Some(*number), hasher.finish())
        });
        numbers
    }

    /// A server has accepted a connection, or at least answers again. Returns whether that is news.
    pub(super) fn accepted(&self, number: usize) -> bool {
        let mut state = self.lock();
        state.failing = None;
        let refused = state.refused.get_mut(number);
        refused.is_some_and(|refused| refused.take().is_some())
    }

    /// A server listens again. It may still refuse what it is asked.
    pub(super) fn listens(&self, number: usize) {
        if let Some(refused) = self.lock().refused.get_mut(number) {
            *refused = None;
        }
    }

    /// A server has refused a connection.
    pub(super) fn refused(&self, number: usize, now: Instant) {
        let mut state = self.lock();
        state.failing.get_or_insert(now);
        if let Some(refused) = state.refused.get_mut(number) {
            *refused = Some(now);
        }
    }

    /// How long no server has accepted a connection, although they were asked.
    pub(super) fn failing_for(&self, now: Instant) -> Duration {
        let failing = self.lock().failing;
        failing.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// The servers that have refused a connection.
    pub(super) fn out(&self) -> Vec<usize> {
        let state = self.lock();
        let servers = state.refused.iter().enumerate();
        let out = servers.filter(|(_, refused)| refused.is_some());
        out.map(|(number, _)| number).collect()
    }

    /// Whether a server is there that has not refused its latest connection.
    pub(super) fn any_accepts(&self) -> bool {
        self.lock().refused.iter().any(Option::is_none)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;

    const LEFT_OUT: Duration = Duration::from_secs(5);

    fn three() -> Upstreams {
        let urls = ["http://a", "http://b", "http://c"];
        let addresses = urls.map(|url| UpstreamAddress::parse(url).unwrap());
        Upstreams::new(addresses.into())
    }

    fn client(number: u8) -> Option<IpAddr> {
        Some(IpAddr::from([10, 0, 0, number]))
    }

    #[test]
    fn gateway_043_a_client_keeps_its_server_and_clients_are_spread() {
        let (upstreams, now) = (three(), clock::now());
        let mut firsts = [0; 3];
        for number in 0..=255 {
            let order = upstreams.candidates(client(number), None, LEFT_OUT, now);
            assert_eq!(order.len(), 3);
            assert_eq!(
                order,
                upstreams.candidates(client(number), None, LEFT_OUT, now)
            );
            firsts[order[0]] += 1;
        }
        assert!(firsts.iter().all(|count| *count > 50), "{firsts:?}");
    }

    #[test]
    fn gateway_044_who_refuses_is_left_out_for_a_while() {
        let (upstreams, now) = (three(), clock::now());
        let order = upstreams.candidates(client(1), None, LEFT_OUT, now);
        upstreams.refused(order[0], now);
        assert_eq!(
            upstreams.candidates(client(1), None, LEFT_OUT, now),
            order[1..],
            "the others keep their order"
        );
        assert_eq!(
            upstreams.candidates(client(1), None, LEFT_OUT, now + LEFT_OUT),
            order
        );
        assert_eq!(upstreams.out(), [order[0]]);
        assert!(upstreams.any_accepts());
        assert_eq!(upstreams.failing_for(now + LEFT_OUT), LEFT_OUT);
        assert!(upstreams.accepted(order[0]));
        assert!(!upstreams.accepted(order[0]), "no news");
        assert_eq!(upstreams.failing_for(now + LEFT_OUT), Duration::ZERO);
        assert_eq!(upstreams.candidates(client(1), None, LEFT_OUT, now), order);
    }

    #[test]
    fn gateway_089_a_client_that_names_a_server_begins_there() {
        let (upstreams, now) = (three(), clock::now());
        let order = upstreams.candidates(client(1), None, LEFT_OUT, now);
        let named = order[2];
        let begun = upstreams.candidates(client(1), Some(named), LEFT_OUT, now);
        assert_eq!(begun, [named, order[0], order[1]]);
        upstreams.refused(named, now);
        let begun = upstreams.candidates(client(1), Some(named), LEFT_OUT, now);
        assert_eq!(begun, order[..2], "as long as it lives");
    }
}
