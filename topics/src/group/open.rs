//! Opens a group, and creates it if there is none of its name.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::sync::mpsc;

use super::beats::Beats;
use super::context::{Context, DroppedLater, Handle};
use super::keys::{GROUPS, GroupName, groups_of};
use super::meta::{Meta, unknown};
use super::options::Options;
use super::owner::Owner;
use crate::core::Core;
use crate::seek::{Start, seek};
use crate::settings::Settings;
use crate::sweep_lease::SweepLeases;
use crate::wake::WakeUps;
use crate::{Bounds, Limit, Place, Position, Store, Swap, Swapped, TopicError};

/// Requests that wait for the owner of the slots.
const REQUESTS: usize = 1024;

/// Registers that are removed with one call.
const AT_ONCE: usize = 1000;

/// What all groups of a process share.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    pub(crate) store: Store,
    pub(crate) wake_ups: Arc<WakeUps>,
    pub(crate) beats: Arc<Beats>,
    pub(crate) sweep_leases: Arc<SweepLeases>,
}

impl Parts {
    /// What is kept of a group.
    pub(crate) async fn meta(&self, name: &GroupName) -> Result<Meta, TopicError> {
        let registers = &*self.store.registers;
        match Meta::read(registers, name).await? {
            Some((_, meta)) => Ok(meta),
            None => Err(unknown(registers, name).await),
        }
    }

    /// Creates a group, unless there is one of this name: then its options must be the same.
    pub(crate) async fn create(
        &self,
        name: &GroupName,
        options: &Options,
        topics: &[Arc<Core>],
        start: Start,
    ) -> Result<Meta, TopicError> {
        if topics.is_empty() {
            return Err(TopicError::UnknownTopic);
        }
        if start == Start::Snapshot {
            let what = "begin a group with a snapshot";
            return Err(TopicError::Unsupported { what });
        }
        for topic in topics {
            if !Arc::ptr_eq(&topic.log, &self.store.log) {
                let what = "read the topics of another store in a group";
                return Err(TopicError::Unsupported { what });
            }
            name.dead_letters(&topic.name)?;
        }
        let registers = &*self.store.registers;
        loop {
            if let Some((_, meta)) = Meta::read(registers, name).await? {
                return match meta.options.difference(options) {
                    None => Ok(meta),
                    Some(option) => Err(TopicError::GroupConflict { option }),
                };
            }
            let mut starts = Vec::new();
            let mut holes = Vec::new();
            for topic in topics {
                let (place, bounds) = seek(topic, start).await?;
                starts.push(Position::at(&topic.name, place));
                holes.push(count_holes(topic, place, &bounds).await?);
            }
            let meta = Meta::new(options.clone(), starts, holes);
            // Otherwise another process has created it.
            if meta.create(registers, name).await? {
                return Ok(meta);
            }
        }
    }

    /// The group of this process, and the task that owns its slots, which is to be spawned.
    pub(crate) fn open(
        &self,
        name: GroupName,
        meta: Meta,
        topics: Vec<Arc<Core>>,
    ) -> Result<(Arc<Handle>, Owner), TopicError> {
        let starts = meta.starts.iter().map(Position::place).collect();
        let mut inputs = topics;
        let dead_letters = inputs.iter().map(|topic| {
            let name = name.dead_letters(&topic.name)?;
            let mut settings = Settings::default();
            settings.auto_create = false;
            // A letter that is replayed is announced, and can wait if nobody hears of it.
            settings.poll = topic.settings.poll.saturating_mul(12);
            let (wake_ups, leases) = (Arc::clone(&self.wake_ups), Arc::clone(&self.sweep_leases));
            Ok(Arc::new(Core::new(
                name,
                settings,
                &self.store,
                wake_ups,
                leases,
            )))
        });
        let dead_letters = dead_letters.collect::<Result<Vec<_>, TopicError>>()?;
        inputs.extend(dead_letters);
        let context = Arc::new(Context {
            name,
            options: Arc::new(meta.options),
            starts,
            holes: meta.holes,
            inputs,
            registers: Arc::clone(&self.store.registers),
            beats: Arc::clone(&self.beats),
            wake_ups: Arc::clone(&self.wake_ups),
            dropped: DroppedLater::default(),
            is_deleted: AtomicBool::new(false),
        });
        let (requests, received) = mpsc::channel(REQUESTS);
        let owner = Owner::new(Arc::clone(&context), received);
        Ok((Arc::new(Handle { context, requests }), owner))
    }

    /// Removes all that is kept of a group, its dead letters excepted. False if there is none.
    pub(crate) async fn delete(&self, name: &GroupName) -> Result<bool, TopicError> {
        let registers = &*self.store.registers;
        let Some((version, meta)) = Meta::read(registers, name).await? else {
            return Ok(false);
        };
        let remove = Swap::remove(name.meta(), Some(version));
        if !matches!(
            registers.swap(vec![remove]).await?.first(),
            Some(Swapped::Removed)
        ) {
            return Box::pin(self.delete(name)).await;
        }
        // The rest first, what makes it known last: one that was interrupted can be done again.
        loop {
            let found = registers.scan(&name.namespace(), "", None, AT_ONCE).await?;
            if found.is_empty() {
                break;
            }
            let swaps = found.into_iter();
            let swaps = swaps.map(|(key, register)| Swap::remove(key, Some(register.version)));
            registers.swap(swaps.collect()).await?;
        }
        let mut keys = vec![name.listed()];
        keys.extend(
            meta.options
                .topics
                .iter()
                .map(|topic| name.listed_for(topic)),
        );
        let found = registers.get(&keys).await?;
        let swaps = keys.into_iter().zip(found);
        let swaps = swaps.filter_map(|(key, it)| Some(Swap::remove(key, Some(it?.version))));
        registers.swap(swaps.collect()).await?;
        self.wake_ups.grew(&name.wake_up(), false);
        Ok(true)
    }

    /// The names of groups: all, or those of a topic.
    pub(crate) async fn names(&self, topic: Option<&str>) -> Result<Vec<String>, TopicError> {
        let namespace = topic.map_or_else(|| GROUPS.to_owned(), groups_of);
        let registers = &*self.store.registers;
        let mut names: Vec<String> = Vec::new();
        loop {
            let after = names.last().map(String::as_str);
            let page = registers.scan(&namespace, "", after, AT_ONCE).await?;
            if page.is_empty() {
                return Ok(names);
            }
            names.extend(page.into_iter().map(|(key, _)| key.name().to_owned()));
        }
    }
}

/// How many offsets behind a place have no record. That is only so where records were compacted.
async fn count_holes(core: &Core, place: Place, bounds: &Bounds) -> Result<u64, TopicError> {
    if core.settings.compaction.is_none() && bounds.horizon == 0 {
        return Ok(0);
    }
    let mut records: u64 = 0;
    let mut read = place;
    while read.offset < bounds.last {
        match core.page(read, Limit::default()).await {
            Ok(page) => {
                let held = page
                    .records
                    .iter()
                    .filter(|it| it.offset <= bounds.last)
                    .count();
                records = records.saturating_add(u64::try_from(held).unwrap_or(u64::MAX));
                read = page.next;
            }
            Err(TopicError::Damaged { offset }) => {
                records = records.saturating_add(1);
                read = Place::unmarked(bounds.epoch, offset);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(bounds
        .last
        .saturating_sub(place.offset)
        .saturating_sub(records))
}
