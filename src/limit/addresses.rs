//! How many connections come from one address, and how often it has asked for SockJS sessions that
//! do not exist.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::counters::Counters;
use super::{Network, RequestRate};

/// Addresses whose wrong guesses are counted at a time.
const GUESSERS: usize = 100_000;

/// Limits for one [client address](crate::Connection::client_address), or for one IPv6 network of
/// 64 bits.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct AddressLimits {
    /// Connections, including SockJS sessions. One more ends the oldest SockJS session over HTTP of
    /// the address that has not sent `connect`. If there is none, the new connection is answered
    /// with 429.
    ///
    /// There is no limit by default: a school, a company or a carrier may have one address. Behind
    /// a proxy that is not listed in [`trusted_proxies`](crate::Settings::trusted_proxies), all
    /// clients have one.
    pub connections: Option<usize>,
    /// How often an address may send to a SockJS session that does not exist: 1,000 times within 60
    /// s by default. After that, until the time is over, its requests to sessions that do not
    /// exist, or that another address has opened, are answered with 429. So it cannot find sessions
    /// of others by guessing. All else still works, including its own sessions.
    ///
    /// With a load balancer that does not keep a session on one server, honest clients also send to
    /// sessions that do not exist here.
    pub unknown_sessions: RequestRate,
}

impl Default for AddressLimits {
    fn default() -> Self {
        Self {
            connections: None,
            unknown_sessions: RequestRate {
                requests: 1000,
                within: Duration::from_secs(60),
            },
        }
    }
}

/// The counters for client addresses.
#[derive(Debug)]
pub(crate) struct Addresses {
    /// Connections that one address may have.
    most: Option<usize>,
    /// Filled by `seat`, drained as seats are dropped; bounded by the number of connections.
    connections: Mutex<HashMap<Network, usize>>,
    guesses: Counters<Network>,
}

/// A connection's seat among those of its address, released when dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    addresses: Arc<Addresses>,
    network: Network,
}

/// The limit of connections from this address is reached.
#[derive(Debug)]
pub(crate) struct TooMany;

impl Addresses {
    pub(crate) fn new(limits: AddressLimits) -> Self {
        Self {
            most: limits.connections,
            connections: Mutex::default(),
            guesses: Counters::new(limits.unknown_sessions, GUESSERS),
        }
    }

    /// Takes a seat for a connection; `None` if their number is not limited.
    pub(crate) fn seat(self: &Arc<Self>, network: Network) -> Result<Option<Seat>, TooMany> {
        let Some(most) = self.most else {
            return Ok(None);
        };
        let mut connections = self.lock();
        let taken = connections.get(&network).copied().unwrap_or(0);
        if taken >= most {
            return Err(TooMany);
        }
        connections.insert(network, taken.saturating_add(1));
        Ok(Some(Seat {
            addresses: self.clone(),
            network,
        }))
    }

    /// Counts a request for a SockJS session that does not exist.
    pub(crate) fn guessed(&self, network: Network, now: Instant) {
        // `is_guessing` tells whether it exceeds the limit, before the next request.
        let _wait = self.guesses.count(network, now);
    }

    /// Whether an address has asked for so many missing sessions that it may be guessing.
    pub(crate) fn is_guessing(&self, network: Network, now: Instant) -> bool {
        self.guesses.is_used_up(&network, now)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Network, usize>> {
        let connections = self.connections.lock();
        connections.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut connections = self.addresses.lock();
        let left = connections
            .get(&self.network)
            .map(|it| it.saturating_sub(1));
        match left {
            Some(left) if left > 0 => drop(connections.insert(self.network, left)),
            _ => drop(connections.remove(&self.network)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;

    fn network(address: &str) -> Network {
        Network::of(address.parse().ok())
    }

    fn addresses(connections: Option<usize>) -> Arc<Addresses> {
        Arc::new(Addresses::new(AddressLimits {
            connections,
            unknown_sessions: RequestRate {
                requests: 3,
                within: Duration::from_secs(60),
            },
        }))
    }

    #[test]
    fn row_012_seats_are_limited_per_address_and_given_back() {
        let addresses = addresses(Some(2));
        let seat = |address: &str| addresses.seat(network(address));
        let one = seat("192.0.2.1").unwrap();
        let _two = seat("192.0.2.1").unwrap();
        assert!(seat("192.0.2.1").is_err());
        let other = seat("192.0.2.2").unwrap();
        drop(one);
        assert!(seat("192.0.2.1").is_ok());
        drop(other);
        assert_eq!(addresses.lock().len(), 1, "who has left is forgotten");
        let (_a, _b) = (seat("2001:db8::1").unwrap(), seat("2001:db8::2").unwrap());
        assert!(seat("2001:db8::3").is_err(), "one network");
        let (_c, _d) = (seat("").unwrap(), seat("").unwrap());
        assert!(seat("").is_err(), "the unknown count as one");
    }

    #[test]
    fn row_012_without_a_limit_nothing_is_counted() {
        let addresses = addresses(None);
        let seats: Vec<_> = (0..100).map(|_| addresses.seat(network(""))).collect();
        assert!(seats.iter().all(|seat| matches!(seat, Ok(None))));
        assert!(addresses.lock().is_empty());
    }

    #[test]
    fn row_105_wrong_guesses_use_an_address_up_for_a_while() {
        let addresses = addresses(None);
        let guesser = network("192.0.2.1");
        let start = clock::now();
        for _ in 0..3 {
            assert!(!addresses.is_guessing(guesser, start));
            addresses.guessed(guesser, start);
        }
        assert!(addresses.is_guessing(guesser, start));
        assert!(!addresses.is_guessing(network("192.0.2.2"), start));
        let later = start + Duration::from_secs(60);
        assert!(!addresses.is_guessing(guesser, later));
    }
}
