//! Retention and compaction: which records a topic has to give up, and when.

use crate::clock::{millis, now};
use crate::core::Core;
use crate::group::floors::lowest_floor;
use crate::index::{Index, TopicSize};
use crate::seek::first_at;
use crate::settings::{Interest, WhenFull, WithoutGroups};
use crate::{Bounds, Create, Limit, Offset, Place, Removal, TopicError};

/// Records that one call removes.
const REMOVED_AT_ONCE: usize = 1000;

/// Calls of one sweep that remove records or read the topic. What is left is for the next one.
const CALLS: usize = 100;

/// What retention and compaction have done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Swept {
    /// How many records compaction has removed in this process since the topic was opened, by this
    /// sweep, earlier ones, and those that run by themselves.
    pub compacted: u64,
    /// Whether nothing more is to be removed now. A long topic is read, and many records are
    /// removed, in several sweeps.
    pub is_complete: bool,
}

/// Applies the topic's settings to what it holds.
///
/// # Errors
///
/// That of the store. What was not removed is removed the next time.
pub(crate) async fn sweep(core: &Core) -> Result<Swept, TopicError> {
    let mut index = core.index.lock().await;
    let mut bounds = core.call(core.log.open(&core.name, Create::Never)).await?;
    if bounds.first > bounds.last {
        // What was known of it is gone too.
        *index = None;
        return Ok(Swept {
            compacted: core.compacted(),
            is_complete: true,
        });
    }
    let needs_floor =
        core.settings.retention.interest.is_some() || core.settings.compaction.is_some();
    let floor = if needs_floor {
        lowest_floor(core, &bounds).await?
    } else {
        None
    };
    let is_known = core.settings.needs_index() && catch_up(core, &mut index, &bounds).await?;
    let known = index.as_ref().filter(|_| is_known);
    let mut first = first_to_keep(core, known, &bounds).await?;
    if let Some(interest) = &core.settings.retention.interest {
        first = first_of_interest(interest, first, floor, known, &bounds);
    }
    if let Some(first) = first
        && first > bounds.first
    {
        let trim = core
            .log
            .trim(&core.name, bounds.epoch, first.saturating_sub(1));
        bounds = core.call(trim).await?;
        if let Some(index) = &mut *index {
            index.trimmed(bounds.first);
        }
    }
    match index.as_mut() {
        Some(index) if is_known => compact(core, index, &bounds, floor).await,
        _ => Ok(Swept {
            compacted: core.compacted(),
            is_complete: !core.settings.needs_index(),
        }),
    }
}

/// What the topic holds now.
pub(crate) async fn held(core: &Core) -> Result<TopicSize, TopicError> {
    let mut index = core.index.lock().await;
    loop {
        let bounds = core.bounds().await?;
        if !core.settings.needs_index() {
            let records = bounds.last.saturating_add(1).saturating_sub(bounds.first);
            return Ok(TopicSize { records, bytes: 0 });
        }
        if catch_up(core, &mut index, &bounds).await?
            && let Some(index) = &*index
        {
            return Ok(index.held());
        }
    }
}

/// Reads what the index does not know yet; whether that is all of it.
async fn catch_up(
    core: &Core,
    index: &mut Option<Index>,
    bounds: &Bounds,
) -> Result<bool, TopicError> {
    let by_id = core.settings.compaction.is_some();
    let known = index
        .take()
        .filter(|index| index.read.epoch == bounds.epoch);
    let index = index.insert(known.unwrap_or_else(|| Index::new(bounds.epoch)));
    index.trimmed(bounds.first);
    for _ in 0..CALLS {
        if index.read.offset >= bounds.last {
            return Ok(true);
        }
        match core.page(index.read, Limit::default()).await {
            Ok(page) => {
                for record in &page.records {
                    index.add(record, by_id);
                }
                index.read = page.next;
            }
            // It goes with the records around it.
            Err(TopicError::Damaged { offset }) => {
                index.read = Place::unmarked(bounds.epoch, offset);
            }
            // The topic is another one: the index is made anew.
            Err(TopicError::Reset(_)) => {
                *index = Index::new(bounds.epoch);
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// The first offset that may stay.
async fn first_to_keep(
    core: &Core,
    index: Option<&Index>,
    bounds: &Bounds,
) -> Result<Option<Offset>, TopicError> {
    let retention = &core.settings.retention;
    let mut first = None;
    if retention.when_full == WhenFull::DropOldest {
        first = match (index, retention.max_records) {
            (Some(index), records) => index.first_within(records, retention.max_bytes),
            // With compaction there are holes, which only the index knows.
            (None, Some(records)) if core.settings.compaction.is_none() => {
                Some(bounds.last.saturating_add(1).saturating_sub(records))
            }
            (None, _) => None,
        };
    }
    if let Some(age) = retention.max_age
        && bounds.first <= bounds.last
    {
        let oldest = now().saturating_sub(millis(age));
        first = first.max(Some(first_at(core, bounds, oldest).await?));
    }
    Ok(first)
}

/// The first offset that may stay in a topic that is kept for its groups. `limit` is the one that
/// the other limits leave, `floor` is up to where all groups have finished.
fn first_of_interest(
    interest: &Interest,
    limit: Option<Offset>,
    floor: Option<Offset>,
    index: Option<&Index>,
    bounds: &Bounds,
) -> Option<Offset> {
    let first = match (floor, interest.without_groups) {
        // What the limits leave is more, since they remove nothing that is not finished.
        (Some(floor), _) => Some(floor.saturating_add(1)),
        (None, WithoutGroups::Keep) => limit,
        (None, WithoutGroups::Drop) => Some(bounds.last.saturating_add(1)),
    };
    let hard = index.and_then(|index| index.first_within(None, interest.hard_bytes));
    first.max(hard)
}

async fn compact(
    core: &Core,
    index: &mut Index,
    bounds: &Bounds,
    floor: Option<Offset>,
) -> Result<Swept, TopicError> {
    let swept = |is_complete| Swept {
        compacted: core.compacted(),
        is_complete,
    };
    // What a group has not finished stays.
    let end = floor.unwrap_or(Offset::MAX);
    let Some(compaction) = &core.settings.compaction else {
        return Ok(swept(true));
    };
    let now = now();
    for _ in 0..CALLS {
        let mut offsets = index.redundant(now, compaction, REMOVED_AT_ONCE);
        offsets.retain(|offset| *offset <= end);
        let mut horizon = 0;
        if offsets.is_empty() {
            offsets = index.tombstones(now, compaction, REMOVED_AT_ONCE);
            offsets.retain(|offset| *offset <= end);
            horizon = offsets.last().copied().unwrap_or_default();
        }
        if offsets.is_empty() {
            return Ok(swept(true));
        }
        let removal = Removal::new(bounds.epoch, offsets.clone(), horizon);
        core.call(core.log.remove(&core.name, removal)).await?;
        index.removed(&offsets);
        core.add_compacted(offsets.len());
    }
    Ok(swept(false))
}
