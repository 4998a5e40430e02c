//! The polling sessions by name, and the close frames of sessions that have ended.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry as Place;

use super::counts::{CountedSession, Full, PollingLimits, SessionCounts};
use super::session::{PollingSession, SessionKey};
use crate::base::clock;
use crate::limit::Network;

/// The polling sessions of a server.
pub(crate) struct PollingSessions {
    /// Filled by the first request of a session, drained by the shards. Bounded by `counts`, plus
    /// as many ended sessions.
    entries: DashMap<SessionKey, SessionEntry>,
    /// The living sessions.
    counts: Arc<SessionCounts<PollingSession>>,
    /// Sessions that were closed, in the order in which they are forgotten; bounded by `limit`.
    ended: Mutex<VecDeque<(Instant, SessionKey)>>,
    /// Numbers the waiting requests, so that a shard can tell them apart.
    requests: AtomicU64,
    limit: usize,
}

#[derive(Debug)]
enum SessionEntry {
    Living(Arc<PollingSession>),
    Ended { close: Bytes, until: Instant },
}

/// What is known of a name.
pub(crate) enum Found {
    Living(Arc<PollingSession>),
    /// It was closed with this frame, which is repeated to every later request.
    Ended(Bytes),
}

impl PollingSessions {
    pub(crate) fn new(limits: PollingLimits) -> Self {
        let limit = limits.sessions;
        Self {
            entries: DashMap::new(),
            counts: Arc::new(SessionCounts::new(limit, limits.per_address())),
            ended: Mutex::default(),
            requests: AtomicU64::new(0),
            limit,
        }
    }

    pub(crate) fn next_request(&self) -> u64 {
        self.requests.fetch_add(1, Ordering::Relaxed)
    }

    /// A living session.
    pub(crate) fn living(&self, key: &SessionKey) -> Option<Arc<PollingSession>> {
        let entry = self.entries.get(key)?;
        match entry.value() {
            SessionEntry::Living(session) => Some(session.clone()),
            SessionEntry::Ended { .. } => None,
        }
    }

    /// The session of this name. If there is none, `create` makes one; it must send the session to
    /// its shard, because other requests find it from then on.
    pub(crate) fn find_or_create<E>(
        &self,
        key: SessionKey,
        create: impl FnOnce(SessionKey) -> Result<Arc<PollingSession>, E>,
    ) -> Result<Found, E> {
        self.forget_ended();
        let place = self.entries.entry(key);
        if let Place::Occupied(occupied) = &place {
            match occupied.get() {
                SessionEntry::Living(session) => return Ok(Found::Living(session.clone())),
                SessionEntry::Ended { close, until } if *until > clock::now() => {
                    return Ok(Found::Ended(close.clone()));
                }
                SessionEntry::Ended { .. } => {}
            }
        }
        let session = create(place.key().clone())?;
        place.insert(SessionEntry::Living(session.clone()));
        Ok(Found::Living(session))
    }

    /// Counts a session that is about to be created. Another session of the same address may be
    /// ended for it.
    pub(crate) fn enter(&self, network: Network) -> Result<CountedSession<PollingSession>, Full> {
        let (counted, displaced) = self.counts.enter(network)?;
        if let Some(session) = displaced {
            session.displace();
        }
        Ok(counted)
    }

    /// Ends the oldest session of an address that has not connected, if there is one.
    pub(crate) fn make_room(&self, network: Network) -> bool {
        let displaced = self.counts.displace(network);
        displaced.inspect(PollingSession::displace).is_some()
    }

    /// A session has ended. For the time of `delay`, later requests are answered with `close`.
    pub(crate) fn ended(&self, session: &PollingSession, close: Option<Bytes>, delay: Duration) {
        session.end();
        let Some(close) = close else {
            self.entries.remove(&session.key);
            return;
        };
        let until = clock::now().checked_add(delay).unwrap_or_else(clock::now);
        self.entries
            .insert(session.key.clone(), SessionEntry::Ended { close, until });
        self.lock().push_back((until, session.key.clone()));
        self.forget_ended();
    }

    /// Forgets ended sessions whose time is over, and the oldest if there are too many.
    fn forget_ended(&self) {
        let now = clock::now();
        loop {
            let key = {
                let mut ended = self.lock();
                let is_over = ended.front().is_some_and(|(until, _)| *until <= now);
                if !is_over && ended.len() <= self.limit {
                    return;
                }
                ended.pop_front()
            };
            let Some((until, key)) = key else { return };
            // The name may have been used again meanwhile.
            self.entries.remove_if(
                &key,
                |_, entry| matches!(entry, SessionEntry::Ended { until: of, .. } if *of == until),
            );
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<(Instant, SessionKey)>> {
        // Nothing that can panic runs under the lock.
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of living sessions.
    pub(crate) fn len(&self) -> usize {
        self.counts.total()
    }
}

impl fmt::Debug for PollingSessions {
    /// Without names, which are credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PollingSessions")
            .field("living", &self.len())
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}
