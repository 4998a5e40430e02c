//! Which channels this process wants, for which shards, and how far the bus has got with them.
//! Joining and leaving only change what is wanted; the bus's one supervisor makes the connection agree, so that neither
//! can overtake the other.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use foldhash::quality::RandomState;
use tokio::sync::{Notify, watch};

use super::failures::Failures;
use super::fault::FaultCounts;
use super::{
    Batch, BusError, BusFault, BusFaults, Cause, Gap, Message, PayloadError, PayloadLimits, Port,
    Settings,
};

/// What became of a wait for the bus: `None` while it lasts.
pub(super) type Outcome = Option<Result<(), BusError>>;

/// The channels of this process.
pub(crate) struct Registry {
    /// Filled by `acquire`, emptied by the drop of a [`Lease`]: one entry per channel that has a lease, so bounded by
    /// those.
    channels: DashMap<Arc<str>, Channel, RandomState>,
    /// Filled by `acquire` and by the drop of leases, drained by the supervisor with `take_changes`: at most one entry
    /// per channel that was joined or left within one round trip, and none while there is no connection.
    changes: Mutex<Changes>,
    /// Told after `changes` was added to; one permit is enough, since the supervisor takes all there is.
    changed: Notify,
    /// The shards' inboxes, by shard number. Filled once, by `attach`.
    ports: OnceLock<Vec<Arc<dyn Port>>>,
    immediate: bool,
    limits: PayloadLimits,
    dropped_payloads: AtomicU64,
    failures: Failures,
    faults: FaultCounts,
    /// Why the bus is away. Filled as it fails, emptied when it is well.
    away: Mutex<Option<Cause>>,
    /// The number of the latest connection, 0 before the first.
    generation: AtomicU64,
}

/// A shard's share in a channel. The channel is given up with the last one.
pub(crate) struct Lease {
    registry: Arc<Registry>,
    channel: Arc<str>,
    shard: usize,
}

#[derive(Default)]
struct Channel {
    /// How many leases each shard holds; a shard with none has no entry, so bounded by the number of shards.
    leases: Vec<(usize, usize)>,
    /// The bus has confirmed it, on the connection that there is now.
    is_confirmed: bool,
    /// It was confirmed on an earlier connection, and the hole since then has not been told.
    has_gap: bool,
    /// There while somebody may be waiting for a confirmation; the waiters hold receivers.
    waiting: Option<watch::Sender<Outcome>>,
}

#[derive(Default)]
struct Changes {
    /// Without a connection nothing is noted: the next one begins with everything that is wanted then.
    is_connected: bool,
    names: HashSet<Arc<str>>,
}

impl Registry {
    pub(super) fn new(settings: &Settings, immediate: bool) -> Self {
        Self {
            channels: DashMap::default(),
            changes: Mutex::default(),
            changed: Notify::new(),
            ports: OnceLock::new(),
            immediate,
            limits: settings.limits,
            dropped_payloads: AtomicU64::new(0),
            failures: Failures::new(settings.failing_channels),
            faults: FaultCounts::default(),
            away: Mutex::default(),
            generation: AtomicU64::new(0),
        }
    }

    /// Says where the shards take in; only the first call counts.
    pub(super) fn attach(&self, ports: Vec<Arc<dyn Port>>) -> bool {
        self.ports.set(ports).is_ok()
    }

    /// Takes a share in a channel for a shard, and what to wait on if the bus has not confirmed the channel yet.
    ///
    /// Messages can reach the port from here on, before the wait is over.
    pub(super) fn acquire(
        self: &Arc<Self>,
        name: &str,
        shard: usize,
    ) -> (Lease, Option<watch::Receiver<Outcome>>) {
        let mut is_change = false;
        let (lease, wait) = {
            let mut channel = self.channels.entry(Arc::from(name)).or_default();
            match channel.leases.iter_mut().find(|(of, _)| *of == shard) {
                Some((_, count)) => *count += 1,
                None => channel.leases.push((shard, 1)),
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
                shard,
            };
            (lease, wait)
        };
        if is_change {
            self.note(&lease.channel);
        }
        (lease, wait)
    }

