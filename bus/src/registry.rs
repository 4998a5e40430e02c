//! Which channels this process wants, for which shards, and which of them the bus has confirmed.
//! Joining and leaving only change what is wanted. The bus's one supervisor brings the connection
//! in line, so a join and a leave cannot overtake each other.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use foldhash::quality::RandomState;
use tokio::sync::{Notify, watch};

use crate::failures::Failures;
use crate::fault::FaultCounts;
use crate::received::Listeners;
use crate::settings::ChannelSettings;
use crate::{
    Batch, BusError, BusFault, BusFaults, Gap, Message, PayloadError, PayloadLimits, Port,
    SharedError,
};

/// The outcome of a wait for the bus: `None` while it lasts.
pub(crate) type Outcome = Option<Result<(), BusError>>;

/// The channels of this process.
pub(crate) struct ChannelRegistry {
    /// Filled by `acquire`, emptied by the drop of a [`Lease`]: one entry for each channel that has
    /// a lease, so bounded by the leases.
    channels: DashMap<Arc<str>, ChannelState, RandomState>,
    /// Filled by `acquire` and by the drop of leases, drained by the supervisor with
    /// `take_changes`: at most one entry for each channel that was joined or left within one round
    /// trip, and none while there is no connection.
    changes: Mutex<ChannelChanges>,
    /// Notified after each addition to `changes`. One permit is enough, because the supervisor
    /// takes all changes.
    changed: Notify,
    /// The shards' inboxes, by shard number. Filled once, by `attach`.
    ports: OnceLock<Vec<Arc<dyn Port>>>,
    listeners: Listeners,
    immediate: bool,
    limits: PayloadLimits,
    dropped_payloads: AtomicU64,
    failures: Failures,
    faults: FaultCounts,
    /// Why the bus is away. Filled when it fails, emptied when it has answered.
    away: Mutex<Option<SharedError>>,
    /// The number of the latest connection; 0 before the first.
    generation: AtomicU64,
}

/// A follower of channels in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Follower {
    /// The shard with this number.
    Shard(usize),
    /// All [`Listener`](crate::Listener)s together.
    Listeners,
}

/// A share in a channel: see [`Channels::join`](crate::Channels::join). The channel is given up
/// with its last lease.
#[must_use = "a channel is given up with its last lease"]
pub struct Lease {
    registry: Arc<ChannelRegistry>,
    channel: Arc<str>,
    follower: Follower,
}

#[derive(Default)]
struct ChannelState {
    /// How many leases each follower holds; a follower without one has no entry, so bounded by the
    /// number of shards.
    leases: Vec<(Follower, usize)>,
    /// Whether the bus has confirmed it on the current connection.
    is_confirmed: bool,
    /// Whether it was confirmed on an earlier connection and its gap has not been reported yet.
    has_gap: bool,
    /// Set while a confirmation may be awaited; the waiters hold receivers.
    waiting: Option<watch::Sender<Outcome>>,
}

#[derive(Default)]
struct ChannelChanges {
    /// Without a connection no changes are noted: the next connection begins with all wanted
    /// channels.
    is_connected: bool,
    names: HashSet<Arc<str>>,
}

impl ChannelRegistry {
    pub(crate) fn new(settings: &ChannelSettings, immediate: bool) -> Self {
        Self {
            channels: DashMap::default(),
            changes: Mutex::default(),
            changed: Notify::new(),
            ports: OnceLock::new(),
            listeners: Listeners::new(settings),
            immediate,
            limits: settings.payload,
            dropped_payloads: AtomicU64::new(0),
            failures: Failures::new(settings.failing_channels),
            faults: FaultCounts::default(),
            away: Mutex::default(),
            generation: AtomicU64::new(0),
        }
    }

    /// Sets the shards' ports; only the first call counts.
    pub(crate) fn attach(&self, ports: Vec<Arc<dyn Port>>) -> bool {
        self.ports.set(ports).is_ok()
    }

    pub(crate) fn listeners(&self) -> &Listeners {
        &self.listeners
    }

    fn ports(&self) -> &[Arc<dyn Port>] {
        self.ports.get().map_or(&[], Vec::as_slice)
    }

    /// Takes a lease on a channel. Also returns what to wait for if the bus has not confirmed the
    /// channel yet.
    ///
    /// Messages can reach the follower from here on, even before the wait is over.
    pub(crate) fn acquire(
        self: &Arc<Self>,
        name: &str,
        follower: Follower,
    ) -> (Lease, Option<watch::Receiver<Outcome>>) {
        let mut is_change = false;
        let (lease, wait) = {
            let mut channel = self.channels.entry(Arc::from(name)).or_default();
            match channel.leases.iter_mut().find(|(of, _)| *of == follower) {
                Some((_, count)) => *count += 1,
                None => channel.leases.push((follower, 1)),
            }
            channel.is_confirmed |= self.immediate;
            let wait = (!channel.is_confirmed).then(|| {
                let sender = channel.waiting.get_or_insert_with(|| {
                    is_change = true;
                    watch::Sender::new(None)
                });
                sender.subscribe()
            });
            let lease = Lease {
                registry: Arc::clone(self),
                channel: Arc::clone(channel.key()),
                follower,
            };
            (lease, wait)
        };
        if is_change {
            self.note(&lease.channel);
        }
        (lease, wait)
    }

