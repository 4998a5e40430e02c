//! What retention and compaction know of a topic: the size of each record, and the latest record of
//! each compact id. It has no I/O, and can always be made again by reading the topic.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::clock::millis;
use crate::settings::Compaction;
use crate::{Epoch, Offset, Place, Record};

/// The index of one topic.
#[derive(Debug)]
pub(crate) struct Index {
    /// Up to where the topic has been read.
    pub(crate) read: Place,
    /// The sizes of the records that are held. Filled by `add`, drained by `trimmed` and `removed`;
    /// as long as the topic.
    sizes: BTreeMap<Offset, u64>,
    bytes: u64,
    /// The latest record of each id, by id and by offset. Filled by `add`, drained with their
    /// records.
    latest: HashMap<Arc<str>, Offset>,
    heads: BTreeMap<Offset, Head>,
    /// When the records were stored that later ones have made redundant. Filled by `add`, drained
    /// with the records.
    redundant: BTreeMap<Offset, u64>,
}

/// The latest record of an id.
#[derive(Debug)]
struct Head {
    id: Arc<str>,
    time: u64,
    is_tombstone: bool,
}

/// What a topic holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TopicSize {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
}

impl Index {
    /// Of a topic of which nothing was read.
    pub(crate) fn new(epoch: Epoch) -> Self {
        Self {
            read: Place::start(epoch),
            sizes: BTreeMap::new(),
            bytes: 0,
            latest: HashMap::new(),
            heads: BTreeMap::new(),
            redundant: BTreeMap::new(),
        }
    }

    pub(crate) fn held(&self) -> TopicSize {
        TopicSize {
            records: u64::try_from(self.sizes.len()).unwrap_or(u64::MAX),
            bytes: self.bytes,
        }
    }

    /// Notes a record, which is behind all earlier ones. `by_id` says whether ids matter.
    pub(crate) fn add(&mut self, record: &Record, by_id: bool) {
        let size = u64::try_from(record.content.size()).unwrap_or(u64::MAX);
        self.sizes.insert(record.offset, size);
        self.bytes = self.bytes.saturating_add(size);
        let Some(id) = record.content.compact.as_ref().filter(|_| by_id) else {
            return;
        };
        if let Some(earlier) = self.latest.insert(Arc::clone(id), record.offset)
            && let Some(head) = self.heads.remove(&earlier)
        {
            self.redundant.insert(earlier, head.time);
        }
        let head = Head {
            id: Arc::clone(id),
            time: record.time,
            is_tombstone: record.content.payload.is_none(),
        };
        self.heads.insert(record.offset, head);
    }

    /// The first offset to keep, so that no more than this is held.
    pub(crate) fn first_within(&self, records: Option<u64>, bytes: Option<u64>) -> Option<Offset> {
        let mut held = self.held();
        let is_over = |max: Option<u64>, held: u64| max.is_some_and(|max| held > max);
        let mut sizes = self.sizes.iter();
        let mut first = None;
        while is_over(records, held.records) || is_over(bytes, held.bytes) {
            let (offset, size) = sizes.next()?;
            held.records = held.records.saturating_sub(1);
            held.bytes = held.bytes.saturating_sub(*size);
            first = Some(offset.saturating_add(1));
        }
        first
    }

    /// At most so many records that are redundant and old enough.
    pub(crate) fn redundant(&self, now: u64, compaction: &Compaction, most: usize) -> Vec<Offset> {
        let oldest = now.saturating_sub(millis(compaction.min_lag));
        // Times do not decrease with the offset.
        let due = self
            .redundant
            .iter()
            .take_while(|(_, time)| **time <= oldest);
        due.map(|(offset, _)| *offset).take(most).collect()
    }

