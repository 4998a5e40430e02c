//! The way of records into the store.

use std::time::Duration;

use serde::ser::{Serialize, SerializeStruct, Serializer};
use tokio::time::{Instant, timeout_at};

use crate::core::Core;
use crate::entry::Entry;
use crate::settings::WhenFull;
use crate::sweep::held;
use crate::{Append, AppendedBatch, Features, NewRecord, Offset, Place, Position, TopicError};

/// The longest deadline: longer ones cannot be told from none.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// A record that was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// Its position.
    pub position: Position,
    /// Its number in the topic.
    pub offset: Offset,
    /// When it was stored, in milliseconds since 1970 by the store's clock.
    pub time: u64,
    /// Whether it had been stored before, under the same id for deduplication.
    pub duplicate: bool,
}

/// As clients are told: `position`, `time`, and `duplicate`.
impl Serialize for Published {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_struct("Published", 3)?;
        members.serialize_field("position", &self.position)?;
        members.serialize_field("time", &self.time)?;
        members.serialize_field("duplicate", &self.duplicate)?;
        members.end()
    }
}

pub(crate) async fn publish(core: &Core, entry: Entry) -> Result<Published, TopicError> {
    let published = publish_many(core, [entry], None).await?;
    // A store answers for each record.
    published
        .into_iter()
        .next()
        .ok_or(TopicError::Unavailable(None))
}

pub(crate) async fn publish_many(
    core: &Core,
    entries: impl IntoIterator<Item = Entry>,
    expect: Option<Offset>,
) -> Result<Vec<Published>, TopicError> {
    let records = entries.into_iter().enumerate();
    let records = records.map(|(index, entry)| entry.into_record(index, &core.settings));
    let records = records.collect::<Result<Vec<_>, _>>()?;
    publish_records(core, records, expect).await
}

/// The same for what was checked.
pub(crate) async fn publish_records(
    core: &Core,
    records: Vec<NewRecord>,
    expect: Option<Offset>,
) -> Result<Vec<Published>, TopicError> {
    if records.is_empty() {
        return Ok(Vec::new());
    }
    let mut append = Append::new(records).dedup_window(core.settings.dedup_window);
    append.expect = expect;
    check_support(&append, core.log.features())?;
    let batch = store(core, append).await?;
    let published = batch.records.into_iter().map(|appended| {
        let place = Place::new(batch.epoch, appended.offset, appended.mark);
        Published {
            position: Position::at(&core.name, place),
            offset: appended.offset,
            time: appended.time,
            duplicate: appended.duplicate,
        }
    });
    Ok(published.collect())
}

fn check_support(append: &Append, features: Features) -> Result<(), TopicError> {
    let needs_dedup = append.records.iter().any(|record| record.dedup.is_some());
    let what = if append.expect.is_some() && !features.expect {
        "append only behind an expected offset"
    } else if needs_dedup && !features.dedup {
        "find duplicates by an id"
    } else {
        return Ok(());
    };
    Err(TopicError::Unsupported { what })
}

/// Waits for room in the queue, and then for the store.
async fn store(core: &Core, append: Append) -> Result<AppendedBatch, TopicError> {
    let began = Instant::now();
    let deadline = began
        .checked_add(core.settings.deadline.min(LONGEST))
        .unwrap_or(began);
    let queued = timeout_at(deadline, core.queue(&append.records)).await;
    let _queued = queued.map_err(|_| TopicError::Busy)?;
    let storing = async {
        refuse_if_full(core, &append.records).await?;
        core.ask_again(|| core.log.append(&core.name, append.clone()))
            .await
    };
    let stored = timeout_at(deadline, storing).await;
    let batch = stored.unwrap_or(Err(TopicError::Unavailable(None)))?;
    core.grew();
    Ok(batch)
}

async fn refuse_if_full(core: &Core, records: &[NewRecord]) -> Result<(), TopicError> {
    let retention = &core.settings.retention;
    if retention.when_full != WhenFull::Refuse {
        return Ok(());
    }
    let held = held(core).await?;
    let count = u64::try_from(records.len()).unwrap_or(u64::MAX);
    let bytes = records.iter().fold(0, |sum: u64, record| {
        let size = u64::try_from(record.content.size()).unwrap_or(u64::MAX);
        sum.saturating_add(size)
    });
    let is_over =
        |max: Option<u64>, held: u64, more| max.is_some_and(|max| held.saturating_add(more) > max);
    if is_over(retention.max_records, held.records, count)
        || is_over(retention.max_bytes, held.bytes, bytes)
    {
        return Err(TopicError::Full);
    }
    Ok(())
}
