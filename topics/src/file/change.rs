//! What changes a store, in a transaction.
//!
//! Each function here refuses before it has changed anything, so that the changes of several
//! callers can share a transaction.

use std::collections::HashMap;

use redb::{ReadableTable, Table, WriteTransaction};

use super::tables::{
    COMMIT_ROW, DEDUP, DEDUP_BY_AGE, EVERYTHING, EXPIRY, FORMAT, FORMAT_ROW, GARBAGE, NEVER,
    NUMBER_ROW, RECORDS, REGISTERS, STORE, StoredTopic, TOPICS, TopicRow, encode,
};
use crate::clock::millis;
use crate::{
    Append, Appended, AppendedBatch, Bounds, End, Epoch, Mark, Offset, Removal, Swap, Swapped,
    TopicError, TopicName, Version,
};

/// Rows that a transaction removes beside what its callers want.
const SWEEP: usize = 4096;

/// Registers that a transaction removes because their time is over.
const EXPIRE: usize = 128;

/// Why something was not done.
#[derive(Debug)]
pub(super) enum Failure {
    /// This caller cannot have it. Others are not concerned.
    Refused(TopicError),
    /// The database failed.
    Storage(redb::Error),
}

/// All tables, open for writing.
pub(super) struct Tables<'a> {
    topics: Table<'a, &'static str, TopicRow>,
    records: Table<'a, (u64, Offset), &'static [u8]>,
    dedup: Table<'a, (u64, &'static str), (Offset, Mark, u64)>,
    dedup_by_age: Table<'a, (u64, u64, Offset), &'static str>,
    garbage: Table<'a, u64, Offset>,
    registers: Table<'a, (&'static str, &'static str), (u64, u64, &'static [u8])>,
    expiry: Table<'a, (u64, &'static str, &'static str), ()>,
    store: Table<'a, &'static str, u64>,
}

