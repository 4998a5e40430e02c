//! The number of polling sessions, in total and per address.
//!
//! When an address has reached its limit, its next session replaces the oldest one that has not
//! connected. So sessions that are opened and abandoned keep nobody out.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::limit::Network;

/// How many SockJS sessions may exist over HTTP requests.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct PollingLimits {
    /// At the same time: 10,000 by default. One more is answered with 503.
    pub sessions: usize,
    /// Of one [client address](crate::Connection::client_address): `None` by default, which means a
    /// quarter of `sessions`. One more ends the oldest session of the address that has not sent
    /// `connect`. If all have, the new one is answered with 429.
    ///
    /// Behind a proxy that is not listed in [`trusted_proxies`](crate::Settings::trusted_proxies),
    /// all clients have one address.
    pub sessions_per_address: Option<usize>,
}

impl Default for PollingLimits {
    fn default() -> Self {
        Self {
            sessions: 10_000,
            sessions_per_address: None,
        }
    }
}

impl PollingLimits {
    pub(super) fn per_address(self) -> usize {
        let quarter = self.sessions.div_ceil(4);
        self.sessions_per_address.unwrap_or(quarter)
    }
}

/// Why there is no room for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// The limit of all sessions is reached.
    Everywhere,
    /// The limit of its address is reached, and all sessions of the address have connected.
    Address,
}

/// Counts the polling sessions of a server, each an `S`.
pub(super) struct SessionCounts<S> {
    /// The maximum number of sessions.
    limit: usize,
    /// The maximum number of sessions of one address.
    per_address: usize,
    counts: Mutex<Counts<S>>,
}

struct Counts<S> {
    total: usize,
    /// The number of the next session.
    next: u64,
    /// Filled by `enter`, drained as each [`CountedSession`] is dropped; bounded by `limit`.
    by_address: HashMap<Network, AddressSessions<S>>,
}

/// The sessions of one address, by number.
struct AddressSessions<S> {
    connected: HashSet<u64>,
    /// Sessions that have not connected, the oldest first. A session that is still being created
    /// cannot be upgraded.
    waiting: BTreeMap<u64, Weak<S>>,
}

/// Counts a session until dropped, or until the session was ended to make room for another.
pub(crate) struct CountedSession<S> {
    counts: Arc<SessionCounts<S>>,
    network: Network,
    number: u64,
}

impl<S> SessionCounts<S> {
    pub(super) fn new(limit: usize, per_address: usize) -> Self {
        Self {
            limit,
            per_address,
            counts: Mutex::default(),
        }
    }

    /// Counts a new session. A session that must end to make room is returned; it is no longer
    /// counted.
    pub(super) fn enter(
        self: &Arc<Self>,
        network: Network,
    ) -> Result<(CountedSession<S>, Option<Arc<S>>), Full> {
        let mut counts = self.lock();
        let held = counts
            .by_address
            .get(&network)
            .map_or(0, AddressSessions::len);
        let displaced = if held >= self.per_address {
            Some(counts.displace(network).ok_or(Full::Address)?)
        } else if counts.total >= self.limit {
            return Err(Full::Everywhere);
        } else {
            None
        };
        let number = counts.next;
        counts.next = counts.next.saturating_add(1);
        counts.total = counts.total.saturating_add(1);
        let held = counts.by_address.entry(network).or_default();
        held.waiting.insert(number, Weak::new());
        let counted = CountedSession {
            counts: self.clone(),
            network,
            number,
        };
        Ok((counted, displaced))
    }

    /// Removes the oldest session of an address that has not connected from the counts.
    pub(super) fn displace(&self, network: Network) -> Option<Arc<S>> {
        self.lock().displace(network)
    }

    pub(super) fn total(&self) -> usize {
        self.lock().total
    }

    fn lock(&self) -> MutexGuard<'_, Counts<S>> {
        // Nothing that can panic runs under the lock.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Counts<S> {
    fn displace(&mut self, network: Network) -> Option<Arc<S>> {
        let waiting = &self.by_address.get(&network)?.waiting;
        let mut made = waiting
            .iter()
            .filter_map(|(number, session)| Some((*number, session.upgrade()?)));
        let (number, session) = made.next()?;
        self.remove(network, number);
        Some(session)
    }

    /// Removes a session, unless that has happened already.
    fn remove(&mut self, network: Network, number: u64) {
        let Some(held) = self.by_address.get_mut(&network) else {
            return;
        };
        if held.waiting.remove(&number).is_some() || held.connected.remove(&number) {
            self.total = self.total.saturating_sub(1);
        }
        if held.len() == 0 {
            self.by_address.remove(&network);
        }
    }
}

impl<S> Default for Counts<S> {
    fn default() -> Self {
        Self {
            total: 0,
            next: 0,
            by_address: HashMap::new(),
        }
    }
}

impl<S> Default for AddressSessions<S> {
    fn default() -> Self {
        Self {
            connected: HashSet::new(),
            waiting: BTreeMap::new(),
        }
    }
}

impl<S> AddressSessions<S> {
    fn len(&self) -> usize {
        self.connected.len().saturating_add(self.waiting.len())
    }
}

impl<S> CountedSession<S> {
    /// Links the count to its session, which exists from now on.
    pub(super) fn set_session(&self, session: &Arc<S>) {
        let mut counts = self.counts.lock();
        let held = counts.by_address.get_mut(&self.network);
        if let Some(waiting) = held.and_then(|held| held.waiting.get_mut(&self.number)) {
            *waiting = Arc::downgrade(session);
        }
    }

    /// The session has connected. From now on it is not ended to make room for another.
    pub(super) fn connected(&self) {
        let mut counts = self.counts.lock();
        if let Some(held) = counts.by_address.get_mut(&self.network)
            && held.waiting.remove(&self.number).is_some()
        {
            held.connected.insert(self.number);
        }
    }

    pub(super) fn network(&self) -> Network {
        self.network
    }
}

impl<S> Drop for CountedSession<S> {
    fn drop(&mut self) {
        self.counts.lock().remove(self.network, self.number);
    }
}

impl<S> fmt::Debug for CountedSession<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CountedSession")
            .field("network", &self.network)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn found_208_each_address_has_its_part_and_gives_it_back() {
        let counts = Arc::new(SessionCounts::<()>::new(3, 2));
        let enter = |address: &str| {
            let network = Network::of(address.parse().ok());
            counts.enter(network).map(|(counted, _)| counted)
        };
        let one = enter("192.0.2.1").unwrap();
        one.connected();
        let _two = enter("192.0.2.1").unwrap();
        // None of them is a session yet that could make room.
        assert_eq!(enter("192.0.2.1").err(), Some(Full::Address));
        let _other = enter("192.0.2.2").unwrap();
        assert_eq!(enter("192.0.2.2").err(), Some(Full::Everywhere));
        drop(one);
        assert_eq!(counts.total(), 2);
        drop(enter("192.0.2.1").unwrap());
        assert_eq!(counts.total(), 2);
        assert_eq!(counts.lock().by_address.len(), 2);
    }
}
