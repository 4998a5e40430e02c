//! Records of one topic that are in memory: its latest ones, and pages that were read for followers
//! further back. Followers at the same place share them.

use std::collections::VecDeque;
use std::sync::Arc;

use updraft_topics::{Bounds, Gap, Message, Offset, Place};

/// The latest records that are kept, and their bytes.
const LATEST_RECORDS: usize = 1024;
const LATEST_BYTES: usize = 1024 * 1024;

/// How many pages are kept for followers that lag, each of at most as many records and bytes.
const PAGES: usize = 8;

/// Bytes that a record counts for in addition to its texts.
const OVERHEAD: usize = 64;

/// The records of one topic that are in memory.
#[derive(Debug)]
pub(crate) struct Cache {
    /// The latest records, up to the end as this process knows it. Filled by `append`; the oldest
    /// go when there are too many.
    latest: Page,
    /// Filled by `keep`, drained from the front when there are too many, and by `restart`.
    pages: VecDeque<Arc<Page>>,
}

/// Consecutive records.
#[derive(Debug)]
pub(crate) struct Page {
    /// The place before the first one.
    after: Place,
    /// The place behind the last one, and behind offsets that are not held.
    next: Place,
    records: VecDeque<Arc<Message>>,
    bytes: usize,
    /// What the topic held when this was read from the store; `None` if the records were read as
    /// they came, so that nobody who was there before them has missed one.
    bounds: Option<Bounds>,
}

/// How much a follower has room for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) records: usize,
    pub(crate) bytes: usize,
}

/// What a follower finds behind its place.
#[derive(Debug)]
pub(crate) enum Look {
    /// Records, and where to look next. There may be none, if their offsets are not held.
    Records(Vec<Arc<Message>>, Next),
    /// Nothing: the place is the end.
    End,
    /// The place, or what is behind it, is not in memory.
    Missing,
    /// The follower has missed records.
    Gap(Gap),
}

/// Where a follower goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Next {
    pub(crate) place: Place,
    /// The tombstone horizon of which it knows there.
    pub(crate) horizon: Option<Offset>,
}

impl Cache {
    /// Nothing, at the end of a topic.
    pub(crate) fn new(end: Place) -> Self {
        Self {
            latest: Page::new(end),
            pages: VecDeque::new(),
        }
    }

    /// The end of the topic, as this process knows it.
    pub(crate) fn end(&self) -> Place {
        self.latest.next
    }

    /// Records have come; `next` is the place behind them.
    pub(crate) fn append(&mut self, records: Vec<Arc<Message>>, next: Place) {
        for record in records {
            self.latest.push(record);
        }
        self.latest.next = next;
        while self.latest.records.len() > LATEST_RECORDS || self.latest.bytes > LATEST_BYTES {
            self.latest.drop_first();
        }
    }

    /// The topic goes on at another place: what is in memory may be wrong.
    pub(crate) fn restart(&mut self, end: Place) {
        *self = Self::new(end);
    }

    /// Keeps a page that was read for followers that lag.
    pub(crate) fn keep(&mut self, page: Arc<Page>) {
        self.pages.push_back(page);
        if self.pages.len() > PAGES {
            self.pages.pop_front();
        }
    }

    /// What is behind a place, for a follower that knows of this tombstone horizon.
    pub(crate) fn look(&self, after: Place, horizon: Offset, room: Room) -> Look {
        if let Some(index) = self.latest.find(after) {
            if index == self.latest.records.len() && after.offset == self.end().offset {
                return Look::End;
            }
            return self.latest.look(index, after, horizon, room);
        }
        let found = self
            .pages
            .iter()
            .rev()
            .filter(|page| page.next.offset > after.offset)
            .find_map(|page| Some((page, page.find(after)?)));
        match found {
            Some((page, index)) => page.look(index, after, horizon, room),
            None => Look::Missing,
        }
    }
}

impl Page {
    fn new(after: Place) -> Self {
        Self {
            after,
            next: after,
            records: VecDeque::new(),
            bytes: 0,
            bounds: None,
        }
    }

    /// What a read has returned.
    pub(crate) fn read(
        after: Place,
        records: impl IntoIterator<Item = Message>,
        next: Place,
        bounds: Bounds,
    ) -> Self {
        let mut page = Self::new(after);
        for record in records {
            page.push(Arc::new(record));
        }
        page.next = next;
        page.bounds = Some(bounds);
        page
    }

    /// What a follower at its beginning has missed.
    pub(crate) fn gap(&self, after: Place, horizon: Offset) -> Option<Gap> {
        self.bounds?.gap(after, horizon)
    }

    /// The index of the first record behind a place, if that is one of this page.
    fn find(&self, place: Place) -> Option<usize> {
        let (first, last) = (self.after.offset, self.next.offset);
        if place.epoch != self.after.epoch || !(first..=last).contains(&place.offset) {
            return None;
        }
        if place.offset == first {
            return agrees(place, self.after).then_some(0);
        }
        let index = self
            .records
            .partition_point(|record| record.offset() <= place.offset);
        let before = index.checked_sub(1).and_then(|it| self.records.get(it));
        match before {
            // Its record is here, so it can be compared.
            Some(before) if before.offset() == place.offset => {
                agrees(place, before.position().place()).then_some(index)
            }
            _ if place.offset == last => agrees(place, self.next).then_some(index),
            _ => Some(index),
        }
    }