impl<'a> Tables<'a> {
    /// Opens the tables, and makes those that are not there.
    pub(super) fn open(transaction: &'a WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self {
            topics: transaction.open_table(TOPICS)?,
            records: transaction.open_table(RECORDS)?,
            dedup: transaction.open_table(DEDUP)?,
            dedup_by_age: transaction.open_table(DEDUP_BY_AGE)?,
            garbage: transaction.open_table(GARBAGE)?,
            registers: transaction.open_table(REGISTERS)?,
            expiry: transaction.open_table(EXPIRY)?,
            store: transaction.open_table(STORE)?,
        })
    }

    /// Makes an empty database one of topics. Answers the form of its tables.
    pub(super) fn begin(&mut self) -> Result<u64, redb::Error> {
        self.store.insert(FORMAT_ROW, FORMAT)?;
        Ok(FORMAT)
    }

    /// Counts this transaction. Answers its number.
    pub(super) fn count(&mut self) -> Result<u64, redb::Error> {
        self.next(COMMIT_ROW)
    }

    pub(super) fn create(&mut self, name: &TopicName) -> Result<Bounds, Failure> {
        if let Some(topic) = self.find(name)? {
            return Ok(topic.bounds);
        }
        let topic = StoredTopic {
            number: self.next(NUMBER_ROW)?,
            bounds: Bounds::new(Epoch::draw()),
            time: 0,
        };
        self.put(name, topic)?;
        Ok(topic.bounds)
    }

    pub(super) fn append(
        &mut self,
        name: &TopicName,
        append: &Append,
        now: u64,
    ) -> Result<AppendedBatch, Failure> {
        let mut topic = self.topic(name)?;
        let time = now.max(topic.time);
        // Records stored at this time or earlier are not duplicates.
        let over = time.checked_sub(millis(append.dedup_window));
        let mut known = HashMap::new();
        let mut is_any_new = false;
        for record in &append.records {
            let first = match record.dedup.as_deref() {
                Some(id) => self.duplicate(topic.number, id, over)?.map(|it| (id, it)),
                None => None,
            };
            is_any_new |= first.is_none();
            known.extend(first);
        }
        if is_any_new {
            if topic.bounds.closed {
                return Err(Failure::Refused(TopicError::Closed));
            }
            let last = topic.bounds.last;
            if append.expect.is_some_and(|expected| expected != last) {
                return Err(Failure::Refused(TopicError::Conflict { last }));
            }
        }
        let mut records = Vec::with_capacity(append.records.len());
        for record in &append.records {
            let id = record.dedup.as_deref();
            if let Some(first) = id.and_then(|id| known.get(id)) {
                let duplicate = true;
                records.push(Appended {
                    duplicate,
                    ..*first
                });
                continue;
            }
            let offset = topic.bounds.last.saturating_add(1);
            let row = encode(record, offset, time);
            self.records
                .insert((topic.number, offset), row.as_slice())?;
            topic.bounds.last = offset;
            topic.bounds.last_mark = record.mark;
            topic.time = time;
            let appended = Appended::new(offset, record.mark, time, false);
            records.push(appended);
            if let Some(id) = id {
                let row = (offset, record.mark, time);
                self.dedup.insert((topic.number, id), row)?;
                self.dedup_by_age.insert((topic.number, time, offset), id)?;
                known.insert(id, appended);
            }
        }
        if is_any_new {
            self.put(name, topic)?;
        }
        // More than it adds, so that those of an earlier rush become fewer.
        let count = append.records.len().saturating_mul(2).saturating_add(16);
        self.forget(topic.number, over, count)?;
        Ok(AppendedBatch::new(topic.bounds.epoch, records))
    }

    pub(super) fn trim(
        &mut self,
        name: &TopicName,
        epoch: Epoch,
        up_to: Offset,
    ) -> Result<Bounds, Failure> {
        let mut topic = self.topic(name)?;
        let first = up_to.min(topic.bounds.last).saturating_add(1);
        if epoch == topic.bounds.epoch && first > topic.bounds.first {
            topic.bounds.first = first;
            self.put(name, topic)?;
            self.garbage
                .insert(topic.number, up_to.min(topic.bounds.last))?;
        }
        Ok(topic.bounds)
    }

    pub(super) fn remove(&mut self, name: &TopicName, removal: &Removal) -> Result<(), Failure> {
        let mut topic = self.topic(name)?;
        if removal.epoch != topic.bounds.epoch {
            return Ok(());
        }
        if removal.horizon > topic.bounds.horizon {
            topic.bounds.horizon = removal.horizon;
            self.put(name, topic)?;
        }
        for offset in &removal.offsets {
            self.records.remove((topic.number, *offset))?;
        }
        Ok(())
    }

    pub(super) fn end(&mut self, name: &TopicName, end: End) -> Result<(), Failure> {
        match end {
            End::Close => {
                let mut topic = self.topic(name)?;
                if !topic.bounds.closed {
                    topic.bounds.closed = true;
                    self.put(name, topic)?;
                }
            }
            End::Delete => {
                if let Some(topic) = self.find(name)? {
                    self.topics.remove(name.as_str())?;
                    self.garbage.insert(topic.number, EVERYTHING)?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn swap(&mut self, swaps: &[Swap], now: u64) -> Result<Vec<Swapped>, Failure> {
        let mut swapped = Vec::with_capacity(swaps.len());
        for swap in swaps {
            swapped.push(self.swap_one(swap, now)?);
        }
        self.expire(now)?;
        Ok(swapped)
    }

    /// Removes some of what was trimmed and deleted. Answers whether there is more.
    pub(super) fn sweep(&mut self) -> Result<bool, redb::Error> {
        let mut room = SWEEP;
        while room > 0 {
            let Some((number, up_to)) = self.garbage.first()?.map(|(k, v)| (k.value(), v.value()))
            else {
                return Ok(false);
            };
            let rows = self.records.range((number, 0)..=(number, up_to))?;
            let rows = keys(rows.take(room), |(key, _)| key.value())?;
            for row in &rows {
                self.records.remove(row)?;
            }
            room = room.saturating_sub(rows.len());
            if up_to == EVERYTHING && room > 0 {
                room = room.saturating_sub(self.forget(number, Some(u64::MAX), room)?);
            }
            if room > 0 {
                self.garbage.remove(number)?;
            }
        }
        Ok(true)
    }

    fn find(&self, name: &TopicName) -> Result<Option<StoredTopic>, redb::Error> {
        let row = self.topics.get(name.as_str())?;
        Ok(row.map(|row| StoredTopic::from_row(row.value())))
    }

    fn topic(&self, name: &TopicName) -> Result<StoredTopic, Failure> {
        self.find(name)?
            .ok_or(Failure::Refused(TopicError::UnknownTopic))
    }

    fn put(&mut self, name: &TopicName, topic: StoredTopic) -> Result<(), redb::Error> {
        self.topics.insert(name.as_str(), topic.to_row())?;
        Ok(())
    }

    /// Raises a number of the store by one.
    fn next(&mut self, row: &str) -> Result<u64, redb::Error> {
        let number = self.store.get(row)?.map_or(0, |number| number.value());
        let number = number.saturating_add(1);
        self.store.insert(row, number)?;
        Ok(number)
    }

    /// What was stored under an id, unless that was at the time `over` or before.
    fn duplicate(
        &self,
        number: u64,
        id: &str,
        over: Option<u64>,
    ) -> Result<Option<Appended>, redb::Error> {
        let Some(row) = self.dedup.get((number, id))? else {
            return Ok(None);
        };
        let (offset, mark, time) = row.value();
        let counts = over.is_none_or(|over| time > over);
        Ok(counts.then_some(Appended::new(offset, mark, time, true)))
    }

    /// Drops so many of the oldest ids that were stored at the time `over` or before. Answers how
    /// many there were.
    fn forget(
        &mut self,
        number: u64,
        over: Option<u64>,
        count: usize,
    ) -> Result<usize, redb::Error> {
        let Some(over) = over else {
            return Ok(0);
        };
        let rows = (number, 0, 0)..=(number, over, Offset::MAX);
        let rows = self.dedup_by_age.range(rows)?.take(count);
        let rows = keys(rows, |(key, id)| (key.value(), id.value().to_owned()))?;
        for (key, id) in &rows {
            self.dedup_by_age.remove(key)?;
            // The id may have been stored again since.
            let id = (number, id.as_str());
            let offset = self.dedup.get(id)?.map(|row| row.value().0);
            if offset == Some(key.2) {
                self.dedup.remove(id)?;
            }
        }
        Ok(rows.len())
    }

    fn swap_one(&mut self, swap: &Swap, now: u64) -> Result<Swapped, redb::Error> {
        let key = (swap.key.namespace(), swap.key.name());
        let row = self.registers.get(key)?;
        let old = row.map(|row| (row.value().0, row.value().1));
        let actual = old.filter(|(_, expires)| *expires > now);
        let actual = actual.map(|(version, _)| Version::from_u64(version));
        if actual != swap.expected {
            return Ok(Swapped::Conflict { actual });
        }
        if let Some((_, expires)) = old.filter(|(_, expires)| *expires != NEVER) {
            self.expiry.remove((expires, key.0, key.1))?;
        }
        let Some(value) = &swap.value else {
            self.registers.remove(key)?;
            return Ok(Swapped::Removed);
        };
        let version = Version::draw();
        let expires = swap.expires.map(|after| now.saturating_add(millis(after)));
        let expires = expires.unwrap_or(NEVER);
        self.registers
            .insert(key, (version.to_u64(), expires, &**value))?;
        if expires != NEVER {
            self.expiry.insert((expires, key.0, key.1), ())?;
        }
        Ok(Swapped::Written(version))
    }

    /// Removes some registers whose time is over.
    fn expire(&mut self, now: u64) -> Result<(), redb::Error> {
        let over = (0, "", "")..(now.saturating_add(1), "", "");
        let rows = self.expiry.range(over)?.take(EXPIRE);
        let rows = keys(rows, |(key, _)| {
            let (expires, namespace, name) = key.value();
            (expires, namespace.to_owned(), name.to_owned())
        })?;
        for (expires, namespace, name) in &rows {
            self.expiry.remove((*expires, &**namespace, &**name))?;
            self.registers.remove((&**namespace, &**name))?;
        }
        Ok(())
    }
}

/// What is needed of some rows, so that their table can be changed.
fn keys<R, T>(
    rows: impl Iterator<Item = Result<R, redb::StorageError>>,
    key: impl Fn(R) -> T,
) -> Result<Vec<T>, redb::Error> {
    let keys = rows.map(|row| row.map(&key)).collect::<Result<_, _>>();
    keys.map_err(Into::into)
}

impl<E: Into<redb::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Storage(error.into())
    }
}
