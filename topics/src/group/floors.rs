//! Up to where all groups have finished a topic, for retention and compaction.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::keys::{GroupName, groups_of};
use super::meta::Meta;
use super::slot::Stored;
use crate::clock::now;
use crate::core::{Core, Holder};
use crate::{Bounds, Offset, RegisterKey, TopicError};

/// Groups that are looked at with one call.
const PAGE: usize = 1000;

/// How long one group is looked at alone.
const HOLDS_FOR: Duration = Duration::from_secs(60);

/// The offset up to which all groups of a topic have finished all records. `None` if no group holds
/// it: there is none, or none that was active lately.
///
/// As long as the group that has finished the least holds the first record, nothing depends on the
/// others, and they are looked at only from time to time. That is not so with compaction, which
/// removes records behind the first one.
pub(crate) async fn lowest_floor(
    core: &Core,
    bounds: &Bounds,
) -> Result<Option<Offset>, TopicError> {
    if core.settings.compaction.is_none()
        && let Some(holder) = core.holder()
        && holder.looked.elapsed() < HOLDS_FOR
        && let Some(meta) = metas(core, &[holder.group.meta()]).await?.pop().flatten()
        && is_active(&meta)
    {
        let floor = floor(core, &holder.group, &meta, bounds).await?;
        if floor < bounds.first {
            return Ok(Some(floor));
        }
    }
    let looked = Instant::now();
    let lowest = lowest(core, bounds).await?;
    let floor = lowest.as_ref().map(|(floor, _)| *floor);
    core.set_holder(lowest.map(|(_, group)| Holder { group, looked }));
    Ok(floor)
}

/// Looks at all groups.
async fn lowest(core: &Core, bounds: &Bounds) -> Result<Option<(Offset, GroupName)>, TopicError> {
    let namespace = groups_of(core.name.as_str());
    let mut lowest: Option<(Offset, GroupName)> = None;
    let mut inactive = BTreeSet::new();
    let mut after: Option<String> = None;
    loop {
        let groups = core.registers.scan(&namespace, "", after.as_deref(), PAGE);
        let groups = core.call(groups).await?;
        let Some((last, _)) = groups.last() else {
            break;
        };
        after = Some(last.name().to_owned());
        let names = groups.iter().map(|(key, _)| GroupName::new(key.name()));
        let names: Vec<_> = names.filter_map(Result::ok).collect();
        let keys: Vec<_> = names.iter().map(GroupName::meta).collect();
        for (name, meta) in names.into_iter().zip(metas(core, &keys).await?) {
            let Some(meta) = meta else {
                continue;
            };
            if !is_active(&meta) {
                inactive.insert(name.as_str().to_owned());
                continue;
            }
            let floor = floor(core, &name, &meta, bounds).await?;
            if lowest.as_ref().is_none_or(|(lowest, _)| floor < *lowest) {
                lowest = Some((floor, name));
            }
        }
    }
    core.tell_inactive(inactive);
    Ok(lowest)
}

/// What is kept of groups; `None` for those that are gone.
async fn metas(core: &Core, keys: &[RegisterKey]) -> Result<Vec<Option<Meta>>, TopicError> {
    let found = core.call(core.registers.get(keys)).await?;
    let metas = found.into_iter().map(|it| Meta::decode(&it?));
    Ok(metas.collect())
}

fn is_active(meta: &Meta) -> bool {
    now().saturating_sub(meta.active) <= meta.options.inactive_after
}

/// The lowest floor of all slots of a group. One that nobody has owned is where the group began.
async fn floor(
    core: &Core,
    name: &GroupName,
    meta: &Meta,
    bounds: &Bounds,
) -> Result<Offset, TopicError> {
    let mut topics = meta.options.topics.iter();
    let Some(topic) = topics.position(|topic| topic == core.name.as_str()) else {
        return Ok(Offset::MAX);
    };
    let slots = meta.options.slots();
    let keys: Vec<_> = (0..slots).map(|number| name.slot(number)).collect();
    let registers = core.call(core.registers.get(&keys)).await?;
    let start = meta.starts.get(topic).map(crate::Position::place);
    let floors = registers.into_iter().map(|register| {
        let stored = register.and_then(|it| Stored::decode(it.value).ok());
        let place = match &stored {
            Some(stored) => stored.parts.get(topic).map(|part| part.floor),
            None => start,
        };
        // In another life of the topic the group has finished nothing.
        let place = place.filter(|place| place.epoch == bounds.epoch);
        place.map_or(0, |place| place.offset)
    });
    Ok(floors.min().unwrap_or_default())
}