    /// How many channels have a lease.
    pub(crate) fn channel_count(&self) -> usize {
        self.channels.len()
    }

    /// How many payloads failed their check.
    pub(crate) fn dropped_payloads(&self) -> u64 {
        self.dropped_payloads.load(Ordering::Relaxed)
    }

    /// Dropped payloads and failed mapping functions, by channel.
    pub(crate) fn failures(&self) -> &Failures {
        &self.failures
    }

    /// Counts and logs a fault of the bus.
    pub(crate) fn fault(&self, fault: BusFault, channel: Option<&str>, error: &dyn fmt::Display) {
        self.faults.note(fault, channel, error);
    }

    pub(crate) fn faults(&self) -> BusFaults {
        self.faults.read()
    }

    /// The error for a caller that needs the bus now.
    pub(crate) fn away(&self) -> BusError {
        BusError::Unavailable(self.lock_away().clone())
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    pub(crate) fn limits(&self) -> &PayloadLimits {
        &self.limits
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.immediate || self.lock_changes().is_connected
    }

    /// Whether the first attempt to connect is still under way.
    pub(crate) fn is_untried(&self) -> bool {
        self.generation() == 0 && self.lock_away().is_none()
    }

    /// Checks the payloads that were read, and passes them, as one batch, to all followers of their
    /// channels.
    pub(crate) fn deliver<'a>(&self, read: impl Iterator<Item = (&'a str, Bytes)>) {
        let ports = self.ports();
        let mut batch: Vec<Arc<Message>> = Vec::with_capacity(read.size_hint().0);
        let mut follows = vec![false; ports.len()];
        let mut listeners_follow = false;
        let mut followers = Vec::new();
        let mut unreported: Vec<Arc<str>> = Vec::new();
        for (name, payload) in read {
            // The last messages of a channel that was just left have no follower.
            let Some((name, has_gap)) = self.followers(name, &mut followers) else {
                continue;
            };
            if has_gap {
                unreported.push(Arc::clone(&name));
            }
            match Message::check(Arc::clone(&name), payload, &self.limits) {
                Ok(message) => {
                    batch.push(Arc::new(message));
                    for follower in followers.drain(..) {
                        match follower {
                            Follower::Shard(shard) => {
                                if let Some(follows) = follows.get_mut(shard) {
                                    *follows = true;
                                }
                            }
                            Follower::Listeners => listeners_follow = true,
                        }
                    }
                }
                Err(error) => self.count_dropped(&name, &error),
            }
        }
        if !unreported.is_empty() {
            // The message came on the new connection, even if other channels are not restored there
            // yet.
            self.report_gap(|name, channel| channel.is_confirmed || unreported.contains(name));
        }
        if batch.is_empty() {
            return;
        }
        let batch = Batch::from(batch);
        for (port, _) in ports.iter().zip(follows).filter(|(_, follows)| *follows) {
            port.deliver(&batch);
        }
        if listeners_follow {
            self.listeners.deliver(&batch);
        }
    }

    /// Puts the followers of a channel into `followers`. Returns our copy of the name, and whether
    /// the channel has a gap that has not been reported.
    fn followers(&self, name: &str, followers: &mut Vec<Follower>) -> Option<(Arc<str>, bool)> {
        followers.clear();
        let channel = self.channels.get(name)?;
        followers.extend(channel.leases.iter().map(|(follower, _)| *follower));
        Some((Arc::clone(channel.key()), channel.has_gap))
    }

    fn count_dropped(&self, channel: &str, error: &PayloadError) {
        self.failures.dropped_payload(channel);
        let dropped = self.dropped_payloads.fetch_add(1, Ordering::Relaxed) + 1;
        // A broken emitter must not fill the log: the first is logged, and then each time their
        // number has doubled.
        if dropped.is_power_of_two() {
            tracing::warn!(?channel, dropped, %error, "payload dropped");
        }
    }

    /// The port of a follower.
    fn port(&self, follower: Follower) -> Option<&dyn Port> {
        match follower {
            Follower::Shard(shard) => self.ports().get(shard).map(AsRef::as_ref),
            Follower::Listeners => Some(&self.listeners),
        }
    }

    fn release(&self, name: &Arc<str>, follower: Follower) {
        let is_last = match self.channels.entry(Arc::clone(name)) {
            Entry::Occupied(mut entry) => {
                let leases = &mut entry.get_mut().leases;
                if let Some(at) = leases.iter().position(|(of, _)| *of == follower) {
                    match leases.get_mut(at) {
                        Some((_, count)) if *count > 1 => *count -= 1,
                        _ => drop(leases.swap_remove(at)),
                    }
                }
                let is_last = leases.is_empty();
                if is_last {
                    entry.remove();
                }
                is_last
            }
            Entry::Vacant(_) => false,
        };
        if is_last {
            self.note(name);
        }
    }

    fn note(&self, name: &Arc<str>) {
        if self.immediate {
            return;
        }
        let mut changes = self.lock_changes();
        if changes.is_connected {
            changes.names.insert(Arc::clone(name));
            drop(changes);
            self.changed.notify_one();
        }
    }

    fn lock_away(&self) -> MutexGuard<'_, Option<SharedError>> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_changes(&self) -> MutexGuard<'_, ChannelChanges> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Called by the supervisor of a connection.
