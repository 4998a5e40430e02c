//! What stands between the listener and the shards: who is let in, which service a path belongs to, and the hand-over of
//! a client to its shard.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use updraft_protocol::ejson;

use super::admission::Admission;
use super::health::Condition;
use super::sites::Sites;
use crate::config::Settings;
use crate::shard::polling_sessions::PollingSessions;
use crate::shard::{Arrival, Shard, Shared};
use crate::telemetry::Gauges;

/// Knows the shards, and what a request must pass before its client comes to one of them.
#[derive(Debug)]
pub(super) struct Front {
    shards: Arc<[Shard]>,
    /// Counts clients, to begin the search for a shard elsewhere each time.
    next: AtomicUsize,
    /// Room on the way to the shards: who finds none waits. Taken by `hand_over`, given back as a shard takes the client.
    room: Arc<Semaphore>,
    shared: Arc<Shared>,
    admission: Admission,
    sites: Sites,
    settings: Arc<Settings>,
}

impl Front {
    pub(super) fn new(
        shards: Arc<[Shard]>,
        shared: Arc<Shared>,
        admission: Admission,
        sites: Sites,
        settings: Arc<Settings>,
    ) -> Self {
        let arrivals = settings.inbox.arrivals.min(Semaphore::MAX_PERMITS);
        Self {
            shards,
            next: AtomicUsize::new(0),
            room: Arc::new(Semaphore::new(arrivals)),
            shared,
            admission,
            sites,
            settings,
        }
    }

    pub(super) fn sites(&self) -> &Sites {
        &self.sites
    }

    pub(super) fn polling(&self) -> &PollingSessions {
        &self.shared.polling
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Depth and breadth of what is posted.
    pub(super) fn json_limits(&self) -> &ejson::JsonLimits {
        &self.shared.session.settings.json
    }

    /// Gives a client to the shard that has fewest. Where many are on their way, it waits for its turn: a storm of
    /// connections does not keep the shards from those who are there already.
    pub(super) async fn hand_over(&self, mut arrival: Arrival) {
        let room = self.room.clone().acquire_owned();
        match tokio::time::timeout(self.settings.inbox.arrival_timeout, room).await {
            Ok(Ok(room)) => arrival.room = Some(room),
            _ => return self.too_many(),
        }
        if let Some(shard) = self.next_shard() {
            self.hand_over_to(shard, arrival);
        }
    }

    /// The shard with the fewest clients; those that have equally few take turns.
    pub(super) fn next_shard(&self) -> Option<&Shard> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let (last, first) = self.shards.split_at(turn.checked_rem(self.shards.len())?);
        let shards = first.iter().chain(last);
        shards.min_by_key(|shard| shard.load())
    }

    /// Gives a client to this shard; whether it is taken. One that is not is counted as refused.
    pub(super) fn hand_over_to(&self, shard: &Shard, arrival: Arrival) -> bool {
        let is_taken = shard.arrive(arrival);
        if !is_taken {
            self.too_many();
        }
        is_taken
    }

    fn too_many(&self) {
        tracing::warn!("A connection was refused: too many came at once.");
        let refused = &self.gauges().refused_connections;
        refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn admission(&self) -> &Admission {
        &self.admission
    }

    /// What says whether new clients may come.
    pub(super) fn condition(&self) -> Condition {
        Condition {
            is_shutting_down: self.shared.draining.is_cancelled(),
            bus_is_away: !self.shared.host.channels.is_connected(),
            memory_is_overloaded: self.shared.host.memory.is_overloaded(),
        }
    }

    /// Runs `future` as a task of the server.
    pub(super) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.shared.host.tasks.spawn(future);
    }

    /// The same, for what is not worth waiting for when the server shuts down.
    pub(super) fn spawn_until_draining(&self, future: impl Future<Output = ()> + Send + 'static) {
        let draining = self.shared.draining.clone();
        self.spawn(async move {
            draining.run_until_cancelled_owned(future).await;
        });
    }

    /// Cancelled when the server begins to end.
    pub(super) fn draining(&self) -> &CancellationToken {
        &self.shared.draining
    }

    pub(super) fn gauges(&self) -> &Gauges {
        &self.shared.host.gauges
    }
}