    /// At most so many tombstones that are old enough, and before which nothing is redundant any
    /// more: who finds none has no earlier record of its id either.
    pub(crate) fn tombstones(&self, now: u64, compaction: &Compaction, most: usize) -> Vec<Offset> {
        let oldest = now.saturating_sub(millis(compaction.tombstone_retention));
        let redundant = self.redundant.first_key_value();
        let end = redundant.map_or(Offset::MAX, |(offset, _)| *offset);
        let due = self
            .heads
            .range(..end)
            .take_while(|(_, head)| head.time <= oldest);
        let due = due.filter(|(_, head)| head.is_tombstone);
        due.map(|(offset, _)| *offset).take(most).collect()
    }

    /// Forgets records that were removed.
    pub(crate) fn removed(&mut self, offsets: &[Offset]) {
        for offset in offsets {
            if let Some(size) = self.sizes.remove(offset) {
                self.bytes = self.bytes.saturating_sub(size);
            }
            self.redundant.remove(offset);
            if let Some(head) = self.heads.remove(offset) {
                self.latest.remove(&head.id);
            }
        }
    }

    /// Forgets all records before an offset.
    pub(crate) fn trimmed(&mut self, first: Offset) {
        let trimmed: Vec<_> = self
            .sizes
            .range(..first)
            .map(|(offset, _)| *offset)
            .collect();
        self.removed(&trimmed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Content;

    fn record(offset: Offset, id: Option<&str>, payload: Option<&'static str>) -> Record {
        let content = Content {
            compact: id.map(Arc::from),
            payload: payload.map(Into::into),
            ..Content::default()
        };
        Record::new(offset, 7, offset * 1000, content)
    }

    fn compaction() -> Compaction {
        let seconds = std::time::Duration::from_secs;
        Compaction {
            min_lag: seconds(2),
            tombstone_retention: seconds(4),
        }
    }

    #[test]
    fn topic_073_the_oldest_are_over_the_limits() {
        let mut index = Index::new(Epoch::draw());
        for offset in 1..=5 {
            index.add(&record(offset, None, Some("1234")), false);
        }
        assert_eq!(
            index.held(),
            TopicSize {
                records: 5,
                bytes: 20
            }
        );
        for (records, bytes, first) in [
            (None, None, None),
            (Some(5), Some(20), None),
            (Some(4), None, Some(2)),
            (None, Some(15), Some(3)),
            (Some(4), Some(15), Some(3)),
            (Some(0), None, Some(6)),
        ] {
            assert_eq!(index.first_within(records, bytes), first);
        }
        index.removed(&[2, 9]);
        index.trimmed(4);
        assert_eq!(
            index.held(),
            TopicSize {
                records: 2,
                bytes: 8
            }
        );
    }

    #[test]
    fn topic_078_079_080_what_is_redundant_goes_before_the_tombstones() {
        let mut index = Index::new(Epoch::draw());
        let records = [
            ("a", Some("1")),
            ("b", Some("1")),
            ("a", None),
            ("b", Some("2")),
        ];
        for (offset, (id, payload)) in (1..).zip(records) {
            index.add(&record(offset, Some(id), payload), true);
        }
        index.add(&record(5, None, Some("x")), true);
        let compaction = compaction();
        assert_eq!(index.redundant(2999, &compaction, 9), Vec::<Offset>::new());
        assert_eq!(index.redundant(3000, &compaction, 9), [1]);
        assert_eq!(index.redundant(4000, &compaction, 9), [1, 2]);
        assert_eq!(index.redundant(4000, &compaction, 1), [1]);
        assert_eq!(index.tombstones(9000, &compaction, 9), Vec::<Offset>::new());
        index.removed(&[1, 2]);
        assert_eq!(index.tombstones(6999, &compaction, 9), Vec::<Offset>::new());
        assert_eq!(index.tombstones(7000, &compaction, 9), [3]);
        index.removed(&[3]);
        assert_eq!(index.held().records, 2);
        assert_eq!(index.latest.len(), 1);
        index.trimmed(5);
        assert!(index.latest.is_empty() && index.heads.is_empty());
    }
}
