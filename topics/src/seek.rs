//! Where a reader begins.

use crate::core::Core;
use crate::{Bounds, Limit, Offset, Place, Position, TopicError};

/// Where a reader begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// At the first record that is held.
    Earliest,
    /// Behind the last record.
    Latest,
    /// At so many records before the end, or at the first one if there are fewer.
    Last(u64),
    /// At the first record that was stored at this time or later, in milliseconds since 1970.
    Time(u64),
    /// Behind the record of this position.
    Position(Position),
    /// With the latest record of each compact id, those that have ended excepted, in the order of
    /// their offsets; and then behind the record that was the last when that began.
    Snapshot,
}

impl From<Position> for Start {
    fn from(position: Position) -> Self {
        Self::Position(position)
    }
}

/// The place for a start, and what the topic held when it was fixed. For a snapshot that is the
/// place behind it.
pub(crate) async fn seek(core: &Core, start: Start) -> Result<(Place, Bounds), TopicError> {
    if let Start::Position(position) = start {
        position.check(&core.name)?;
        return Ok((position.place(), core.bounds().await?));
    }
    let bounds = core.bounds().await?;
    let place = match start {
        Start::Earliest | Start::Position(_) => before(&bounds, bounds.first),
        Start::Latest | Start::Snapshot => bounds.end(),
        Start::Last(0) => bounds.end(),
        Start::Last(count) => last(core, &bounds, count).await?,
        Start::Time(time) => {
            let offset = first_at(core, &bounds, time).await?;
            before(&bounds, offset)
        }
    };
    Ok((place, bounds))
}

/// The place in front of an offset.
fn before(bounds: &Bounds, offset: Offset) -> Place {
    if offset > bounds.last {
        return bounds.end();
    }
    match offset.saturating_sub(1) {
        0 => Place::start(bounds.epoch),
        offset => Place::unmarked(bounds.epoch, offset),
    }
}

/// The place before the last `count` records that are held. Where many are missing, it looks
/// further and further back.
async fn last(core: &Core, bounds: &Bounds, count: u64) -> Result<Place, TopicError> {
    let mut span = count;
    loop {
        let from = bounds.last.saturating_sub(span);
        let from = from.max(bounds.first.saturating_sub(1));
        let held = offsets(core, bounds, from).await?;
        let too_many = held
            .len()
            .checked_sub(usize::try_from(count).unwrap_or(usize::MAX));
        if let Some(first) = too_many.and_then(|more| held.get(more)) {
            return Ok(before(bounds, *first));
        }
        if from < bounds.first {
            return Ok(before(bounds, bounds.first));
        }
        span = span.saturating_mul(2);
    }
}

/// The offsets of the records behind one, up to the last.
async fn offsets(core: &Core, bounds: &Bounds, from: Offset) -> Result<Vec<Offset>, TopicError> {
    let mut offsets = Vec::new();
    let mut place = Place::unmarked(bounds.epoch, from);
    while place.offset < bounds.last {
        match core.page(place, Limit::default()).await {
            Ok(page) => {
                offsets.extend(page.records.iter().map(|record| record.offset));
                place = page.next;
            }
            Err(TopicError::Damaged { offset }) => {
                offsets.push(offset);
                place = Place::unmarked(bounds.epoch, offset);
            }
            Err(error) => return Err(error),
        }
    }
    offsets.retain(|offset| *offset <= bounds.last);
    Ok(offsets)
}

/// The offset of the first record that is not older than this; the one behind the last if all are.
/// Times never decrease with the offset, so half of the rest is out at each step.
pub(crate) async fn first_at(
    core: &Core,
    bounds: &Bounds,
    time: u64,
) -> Result<Offset, TopicError> {
    let mut low = bounds.first;
    let mut high = bounds.last.saturating_add(1);
    while low < high {
        let middle = low.midpoint(high);
        let place = Place::unmarked(bounds.epoch, middle.saturating_sub(1));
        let (offset, is_older) = match core.page(place, Limit::new(1, 0)).await {
            Ok(page) => match page.records.first() {
                Some(record) => (record.offset, record.time < time),
                None => (high, false),
            },
            // It cannot be known: the records around it decide.
            Err(TopicError::Damaged { offset }) => (offset, offset < high),
            Err(error) => return Err(error),
        };
        if is_older {
            low = offset.saturating_add(1);
        } else {
            high = middle;
        }
    }
    Ok(low.min(bounds.last.saturating_add(1)))
}
