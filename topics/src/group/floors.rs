//! Up to where all groups have finished a topic, for retention and compaction.

use std::collections::BTreeSet;

use super::keys::{GroupName, groups_of};
use super::meta::Meta;
use super::slot::Stored;
use crate::clock::now;
use crate::core::Core;
use crate::{Bounds, Offset, TopicError};

/// Groups that are looked at with one call.
const PAGE: usize = 1000;

/// The offset up to which all groups of a topic have finished all records. `None` if no group holds
/// it: there is none, or none that was active lately.
pub(crate) async fn lowest_floor(
    core: &Core,
    bounds: &Bounds,
) -> Result<Option<Offset>, TopicError> {
    let namespace = groups_of(core.name.as_str());
    let mut lowest: Option<Offset> = None;
    let mut inactive = BTreeSet::new();
    let mut after: Option<String> = None;
    loop {
        let groups = core.registers.scan(&namespace, "", after.as_deref(), PAGE);
        let groups = core.call(groups).await?;
        let Some((last, _)) = groups.last() else {
            break;
        };
        after = Some(last.name().to_owned());
        for (key, _) in groups {
            let Ok(name) = GroupName::new(key.name()) else {
                continue;
            };
            let Some(meta) = meta(core, &name).await? else {
                continue;
            };
            if now().saturating_sub(meta.active) > meta.options.inactive_after {
                inactive.insert(name.as_str().to_owned());
                continue;
            }
            let floor = floor(core, &name, &meta, bounds).await?;
            lowest = Some(lowest.unwrap_or(floor).min(floor));
        }
    }
    core.tell_inactive(inactive);
    Ok(lowest)
}

async fn meta(core: &Core, name: &GroupName) -> Result<Option<Meta>, TopicError> {
    let found = core.call(core.registers.get(&[name.meta()])).await?;
    let register = found.into_iter().next().flatten();
    Ok(register.as_ref().and_then(Meta::decode))
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
