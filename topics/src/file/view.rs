//! What reads a store, in a transaction that sees one state of it.

use std::ops::Bound;

use bytes::Bytes;
use redb::ReadTransaction;

use super::change::Failure;
use super::tables::{RECORDS, REGISTERS, StoredTopic, TOPICS, decode, head};
use crate::{
    Bounds, Limit, Page, Place, Read, Record, Register, RegisterKey, TopicError, TopicName, Version,
};

/// What a topic holds.
pub(super) fn bounds(view: &ReadTransaction, name: &TopicName) -> Result<Bounds, Failure> {
    Ok(topic(view, name)?.bounds)
}

/// The records behind a place.
pub(super) fn read(
    view: &ReadTransaction,
    name: &TopicName,
    after: Place,
    limit: Limit,
) -> Result<Read, Failure> {
    let StoredTopic { number, bounds, .. } = topic(view, name)?;
    if after.epoch != bounds.epoch {
        return Ok(Read::UnknownEpoch(bounds));
    }
    if after.offset > bounds.last {
        return Ok(Read::Ahead(bounds));
    }
    let records = view.open_table(RECORDS)?;
    let held = if after.offset == bounds.last {
        Some(bounds.last_mark)
    } else if after.offset >= bounds.first {
        let row = records.get((number, after.offset))?;
        // That of a damaged record is not known.
        row.and_then(|row| head(row.value(), after.offset).ok())
            .map(|(mark, _)| mark)
    } else {
        None
    };
    if let (Some(mark), Some(held)) = (after.mark, held)
        && mark != held
    {
        return Ok(Read::Diverged(bounds));
    }
    let mut page: Vec<Record> = Vec::new();
    let mut bytes: usize = 0;
    // Records in front of the first may not have been removed yet.
    let from = after.offset.saturating_add(1).max(bounds.first);
    if from > bounds.last {
        return Ok(Read::Page(Page::new(page, bounds.end(), bounds)));
    }
    for row in records.range((number, from)..=(number, bounds.last))? {
        let (key, row) = row?;
        let (_, offset) = key.value();
        let is_full = page.len() >= limit.count.max(1);
        let record = if is_full {
            None
        } else {
            match decode(row.value(), offset) {
                Ok(record) => Some(record),
                Err(_) if page.is_empty() => {
                    return Err(Failure::Refused(TopicError::Damaged { offset }));
                }
                Err(_) => None,
            }
        };
        if let Some(record) = &record {
            bytes = bytes.saturating_add(record.content.size());
        }
        match (record, page.last()) {
            (Some(record), last) if last.is_none() || bytes <= limit.bytes => page.push(record),
            (_, Some(last)) => {
                let next = Place::new(bounds.epoch, last.offset, last.mark);
                return Ok(Read::Page(Page::new(page, next, bounds)));
            }
            (_, None) => {}
        }
    }
    Ok(Read::Page(Page::new(page, bounds.end(), bounds)))
}

/// The topics whose names begin with `prefix`.
pub(super) fn list(
    view: &ReadTransaction,
    prefix: &str,
    after: Option<&TopicName>,
    limit: usize,
) -> Result<Vec<TopicName>, Failure> {
    let topics = view.open_table(TOPICS)?;
    let from = match after {
        Some(after) if after.as_str() >= prefix => Bound::Excluded(after.as_str()),
        _ => Bound::Included(prefix),
    };
    let mut names = Vec::new();
    for row in topics.range::<&str>((from, Bound::Unbounded))?.take(limit) {
        let (name, _) = row?;
        if !name.value().starts_with(prefix) {
            break;
        }
        names.push(
            TopicName::new(name.value()).map_err(|invalid| Failure::Refused(invalid.into()))?,
        );
    }
    Ok(names)
}

/// The registers of these keys.
pub(super) fn registers(
    view: &ReadTransaction,
    keys: &[RegisterKey],
    now: u64,
) -> Result<Vec<Option<Register>>, Failure> {
    let registers = view.open_table(REGISTERS)?;
    let mut found = Vec::with_capacity(keys.len());
    for key in keys {
        let row = registers.get((key.namespace(), key.name()))?;
        found.push(row.and_then(|row| register(row.value(), now)));
    }
    Ok(found)
}

/// The registers of a namespace whose names begin with `prefix`.
pub(super) fn scan(
    view: &ReadTransaction,
    namespace: &str,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
    now: u64,
) -> Result<Vec<(RegisterKey, Register)>, Failure> {
    let registers = view.open_table(REGISTERS)?;
    let from = match after {
        Some(after) if after >= prefix => Bound::Excluded((namespace, after)),
        _ => Bound::Included((namespace, prefix)),
    };
    let mut found = Vec::new();
    for row in registers.range::<(&str, &str)>((from, Bound::Unbounded))? {
        let (key, row) = row?;
        let (space, name) = key.value();
        if found.len() >= limit || space != namespace || !name.starts_with(prefix) {
            break;
        }
        if let Some(register) = register(row.value(), now) {
            let key = RegisterKey::new(space, name).map_err(Failure::Refused)?;
            found.push((key, register));
        }
    }
    Ok(found)
}

fn topic(view: &ReadTransaction, name: &TopicName) -> Result<StoredTopic, Failure> {
    let topics = view.open_table(TOPICS)?;
    let row = topics.get(name.as_str())?;
    let topic = row.map(|row| StoredTopic::from_row(row.value()));
    topic.ok_or(Failure::Refused(TopicError::UnknownTopic))
}

/// The register of a row, if its time is not over.
fn register((version, expires, value): (u64, u64, &[u8]), now: u64) -> Option<Register> {
    let version = Version::from_u64(version);
    (expires > now).then(|| Register::new(version, Bytes::copy_from_slice(value)))
}