    fn look(&self, index: usize, after: Place, horizon: Offset, room: Room) -> Look {
        if let Some(gap) = self.gap(after, horizon) {
            return Look::Gap(gap);
        }
        let mut records = Vec::new();
        let mut bytes: usize = 0;
        for record in self.records.iter().skip(index) {
            bytes = bytes.saturating_add(size(record));
            if records.len() >= room.records || !records.is_empty() && bytes > room.bytes {
                break;
            }
            records.push(record.clone());
        }
        let is_rest = index.saturating_add(records.len()) >= self.records.len();
        let last = records.last().map(|record| record.position().place());
        let place = match last {
            Some(last) if !is_rest => last,
            _ => self.next,
        };
        let horizon = self.bounds.map(|bounds| bounds.horizon);
        Look::Records(records, Next { place, horizon })
    }

    fn push(&mut self, record: Arc<Message>) {
        self.bytes = self.bytes.saturating_add(size(&record));
        self.records.push_back(record);
    }

    fn drop_first(&mut self) {
        if let Some(record) = self.records.pop_front() {
            self.bytes = self.bytes.saturating_sub(size(&record));
            self.after = record.position().place();
        }
    }
}

/// Whether two places with the same offset can be behind the same record. A mark that is not known
/// proves nothing.
fn agrees(place: Place, other: Place) -> bool {
    match (place.mark, other.mark) {
        (Some(mark), Some(other)) => mark == other,
        _ => true,
    }
}

fn size(record: &Message) -> usize {
    let payload = record.payload().map_or(0, |payload| payload.len());
    let key = record.key().map_or(0, str::len);
    let meta = record.meta().iter();
    let meta = meta.map(|(name, text)| name.len().saturating_add(text.len()));
    meta.fold(payload.saturating_add(key), usize::saturating_add)
        .saturating_add(OVERHEAD)
}

#[cfg(test)]
mod tests {
    use super::*;
    use updraft_topics::{Memory, Settings, Topics};

    const ROOM: Room = Room {
        records: 10,
        bytes: 10_000,
    };

    /// The records of a new topic with so many.
    async fn records(count: usize) -> Vec<Message> {
        let topics = Topics::open(Memory::new());
        let topic = topics.topic("t", Settings::default()).await.unwrap();
        let start = topic.seek(updraft_topics::Start::Earliest).await.unwrap();
        for number in 0..count {
            topic
                .publish(updraft_protocol::ejson!(number as f64))
                .await
                .unwrap();
        }
        let limit = updraft_topics::Limit::new(count, usize::MAX);
        topic.read(start, limit).await.unwrap().messages
    }

    fn found(look: Look) -> (Vec<u64>, u64) {
        match look {
            Look::Records(records, next) => {
                let offsets = records.iter().map(|record| record.offset());
                (offsets.collect(), next.place.offset)
            }
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn topic_041_followers_find_the_latest_records_in_memory() {
        let records = records(40).await;
        let place = |offset: usize| records[offset - 1].position().place();
        let mut cache = Cache::new(place(10));
        assert!(matches!(cache.look(place(10), 0, ROOM), Look::End));
        assert!(matches!(cache.look(place(9), 0, ROOM), Look::Missing));
        assert!(matches!(cache.look(place(11), 0, ROOM), Look::Missing));
        let news = records[10..30].iter().cloned().map(Arc::new).collect();
        cache.append(news, place(30));
        assert_eq!(
            found(cache.look(place(10), 0, ROOM)),
            ((11..=20).collect(), 20)
        );
        assert_eq!(
            found(cache.look(place(25), 0, ROOM)),
            ((26..=30).collect(), 30)
        );
        assert!(matches!(cache.look(place(30), 0, ROOM), Look::End));
        // Another record had this offset once.
        let other = Place::new(place(20).epoch, 20, 1);
        assert!(matches!(cache.look(other, 0, ROOM), Look::Missing));
        let unknown = Place::unmarked(place(20).epoch, 20);
        assert_eq!(found(cache.look(unknown, 0, ROOM)).1, 30);
        let small = Room {
            records: 10,
            bytes: 1,
        };
        assert_eq!(found(cache.look(place(25), 0, small)), (vec![26], 26));
        cache.restart(place(40));
        assert!(matches!(cache.look(place(25), 0, ROOM), Look::Missing));
    }

    #[tokio::test]
    async fn topic_041_pages_are_shared_and_the_oldest_go() {
        let records = records(100).await;
        let place = |offset: usize| records[offset - 1].position().place();
        let mut cache = Cache::new(place(100));
        let bounds = Bounds::new(place(1).epoch);
        let mut read = |after: usize, to: usize| {
            let page = records[after..to].iter().cloned();
            cache.keep(Arc::new(Page::read(place(after), page, place(to), bounds)));
            found(cache.look(place(after), 0, ROOM)).1
        };
        assert_eq!(read(1, 5), 5);
        for after in 10..18 {
            read(after, after + 1);
        }
        assert!(matches!(cache.look(place(2), 0, ROOM), Look::Missing));
        assert_eq!(found(cache.look(place(17), 0, ROOM)), (vec![18], 18));
        // The place behind a page is not in it: what follows is to be read.
        assert!(matches!(cache.look(place(18), 0, ROOM), Look::Missing));
    }

    #[tokio::test]
    async fn topic_025_031_a_page_says_what_its_reader_has_missed() {
        let records = records(20).await;
        let place = |offset: usize| records[offset - 1].position().place();
        let mut cache = Cache::new(place(20));
        let mut bounds = Bounds::new(place(1).epoch);
        (bounds.first, bounds.last, bounds.horizon) = (5, 20, 12);
        let page = Page::read(place(2), records[5..20].iter().cloned(), place(20), bounds);
        cache.keep(Arc::new(page));
        let Look::Gap(gap) = cache.look(place(2), 12, ROOM) else {
            panic!("a gap")
        };
        assert_eq!((gap.requested, gap.first, gap.lost), (2, 5, 2));
        assert!(matches!(cache.look(place(8), 0, ROOM), Look::Gap(_)));
        assert_eq!(found(cache.look(place(8), 12, ROOM)).1, 18);
    }
}
