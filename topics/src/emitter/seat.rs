//! Emitters that keep nothing: which of them run, and up to where each of them has fired. What all
//! of them have is removed from the topic, by one of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::core::Core;
use crate::{
    Lease, Place, Position, Register, RegisterKey, Swap, Swapped, Topic, TopicError, TopicName,
    Version,
};

/// How often an emitter says up to where it has fired, and how often what all have is removed.
const EVERY: Duration = Duration::from_secs(1);

/// How often it says so at least, for others to see that it runs.
const BEAT: Duration = Duration::from_secs(3);

/// After how long without that it counts as ended.
const LEASE: Duration = Duration::from_secs(10);

/// Registers that are read at once.
const PAGE: usize = 1000;

/// Where a register is that says where an emitter has fired up to.
const SEATS: &str = "seat ";

/// What a seat holds that does not know yet where it begins: nothing may be removed.
const UNKNOWN: &str = "-";

/// The registers of all emitters on a topic.
pub(super) fn namespace(topic: &TopicName) -> String {
    format!("updraft/emitter/{topic}")
}

/// Says that all emitters of a topic keep what has fired, or that none does.
///
/// # Errors
///
/// [`TopicError::ConfigConflict`] if others on this topic do otherwise, or that of the store.
pub(super) async fn agree(topic: &Topic, persist: bool) -> Result<(), TopicError> {
    let core = topic.core();
    let epoch = core.bounds().await?.epoch.to_u64();
    let key = RegisterKey::new(&namespace(topic.name()), "persist")?;
    let value = format!("{epoch:016x} {persist}");
    loop {
        let found = read(core, &key).await?;
        let version = found.as_ref().map(|register| register.version);
        if let Some(register) = found {
            if *register.value == *value.as_bytes() {
                return Ok(());
            }
            // What was agreed on in another life of the topic says nothing.
            if register
                .value
                .starts_with(format!("{epoch:016x} ").as_bytes())
            {
                return Err(TopicError::ConfigConflict);
            }
        }
        let swap = Swap::write(key.clone(), version, value.clone())?;
        if let Some(Swapped::Written(_)) = swapped(core, swap).await? {
            return Ok(());
        }
    }
}

/// That an emitter runs, and up to where it has fired.
pub(super) struct Seat {
    core: Arc<Core>,
    key: RegisterKey,
    version: Option<Version>,
}

impl Seat {
    /// Takes a seat. Nothing is removed that is published from now on, until the seat says where
    /// it is.
    pub(super) async fn take(topic: &Topic, id: &str) -> Result<Self, TopicError> {
        let mut seat = Self {
            core: Arc::clone(topic.core()),
            key: RegisterKey::new(&namespace(topic.name()), &format!("{SEATS}{id}"))?,
            version: None,
        };
        seat.write(None).await?;
        Ok(seat)
    }

    /// Says where the emitter is, until the sender is dropped, and then gives the seat up.
    pub(super) async fn report(mut self, mut fired: watch::Receiver<Option<Position>>) {
        let mut written_at = Instant::now();
        fired.mark_changed();
        loop {
            let is_over = tokio::select! {
                changed = fired.changed() => changed.is_err(),
                () = sleep(BEAT.saturating_sub(written_at.elapsed())) => false,
            };
            if is_over {
                let remove = Swap::remove(self.key.clone(), self.version);
                drop(swapped(&self.core, remove).await);
                return;
            }
            let position = *fired.borrow_and_update();
            if let Err(error) = self.write(position).await {
                tracing::debug!(key = ?self.key, %error, "others do not see this emitter");
            }
            written_at = Instant::now();
            // Often enough. That it is over is seen at once.
            tokio::select! {
                () = sleep(EVERY) => {}
                () = until_dropped(fired.clone()) => {}
            }
        }
    }

    async fn write(&mut self, position: Option<Position>) -> Result<(), TopicError> {
        let value = position.map_or_else(|| UNKNOWN.into(), |position| position.to_string());
        loop {
            let swap = Swap::write(self.key.clone(), self.version, value.clone())?;
            match swapped(&self.core, swap).await? {
                Some(Swapped::Written(version)) => {
                    self.version = Some(version);
                    return Ok(());
                }
                // An answer was lost, or this emitter was taken for ended.
                Some(Swapped::Conflict { actual }) => self.version = actual,
                _ => self.version = None,
            }
        }
    }
}