impl ChannelRegistry {
    /// A connection begins. Returns all wanted channels; from here on changes are noted.
    pub(crate) fn connected(&self, generation: u64) -> Vec<Arc<str>> {
        self.generation.store(generation, Ordering::Relaxed);
        let mut changes = self.lock_changes();
        changes.is_connected = true;
        changes.names.clear();
        drop(changes);
        // After the flag is set, not before: a channel that is added in between is in this list or
        // in the changes, and at worst in both.
        self.channels
            .iter()
            .map(|channel| Arc::clone(channel.key()))
            .collect()
    }

    /// The connection has ended, and with it every confirmation.
    pub(crate) fn disconnected(&self) {
        let mut changes = self.lock_changes();
        changes.is_connected = false;
        changes.names = HashSet::new();
        drop(changes);
        for mut channel in self.channels.iter_mut() {
            if std::mem::take(&mut channel.is_confirmed) {
                channel.has_gap = true;
            }
        }
    }

    /// Notes why there is no connection, for callers whose wait ends.
    pub(crate) fn set_away(&self, cause: SharedError) {
        *self.lock_away() = Some(cause);
    }

    /// The bus has answered.
    pub(crate) fn mark_healthy(&self) {
        *self.lock_away() = None;
    }

    /// Takes the changes since the last call, without waiting; there may be none.
    pub(crate) fn take_changes(&self) -> HashSet<Arc<str>> {
        std::mem::take(&mut self.lock_changes().names)
    }

    /// Waits until something may have changed. Cancel safe.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    pub(crate) fn is_wanted(&self, name: &str) -> bool {
        self.channels.contains_key(name)
    }

    /// The bus has the channel: ends every wait for it.
    pub(crate) fn confirm(&self, name: &str) {
        self.settle(name, Ok(()));
    }

    /// The bus refuses the channel: ends every wait for it with an error, and tells its followers.
    pub(crate) fn refuse(&self, name: &str, error: BusError) {
        let mut followers = Vec::new();
        let name = self.followers(name, &mut followers);
        if let Some((name, _)) = name {
            self.settle(&name, Err(error.clone()));
            let ports = followers.into_iter().filter_map(|it| self.port(it));
            for port in ports {
                port.refused(&name, &error);
            }
        }
    }

    fn settle(&self, name: &str, outcome: Result<(), BusError>) {
        if let Some(mut channel) = self.channels.get_mut(name) {
            channel.is_confirmed = outcome.is_ok();
            if let Some(waiting) = channel.waiting.take() {
                waiting.send_replace(Some(outcome));
            }
        }
    }

    /// All wanted channels have been restored: reports to each follower the gaps in its channels,
    /// in one call. A channel that Redis still refuses is reported when it is confirmed.
    pub(crate) fn restored(&self) {
        self.report_gap(|_, channel| channel.is_confirmed);
    }

    fn report_gap(&self, is_over: impl Fn(&Arc<str>, &ChannelState) -> bool) {
        let generation = self.generation();
        let mut missed: HashMap<Follower, Vec<Arc<str>>> = HashMap::new();
        for mut channel in self.channels.iter_mut() {
            if is_over(channel.key(), channel.value()) && std::mem::take(&mut channel.has_gap) {
                for (follower, _) in &channel.leases {
                    missed
                        .entry(*follower)
                        .or_default()
                        .push(Arc::clone(channel.key()));
                }
            }
        }
        for (follower, channels) in missed {
            if let Some(port) = self.port(follower) {
                port.gap(Gap {
                    generation,
                    channels: Arc::from(channels),
                });
            }
        }
    }
}

impl fmt::Debug for ChannelRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelRegistry")
            .field("channels", &self.channels.len())
            .finish_non_exhaustive()
    }
}

impl Lease {
    /// The name of the channel.
    pub fn channel(&self) -> &Arc<str> {
        &self.channel
    }

    pub(crate) fn listeners(&self) -> &Listeners {
        self.registry.listeners()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.registry.release(&self.channel, self.follower);
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("channel", &self.channel)
            .field("follower", &self.follower)
            .finish_non_exhaustive()
    }
}
