//! What is between the listener and the shards: admission, the services and their paths, and the
//! hand-over of a client to its shard.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use updraft_protocol::ejson;

use super::admission::Admission;
use super::health::Condition;
use super::sites::Sites;
use crate::config::Settings;
use crate::gateway::Gateway;
use crate::shard::polling_sessions::PollingSessions;
use crate::shard::{Arrival, Shard, Shared};
use crate::telemetry::Gauges;

/// The shards, and everything that a request passes before its client is handed to one of them.
#[derive(Debug)]
pub(super) struct Front {
    shards: Arc<[Shard]>,
    /// Counts searches for a shard, to begin each at another one.
    next: AtomicUsize,
    /// Permits for clients on their way to the shards. Taken by `hand_over`, which waits for one;
    /// given back when a shard takes the client. Bounded by `inbox.arrivals`.
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

    /// The limits of JSON in the body of a SockJS request.
    pub(super) fn json_limits(&self) -> &ejson::JsonLimits {
        &self.shared.session.settings.json
    }

    /// Hands a client to the shard that has the fewest. If many clients are on their way, it waits
    /// for its turn, so that many connections at once do not keep the shards from connected
    /// clients.
    pub(super) async fn hand_over(&self, mut arrival: Arrival) {
        let room = self.room.clone().acquire_owned();
        match tokio::time::timeout(self.settings.inbox.arrival_timeout, room).await {
            Ok(Ok(room)) => arrival.room = Some(room),
            _ => return self.count_refused(),
        }
        if let Some(shard) = self.next_shard() {
            self.hand_over_to(shard, arrival);
        }
    }

    /// The shard with the fewest clients; shards that have equally few take turns.
    pub(super) fn next_shard(&self) -> Option<&Shard> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let (last, first) = self.shards.split_at(turn.checked_rem(self.shards.len())?);
        let shards = first.iter().chain(last);
        shards.min_by_key(|shard| shard.load())
    }

    /// Hands a client to this shard. False if the shard does not take it; the client is then
    /// counted as refused.
    pub(super) fn hand_over_to(&self, shard: &Shard, arrival: Arrival) -> bool {
        let is_taken = shard.arrive(arrival);
        if !is_taken {
            self.count_refused();
        }
        is_taken
    }

    fn count_refused(&self) {
        tracing::warn!("A connection was refused: too many came at once.");
        let refused = &self.gauges().refused_connections;
        refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn admission(&self) -> &Admission {
        &self.admission
    }

    /// Whether new clients may come, for health checks.
    pub(super) fn condition(&self) -> Condition {
        Condition {
            is_shutting_down: self.shared.draining.is_cancelled(),
            bus_is_away: !self.shared.host.channels.is_connected(),
            meteor_is_away: (self.shared.gateway.as_ref()).is_some_and(|it| !it.is_available()),
            memory_is_overloaded: self.shared.host.memory.is_overloaded(),
        }
    }

    /// Runs `future` as a task of the server.
    pub(super) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.shared.host.tasks.spawn(future);
    }

    /// The same, but the task is dropped when the server begins to shut down.
    pub(super) fn spawn_until_draining(&self, future: impl Future<Output = ()> + Send + 'static) {
        let draining = self.shared.draining.clone();
        self.spawn(async move {
            draining.run_until_cancelled_owned(future).await;
        });
    }

    /// Cancelled when the server begins to shut down.
    pub(super) fn draining(&self) -> &CancellationToken {
        &self.shared.draining
    }

    /// The way to a Meteor app, if requests that are not this server's go there.
    pub(super) fn passage(&self) -> Option<&Arc<Gateway>> {
        let gateway = self.shared.gateway.as_ref();
        gateway.filter(|gateway| gateway.passes_http())
    }

    /// Bytes that the head of a request may have, whatever it is for.
    pub(super) fn header_bytes(&self) -> usize {
        let own = self.settings.http.header_bytes;
        let passed = self.settings.gateway.http.header_bytes;
        self.passage().map_or(own, |_| own.max(passed))
    }

    pub(super) fn gauges(&self) -> &Gauges {
        &self.shared.host.gauges
    }
}