async fn until_dropped(mut fired: watch::Receiver<Option<Position>>) {
    while fired.changed().await.is_ok() {}
}

/// Removes what all running emitters have fired, while no other one does so. Never resolves.
pub(super) async fn remove_fired(topic: &Topic) -> Result<(), TopicError> {
    let core = topic.core();
    let key = RegisterKey::new(&namespace(topic.name()), "sweeper")?;
    let lease = Lease::new(Arc::clone(&core.registers), key, LEASE);
    loop {
        let held = lease.take().await;
        let mut remover = Remover {
            core,
            namespace: namespace(topic.name()),
            seats: HashMap::new(),
        };
        let removing = async {
            loop {
                if let Err(error) = remover.remove().await {
                    tracing::debug!(topic = %core.name, %error, "events were not removed");
                }
                sleep(EVERY).await;
            }
        };
        // Then another one does it.
        let _: Option<()> = held.run(removing).await;
    }
}

struct Remover<'a> {
    core: &'a Core,
    namespace: String,
    /// Filled by `read_seats`, which also drains those that are gone. As many as emitters run.
    seats: HashMap<RegisterKey, Seen>,
}

/// What was last seen of a seat.
struct Seen {
    register: Register,
    since: Instant,
}

impl Remover<'_> {
    async fn remove(&mut self) -> Result<(), TopicError> {
        // Before the seats: who takes one later begins behind what was there before that.
        let bounds = self.core.bounds().await?;
        self.read_seats().await?;
        self.remove_dead().await?;
        let mut up_to = bounds.last;
        for seen in self.seats.values() {
            let text = std::str::from_utf8(&seen.register.value).unwrap_or(UNKNOWN);
            let position = text.parse::<Position>().ok();
            let place: Option<Place> = position.map(|position| position.place());
            // One that has not said anything in this life of the topic has nothing of it.
            let place = place.filter(|place| place.epoch == bounds.epoch);
            up_to = up_to.min(place.map_or(0, |place| place.offset));
        }
        if !self.seats.is_empty() && up_to >= bounds.first {
            let trim = self.core.log.trim(&self.core.name, bounds.epoch, up_to);
            self.core.call(trim).await?;
        }
        Ok(())
    }

    async fn read_seats(&mut self) -> Result<(), TopicError> {
        let asked = Instant::now();
        let mut found = HashMap::new();
        let mut after: Option<String> = None;
        loop {
            let registers = &self.core.registers;
            let page = registers.scan(&self.namespace, SEATS, after.as_deref(), PAGE);
            let page = self.core.call(page).await?;
            after = page.last().map(|(key, _)| key.name().to_owned());
            found.extend(page);
            if after.is_none() {
                break;
            }
        }
        self.seats.retain(|key, _| found.contains_key(key));
        for (key, register) in found {
            let seen = self.seats.get(&key);
            let since = seen.filter(|seen| seen.register.version == register.version);
            let since = since.map_or(asked, |seen| seen.since);
            self.seats.insert(key, Seen { register, since });
        }
        Ok(())
    }

    /// Removes the seats of those that have said nothing for too long.
    async fn remove_dead(&mut self) -> Result<(), TopicError> {
        let dead = self.seats.iter();
        let dead = dead.filter(|(_, seen)| seen.since.elapsed() > LEASE);
        let dead: Vec<_> = dead
            .map(|(key, seen)| (key.clone(), seen.register.version))
            .collect();
        for (key, version) in dead {
            let remove = Swap::remove(key.clone(), Some(version));
            if let Some(Swapped::Removed) = swapped(self.core, remove).await? {
                self.seats.remove(&key);
            }
        }
        Ok(())
    }
}

async fn read(core: &Core, key: &RegisterKey) -> Result<Option<Register>, TopicError> {
    let found = core.call(core.registers.get(std::slice::from_ref(key)));
    Ok(found.await?.into_iter().next().flatten())
}

/// Also when the topics are closed, so that what ends can say so.
async fn swapped(core: &Core, swap: Swap) -> Result<Option<Swapped>, TopicError> {
    let swapped = timeout(core.settings.deadline, core.registers.swap(vec![swap])).await;
    let swapped = swapped.unwrap_or(Err(TopicError::Unavailable(None)))?;
    Ok(swapped.into_iter().next())
}