    /// How many channels have a lease.
    pub(super) fn channel_count(&self) -> usize {
        self.channels.len()
    }

    /// How many payloads failed their check.
    pub(super) fn dropped_payloads(&self) -> u64 {
        self.dropped_payloads.load(Ordering::Relaxed)
    }

    /// What went wrong with messages, by channel.
    pub(super) fn failures(&self) -> &Failures {
        &self.failures
    }

    /// Counts and logs that something is wrong with the bus.
    pub(super) fn fault(&self, fault: BusFault, channel: Option<&str>, error: &dyn fmt::Display) {
        self.faults.note(fault, channel, error);
    }

    pub(super) fn faults(&self) -> BusFaults {
        self.faults.read()
    }

    /// What whoever needs the bus now is told.
    pub(super) fn away(&self) -> BusError {
        BusError::Unavailable(self.lock_away().clone())
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    pub(super) fn limits(&self) -> &PayloadLimits {
        &self.limits
    }

    pub(super) fn is_connected(&self) -> bool {
        self.immediate || self.lock_changes().is_connected
    }

    /// Whether the first attempt to connect is still under way.
    pub(super) fn is_untried(&self) -> bool {
        self.generation() == 0 && self.lock_away().is_none()
    }

    /// Checks what was read and hands it, as one batch, to every shard that follows one of its channels.
    pub(super) fn deliver<'a>(&self, read: impl Iterator<Item = (&'a str, Bytes)>) {
        let Some(ports) = self.ports.get() else {
            return;
        };
        let mut batch: Vec<Arc<Message>> = Vec::with_capacity(read.size_hint().0);
        let mut follows = vec![false; ports.len()];
        let mut shards = Vec::new();
        let mut untold: Vec<Arc<str>> = Vec::new();
        for (name, payload) in read {
            // A channel that was just left: its last messages are nobody's.
            let Some((name, has_gap)) = self.followers(name, &mut shards) else {
                continue;
            };
            if has_gap {
                untold.push(Arc::clone(&name));
            }
            match Message::check(Arc::clone(&name), payload, &self.limits) {
                Ok(message) => {
                    batch.push(Arc::new(message));
                    for shard in shards.drain(..) {
                        if let Some(follows) = follows.get_mut(shard) {
                            *follows = true;
                        }
                    }
                }
                Err(error) => self.count_dropped(&name, &error),
            }
        }
        if !untold.is_empty() {
            // It comes on the new connection, though others may not have been restored there.
            self.tell_gap(|name, channel| channel.is_confirmed || untold.contains(name));
        }
        if batch.is_empty() {
            return;
        }
        let batch = Batch::from(batch);
        for (port, _) in ports.iter().zip(follows).filter(|(_, follows)| *follows) {
            port.deliver(&batch);
        }
    }

    /// Puts the shards that follow a channel into `shards`, and answers with the name as we keep it, and whether the channel
    /// has a hole that has not been told.
    fn followers(&self, name: &str, shards: &mut Vec<usize>) -> Option<(Arc<str>, bool)> {
        shards.clear();
        let channel = self.channels.get(name)?;
        shards.extend(channel.leases.iter().map(|(shard, _)| *shard));
        Some((Arc::clone(channel.key()), channel.has_gap))
    }

    fn count_dropped(&self, channel: &str, error: &PayloadError) {
        self.failures.dropped_payload(channel);
        let dropped = self.dropped_payloads.fetch_add(1, Ordering::Relaxed) + 1;
        // A broken emitter must not fill the log too: the first is logged, then each time their number has doubled.
        if dropped.is_power_of_two() {
            tracing::warn!(?channel, dropped, %error, "payload dropped");
        }
    }

    fn release(&self, name: &Arc<str>, shard: usize) {
        let is_last = match self.channels.entry(Arc::clone(name)) {
            Entry::Occupied(mut entry) => {
                let leases = &mut entry.get_mut().leases;
                if let Some(at) = leases.iter().position(|(of, _)| *of == shard) {
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

    fn lock_away(&self) -> MutexGuard<'_, Option<Cause>> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_changes(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the supervisor of a connection does here.
impl Registry {
    /// A connection begins. Answers with all that is wanted; from here on changes are noted.
    pub(super) fn connected(&self, generation: u64) -> Vec<Arc<str>> {
        self.generation.store(generation, Ordering::Relaxed);
        let mut changes = self.lock_changes();
        changes.is_connected = true;
        changes.names.clear();
        drop(changes);
        // After the flag, not before: what is wanted in between is either in here or noted, and at worst both.
        self.channels
            .iter()
            .map(|channel| Arc::clone(channel.key()))
            .collect()
    }

    /// The connection has ended, and with it every confirmation.
    pub(super) fn disconnected(&self) {
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

    /// Why there is no connection; those whose patience ends are told.
    pub(super) fn is_away_because(&self, cause: Cause) {
        *self.lock_away() = Some(cause);
    }

    /// The bus has answered.
    pub(super) fn is_well(&self) {
        *self.lock_away() = None;
    }

    /// Takes what has changed since the last call, at once and possibly nothing.
    pub(super) fn take_changes(&self) -> HashSet<Arc<str>> {
        std::mem::take(&mut self.lock_changes().names)
    }

    /// Waits until something may have changed. Cancel safe.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    pub(super) fn is_wanted(&self, name: &str) -> bool {
        self.channels.contains_key(name)
    }

    /// The bus has the channel: ends every wait for it.
    pub(super) fn confirm(&self, name: &str) {
        self.settle(name, Ok(()));
    }

    /// The bus will not have the channel: ends every wait for it with an error, and tells the shards whose subscriptions
    /// have followed it until now.
    pub(super) fn refuse(&self, name: &str, error: BusError) {
        let mut shards = Vec::new();
        let name = self.followers(name, &mut shards);
        let ports = self.ports.get().map_or(&[][..], Vec::as_slice);
        if let Some((name, _)) = name {
            self.settle(&name, Err(error.clone()));
            for port in shards.into_iter().filter_map(|shard| ports.get(shard)) {
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

    /// All that is wanted has been restored: tells each shard of the holes in its channels, in one call. What is not
    /// confirmed yet, because Redis refuses it, is told when it is.
    pub(super) fn restored(&self) {
        self.tell_gap(|_, channel| channel.is_confirmed);
    }

    fn tell_gap(&self, is_over: impl Fn(&Arc<str>, &Channel) -> bool) {
        let generation = self.generation();
        let mut missed: HashMap<usize, Vec<Arc<str>>> = HashMap::new();
        for mut channel in self.channels.iter_mut() {
            if is_over(channel.key(), channel.value()) && std::mem::take(&mut channel.has_gap) {
                for (shard, _) in &channel.leases {
                    missed
                        .entry(*shard)
                        .or_default()
                        .push(Arc::clone(channel.key()));
                }
            }
        }
        let ports = self.ports.get().map_or(&[][..], Vec::as_slice);
        for (shard, port) in ports.iter().enumerate() {
            if let Some(channels) = missed.remove(&shard) {
                port.gap(Gap {
                    generation,
                    channels: Arc::from(channels),
                });
            }
        }
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("channels", &self.channels.len())
            .finish_non_exhaustive()
    }
}

impl Lease {
    pub(crate) fn channel(&self) -> &Arc<str> {
        &self.channel
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.registry.release(&self.channel, self.shard);
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("channel", &self.channel)
            .field("shard", &self.shard)
            .finish_non_exhaustive()
    }
}
