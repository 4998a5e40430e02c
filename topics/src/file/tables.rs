//! The tables of the database, and their rows.

use bytes::{Buf, BufMut, Bytes};
use redb::TableDefinition;

use crate::{Bounds, Content, Damaged, Epoch, Mark, NewRecord, Offset, Record};

/// The topics by name.
pub(super) const TOPICS: TableDefinition<'_, &str, TopicRow> = TableDefinition::new("topics");

/// The records by the number of their topic and their offset.
pub(super) const RECORDS: TableDefinition<'_, (u64, Offset), &[u8]> =
    TableDefinition::new("records");

/// The ids for deduplication by the number of their topic: offset, mark and time of the record.
pub(super) const DEDUP: TableDefinition<'_, (u64, &str), (Offset, Mark, u64)> =
    TableDefinition::new("dedup");

/// The same ids by age: the topic's number, time and offset.
pub(super) const DEDUP_BY_AGE: TableDefinition<'_, (u64, u64, Offset), &str> =
    TableDefinition::new("dedup by age");

/// What was trimmed or deleted and is still there: a topic's number and an offset up to which, or
/// [`EVERYTHING`].
pub(super) const GARBAGE: TableDefinition<'_, u64, Offset> = TableDefinition::new("garbage");

/// The registers by namespace and name: version, when it expires or [`NEVER`], value.
pub(super) const REGISTERS: TableDefinition<'_, (&str, &str), (u64, u64, &[u8])> =
    TableDefinition::new("registers");

/// The registers that expire, by when they do.
pub(super) const EXPIRY: TableDefinition<'_, (u64, &str, &str), ()> =
    TableDefinition::new("expiry");

/// Numbers of the store itself, by the names below.
pub(super) const STORE: TableDefinition<'_, &str, u64> = TableDefinition::new("store");

/// The form of the tables, which is [`FORMAT`].
pub(super) const FORMAT_ROW: &str = "format";
/// The number that the last topic was given. No topic is given it again.
pub(super) const NUMBER_ROW: &str = "number";
/// How many transactions were committed.
pub(super) const COMMIT_ROW: &str = "commit";

pub(super) const FORMAT: u64 = 1;
pub(super) const EVERYTHING: Offset = Offset::MAX;
pub(super) const NEVER: u64 = u64::MAX;

/// Number, epoch, first, last, mark of the last, horizon, whether it is closed, time of the last.
pub(super) type TopicRow = (u64, u64, Offset, Offset, Mark, Offset, bool, u64);

/// A topic as it is stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct StoredTopic {
    /// By which its records are found. Another topic of the same name has another one.
    pub(super) number: u64,
    pub(super) bounds: Bounds,
    /// The time of its last record.
    pub(super) time: u64,
}

impl StoredTopic {
    pub(super) fn from_row(row: TopicRow) -> Self {
        let (number, epoch, first, last, last_mark, horizon, closed, time) = row;
        let bounds = Bounds {
            first,
            last,
            last_mark,
            horizon,
            closed,
            ..Bounds::new(Epoch::from_u64(epoch))
        };
        Self {
            number,
            bounds,
            time,
        }
    }

    pub(super) const fn to_row(self) -> TopicRow {
        let bounds = self.bounds;
        (
            self.number,
            bounds.epoch.to_u64(),
            bounds.first,
            bounds.last,
            bounds.last_mark,
            bounds.horizon,
            bounds.closed,
            self.time,
        )
    }
}

/// Time and mark of a record, and the CRC32C of both and of its offset. The content, which has a
/// checksum of its own, follows.
const HEAD: usize = 16;

/// A record as bytes.
pub(crate) fn encode(record: &NewRecord, offset: Offset, time: u64) -> Vec<u8> {
    let size = HEAD.saturating_add(record.content.encoded_size());
    let mut row = Vec::with_capacity(size);
    row.put_u64(time);
    row.put_u32(record.mark);
    row.put_u32(checksum(offset, time, record.mark));
    record.content.encode_to(record.mark, &mut row);
    row
}

/// Reads what [`encode`] wrote for this offset.
///
/// # Errors
///
/// The bytes are others, or those of another offset.
pub(crate) fn decode(row: &[u8], offset: Offset) -> Result<Record, Damaged> {
    let (mark, time) = head(row, offset)?;
    let content = Bytes::copy_from_slice(row.get(HEAD..).unwrap_or_default());
    Ok(Record::new(
        offset,
        mark,
        time,
        Content::decode(content, mark)?,
    ))
}

/// The mark and the time of a record, without its content.
///
/// # Errors
///
/// They are not what was written.
pub(super) fn head(mut row: &[u8], offset: Offset) -> Result<(Mark, u64), Damaged> {
    let time = row.try_get_u64().map_err(|_| Damaged)?;
    let mark = row.try_get_u32().map_err(|_| Damaged)?;
    let sum = row.try_get_u32().map_err(|_| Damaged)?;
    if sum == checksum(offset, time, mark) {
        Ok((mark, time))
    } else {
        Err(Damaged)
    }
}

fn checksum(offset: Offset, time: u64, mark: Mark) -> u32 {
    let sum = crc32c::crc32c(&offset.to_be_bytes());
    let sum = crc32c::crc32c_append(sum, &time.to_be_bytes());
    crc32c::crc32c_append(sum, &mark.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn topic_087_each_changed_bit_of_a_row_is_found() {
        let content = Content {
            meta: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
            ..Content::new("payload")
        };
        let row = encode(&NewRecord::new(7, content.clone()), 3, 1_000);
        let record = Record::new(3, 7, 1_000, content);
        assert_eq!(decode(&row, 3), Ok(record));
        assert_eq!(decode(&row, 4), Err(Damaged));
        for length in 0..row.len() {
            assert_eq!(decode(&row[..length], 3), Err(Damaged));
            for bit in 0..8 {
                let mut flipped = row.clone();
                flipped[length] ^= 1 << bit;
                assert_eq!(decode(&flipped, 3), Err(Damaged));
            }
        }
    }
}
