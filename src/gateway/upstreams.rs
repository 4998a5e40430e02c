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
    /// In the order of their addresses.
    servers: Vec<Server>,
    /// Since when none has accepted a connection, if one was refused.
    failing: Option<Instant>,
}

/// What is known of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Server {
    /// It was never asked, or has accepted its latest connection.
    Accepts,
    /// It has refused its latest connection.
    Refuses {
        /// When that was, or when a client was sent to see whether it still does.
        since: Instant,
        /// Whether somebody is at its port, who does not serve. Only a client can see when that
        /// changes.
        listens: bool,
    },
}

impl Server {
    /// Whether no client is sent there at the moment.
    fn is_out(&self, left_out: Duration, now: Instant) -> bool {
        match self {
            Self::Accepts => false,
            Self::Refuses { since, .. } => now.saturating_duration_since(*since) < left_out,
        }
    }
}

impl Upstreams {
    pub(super) fn new(addresses: Vec<UpstreamAddress>) -> Self {
        let state = State {
            servers: vec![Server::Accepts; addresses.len()],
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
        let servers = state.servers.iter().enumerate();
        let mut numbers: Vec<usize> = servers
            .filter(|(_, server)| !server.is_out(left_out, now))
            .map(|(number, _)| number)
            .collect();
        numbers.sort_by_cached_key(|number| {
            let mut hasher = DefaultHasher::new();
            (client, number).hash(&mut hasher);
            (named != Some(*number), hasher.finish())
        });
        numbers
    }

    /// Whether a client may be sent to one of its candidates now. To one that has refused a
    /// connection only one client is sent within `left_out`, because it may hang, and all who are
    /// sent to it with it.
    pub(super) fn may_try(&self, number: usize, left_out: Duration, now: Instant) -> bool {
        match self.lock().servers.get_mut(number) {
            Some(server) if server.is_out(left_out, now) => false,
            Some(Server::Refuses { since, .. }) => {
                *since = now;
                true
            }
            Some(Server::Accepts) => true,
            None => false,
        }
    }

    /// A server has accepted a connection, or at least answers again. Returns whether that is news.
    pub(super) fn accepted(&self, number: usize) -> bool {
        let mut state = self.lock();
        state.failing = None;
        let server = state.servers.get_mut(number);
        server.is_some_and(|server| std::mem::replace(server, Server::Accepts) != Server::Accepts)
    }

    /// A server listens again that did not. It may still refuse what it is asked.
    pub(super) fn listens(&self, number: usize) {
        if let Some(server) = self.lock().servers.get_mut(number) {
            *server = Server::Accepts;
        }
    }

    /// A server has refused a connection, although it `listens`, or because it does not.
    pub(super) fn refused(&self, number: usize, listens: bool, now: Instant) {
        let mut state = self.lock();
        state.failing.get_or_insert(now);
        if let Some(server) = state.servers.get_mut(number) {
            *server = Server::Refuses {
                since: now,
                listens,
            };
        }
    }

    /// How long no server has accepted a connection, although they were asked.
    pub(super) fn failing_for(&self, now: Instant) -> Duration {
        let failing = self.lock().failing;
        failing.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// How many servers have refused their latest connection.
    pub(super) fn away(&self) -> usize {
        let state = self.lock();
        let servers = state.servers.iter();
        servers.filter(|it| **it != Server::Accepts).count()
    }

    /// The servers that did not listen.
    pub(super) fn unreachable(&self) -> Vec<usize> {
        let state = self.lock();
        let servers = state.servers.iter().enumerate();
        let away = servers.filter(|(_, it)| matches!(it, Server::Refuses { listens: false, .. }));
        away.map(|(number, _)| number).collect()
    }

    /// Whether a server is there to which a client may be sent.
    pub(super) fn any_accepts(&self, left_out: Duration, now: Instant) -> bool {
        self.lock().servers.iter().any(|server| match server {
            Server::Refuses { listens: false, .. } => false,
            server => !server.is_out(left_out, now),
        })
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
        upstreams.refused(order[0], true, now);
        assert_eq!(
            upstreams.candidates(client(1), None, LEFT_OUT, now),
            order[1..],
            "the others keep their order"
        );
        assert_eq!(
            upstreams.candidates(client(1), None, LEFT_OUT, now + LEFT_OUT),
            order
        );
        assert_eq!(upstreams.away(), 1);
        assert!(upstreams.any_accepts(LEFT_OUT, now));
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
        upstreams.refused(named, false, now);
        let begun = upstreams.candidates(client(1), Some(named), LEFT_OUT, now);
        assert_eq!(begun, order[..2], "as long as it lives");
    }

    #[test]
    fn gateway_099_one_client_at_a_time_finds_out_whether_a_server_still_refuses() {
        let (upstreams, now) = (three(), clock::now());
        assert!((0..3).all(|number| upstreams.may_try(number, LEFT_OUT, now)));
        for listens in [true, false] {
            let later = now + LEFT_OUT;
            upstreams.refused(1, listens, now);
            assert!(!upstreams.may_try(1, LEFT_OUT, now));
            assert!(upstreams.may_try(1, LEFT_OUT, later), "one is sent");
            assert!(!upstreams.may_try(1, LEFT_OUT, later), "and no other");
            assert!(upstreams.may_try(1, LEFT_OUT, later + LEFT_OUT), "until");
            assert!(upstreams.accepted(1));
            let all = |_| upstreams.may_try(1, LEFT_OUT, later);
            assert!((0..3).all(all), "it accepts");
        }
    }

    #[test]
    fn gateway_099_who_refuses_is_there_when_it_may_be_asked_again() {
        let (upstreams, now) = (three(), clock::now());
        (0..3).for_each(|number| upstreams.refused(number, number == 0, now));
        assert!(!upstreams.any_accepts(LEFT_OUT, now));
        assert_eq!(upstreams.unreachable(), [1, 2]);
        assert!(upstreams.any_accepts(LEFT_OUT, now + LEFT_OUT));
        upstreams.refused(0, false, now);
        assert!(!upstreams.any_accepts(LEFT_OUT, now + LEFT_OUT), "nobody");
        upstreams.listens(1);
        assert!(upstreams.any_accepts(LEFT_OUT, now));
        assert_eq!(upstreams.away(), 2);
    }
}
