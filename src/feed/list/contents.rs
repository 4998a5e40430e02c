//! The records that a window has, as documents: which of them are shown, and what has changed. It
//! does no I/O.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, OnceLock};

use updraft_protocol::view::Fields;
use updraft_topics::{Message, Offset};

/// Changes that are remembered. Who has seen none of these looks at all documents.
const CHANGES: usize = 1024;

/// Which records of a topic are shown as documents, and under which ids. The number is how many at
/// most: those with the highest offsets.
///
/// A process keeps the records of a window in memory once, however many subscriptions show it, and
/// as many more of [`ById`](Self::ById) and [`ByKey`](Self::ByKey), so that a document that goes is
/// replaced by the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Window {
    /// The last records. The id of each is its position.
    Last(usize),
    /// The latest record of each compact id, which is the id of the document. A tombstone removes
    /// it. Records without a compact id are not shown.
    ById(usize),
    /// The latest record of each key, which is the id of the document. A record of the key without
    /// a payload removes it. Records without a key are not shown.
    ByKey(usize),
}

/// A record as a document.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) id: Arc<str>,
    pub(crate) record: Arc<Message>,
    /// The fields that its payload is, made once for all who show it unchanged.
    pub(crate) fields: OnceLock<Option<Fields>>,
}

/// What is to be done to a client's documents.
#[derive(Debug)]
pub(crate) enum Change {
    Show(Arc<Document>),
    Remove(Arc<str>),
}

/// What has changed since somebody looked.
#[derive(Debug)]
pub(crate) enum Changes {
    /// These documents.
    Some(Vec<Change>),
    /// Too much to say: all documents that are shown.
    All(Vec<Arc<Document>>),
}

/// The records of a window.
#[derive(Debug)]
pub(super) struct Contents {
    window: Window,
    /// How many records are held beyond those that are shown.
    reserve: usize,
    /// Filled by `insert`; the first ones are dropped when there are more than the window and the
    /// reserve have room for.
    held: BTreeMap<Offset, Arc<Document>>,
    by_id: HashMap<Arc<str>, Offset>,
    /// Documents from this offset on are shown.
    shown_from: Offset,
    shown: usize,
    /// The highest offset of a record that was dropped, or left unread, for want of room.
    dropped: Offset,
    /// The ids of the documents that have changed, latest last. Filled by `note`, which drops the
    /// first ones; at most `CHANGES`.
    changes: VecDeque<Arc<str>>,
    /// How many changes were dropped.
    forgotten: u64,
}

impl Window {
    /// How many documents there are at most.
    pub(super) fn count(self) -> usize {
        match self {
            Self::Last(count) | Self::ById(count) | Self::ByKey(count) => count,
        }
    }

    pub(super) fn is_last(self) -> bool {
        matches!(self, Self::Last(_))
    }

    fn id(self, record: &Message) -> Option<Arc<str>> {
        match self {
            Self::Last(_) => Some(record.position().to_string().into()),
            Self::ById(_) => record.compact().map(Arc::from),
            Self::ByKey(_) => record.key().map(Arc::from),
        }
    }
}

impl Contents {
    /// No records. `reserve` is how many to hold beyond those that are shown, to take the places of
    /// documents that go.
    pub(super) fn new(window: Window, reserve: usize) -> Self {
        Self {
            window,
            reserve,
            held: BTreeMap::new(),
            by_id: HashMap::new(),
            shown_from: 0,
            shown: 0,
            dropped: 0,
            changes: VecDeque::new(),
            forgotten: 0,
        }
    }

    /// How many records it has room for.
    pub(super) fn capacity(&self) -> usize {
        self.window.count().saturating_add(self.reserve)
    }

    /// Holds no more than so many records beyond those that are shown.
    pub(super) fn limit(&mut self, reserve: usize) {
        self.reserve = reserve;
        self.settle();
    }

    /// Records up to this offset were not read, because there is no room for them.
    pub(super) fn begins_behind(&mut self, offset: Offset) {
        self.dropped = self.dropped.max(offset);
    }

    /// Records have come, each behind all earlier ones.
    pub(super) fn insert(&mut self, records: impl IntoIterator<Item = Arc<Message>>) {
        for record in records {
            let Some(id) = self.window.id(&record) else {
                continue;
            };
            if let Some(earlier) = self.by_id.get(&id) {
                self.take(*earlier);
            }
            self.note(id.clone());
            if record.payload().is_some() || self.window.is_last() {
                self.put(id, record);
            }
            self.settle();
        }
    }

    /// Records before this offset are gone.
    pub(super) fn trim(&mut self, first: Offset) {
        while let Some((offset, _)) = self.held.first_key_value()
            && *offset < first
        {
            self.remove(*offset);
        }
        self.settle();
    }

    /// Records were removed: of those from an offset on, only these are left.
    pub(super) fn retain(&mut self, from: Offset, left: &HashSet<Offset>) {
        let is_gone = |offset: &&Offset| !left.contains(offset);
        let held = self.held.range(from..).map(|(offset, _)| offset);
        let gone: Vec<_> = held.filter(is_gone).copied().collect();
        for offset in gone {
            self.remove(offset);
        }
        self.settle();
    }

    /// The first record that compaction may have removed: a tombstone, or one that a later record
    /// makes redundant.
    pub(super) fn first_redundant(&self) -> Option<Offset> {
        let mut later = HashSet::new();
        let mut first = None;
        for (offset, document) in self.held.iter().rev() {
            let record = &document.record;
            let is_superseded = record.compact().is_some_and(|id| !later.insert(id));
            if is_superseded || record.payload().is_none() {
                first = Some(*offset);
            }
        }
        first
    }

    /// The offset of the last record.
    pub(super) fn last(&self) -> Option<Offset> {
        self.held.last_key_value().map(|(offset, _)| *offset)
    }

    /// Whether records that were dropped, and which a topic that begins here may still hold, belong
    /// to the window now.
    pub(super) fn is_short(&self, first: Offset) -> bool {
        self.shown < self.window.count() && self.dropped >= first.max(1)
    }

    /// The topic was read anew.
    pub(super) fn replace(&mut self, with: Self) {
        let Self {
            held,
            by_id,
            shown_from,
            shown,
            dropped,
            ..
        } = with;
        let before = self.all();
        self.held = held;
        self.by_id = by_id;
        self.shown_from = shown_from;
        self.shown = shown;
        self.dropped = dropped;
        let is_same = |document: &Document, other: Option<&Arc<Document>>| {
            other.is_some_and(|it| it.record.position() == document.record.position())
        };
        for document in &before {
            if !is_same(document, self.find(&document.id)) {
                self.note(document.id.clone());
            }
        }
        let before: HashMap<_, _> = before.iter().map(|it| (&*it.id, it)).collect();
        for document in self.all() {
            if !is_same(&document, before.get(&*document.id).copied()) {
                self.note(document.id.clone());
            }
        }
    }

    /// How many changes there have been.
    pub(super) fn version(&self) -> u64 {
        let known = u64::try_from(self.changes.len()).unwrap_or(u64::MAX);
        self.forgotten.saturating_add(known)
    }

    /// What has changed since this version; all documents if none is known.
    pub(super) fn since(&self, version: Option<u64>) -> Changes {
        let known = version.and_then(|version| version.checked_sub(self.forgotten));
        let Some(known) = known.and_then(|known| usize::try_from(known).ok()) else {
            return Changes::All(self.all());
        };
        let mut told = HashSet::new();
        let changes = self.changes.iter().skip(known);
        let changes = changes.filter(|id| told.insert(&***id));
        let changes = changes.map(|id| match self.find(id) {
            Some(document) => Change::Show(document.clone()),
            None => Change::Remove(id.clone()),
        });
        Changes::Some(changes.collect())
    }

    /// All documents that are shown, by offset.
    fn all(&self) -> Vec<Arc<Document>> {
        let shown = self.held.range(self.shown_from..);
        shown.map(|(_, document)| document.clone()).collect()
    }

    /// The document of this id, if it is shown.
    fn find(&self, id: &str) -> Option<&Arc<Document>> {
        let offset = self.by_id.get(id)?;
        let is_shown = *offset >= self.shown_from;
        self.held.get(offset).filter(|_| is_shown)
    }

    fn put(&mut self, id: Arc<str>, record: Arc<Message>) {
        let offset = record.offset();
        self.by_id.insert(id.clone(), offset);
        let fields = OnceLock::new();
        let document = Document { id, record, fields };
        self.held.insert(offset, Arc::new(document));
        self.shown = self.shown.saturating_add(1);
    }

    fn take(&mut self, offset: Offset) -> Option<Arc<Document>> {
        let document = self.held.remove(&offset)?;
        self.by_id.remove(&document.id);
        if offset >= self.shown_from {
            self.shown = self.shown.saturating_sub(1);
        }
        Some(document)
    }

    fn remove(&mut self, offset: Offset) {
        if let Some(document) = self.take(offset) {
            self.note(document.id.clone());
        }
    }

    /// Shows as many documents as the window has room for, and drops those beyond the reserve.
    fn settle(&mut self) {
        let count = self.window.count();
        while self.shown > count
            && let Some((offset, document)) = self.held.range(self.shown_from..).next()
        {
            let id = document.id.clone();
            self.shown_from = offset.saturating_add(1);
            self.shown = self.shown.saturating_sub(1);
            self.note(id);
        }
        while self.shown < count
            && let Some((offset, document)) = self.held.range(..self.shown_from).next_back()
        {
            let id = document.id.clone();
            self.shown_from = *offset;
            self.shown = self.shown.saturating_add(1);
            self.note(id);
        }
        while self.held.len() > self.capacity()
            && let Some((offset, document)) = self.held.pop_first()
        {
            self.by_id.remove(&document.id);
            self.dropped = self.dropped.max(offset);
        }
    }

    fn note(&mut self, id: Arc<str>) {
        self.changes.push_back(id);
        if self.changes.len() > CHANGES {
            self.changes.pop_front();
            self.forgotten = self.forgotten.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use updraft_topics::{Entry, Limit, Memory, Settings, Start, Topic, Topics};

    /// Records of these ids; without a value they are tombstones.
    async fn records(entries: &[(&str, Option<u64>)]) -> Vec<Arc<Message>> {
        let topics = Topics::open(Memory::new());
        let topic = topics.topic("t", Settings::default()).await.unwrap();
        for (id, value) in entries {
            let entry = match value {
                Some(value) => Entry::value(value).compact(*id),
                None => Entry::tombstone(*id),
            };
            topic.publish(entry).await.unwrap();
        }
        read(&topic).await
    }

    async fn read(topic: &Topic) -> Vec<Arc<Message>> {
        let start = topic.seek(Start::Earliest).await.unwrap();
        let batch = topic.read_held(start, Limit::new(100, 100_000)).await;
        batch.unwrap().messages.into_iter().map(Arc::new).collect()
    }

    fn ids(contents: &Contents) -> Vec<String> {
        let all = contents.all();
        assert_eq!(all.len(), contents.shown);
        all.iter().map(|it| it.id.to_string()).collect()
    }

    fn changed(contents: &Contents, since: u64) -> Vec<String> {
        match contents.since(Some(since)) {
            Changes::Some(changes) => changes
                .iter()
                .map(|change| match change {
                    Change::Show(document) => format!("+{}", document.id),
                    Change::Remove(id) => format!("-{id}"),
                })
                .collect(),
            Changes::All(all) => vec![format!("all {}", all.len())],
        }
    }

    #[tokio::test]
    async fn topic_107_a_window_by_id_shows_the_latest_of_each() {
        let one = Some(1);
        let entries = [
            ("a", one),
            ("b", one),
            ("c", one),
            ("a", Some(2)),
            ("d", one),
            ("d", None),
            ("a", None),
            ("c", None),
        ];
        let records = records(&entries).await;
        let mut contents = Contents::new(Window::ById(2), 2);
        contents.insert(records[..3].iter().cloned());
        assert_eq!(ids(&contents), ["b", "c"]);
        let version = contents.version();
        contents.insert(records[3..4].iter().cloned());
        assert_eq!(ids(&contents), ["c", "a"]);
        assert_eq!(changed(&contents, version), ["+a", "-b"]);
        // What comes and goes before anybody looks is told as gone.
        let version = contents.version();
        contents.insert(records[4..6].iter().cloned());
        assert_eq!(ids(&contents), ["c", "a"]);
        assert_eq!(changed(&contents, version), ["-d", "+c"]);
        // One that goes is replaced by the one before.
        let version = contents.version();
        contents.insert(records[6..7].iter().cloned());
        assert_eq!(ids(&contents), ["b", "c"]);
        assert_eq!(changed(&contents, version), ["-a", "+b"]);
        contents.insert(records[7..].iter().cloned());
        assert_eq!(ids(&contents), ["b"]);
        assert!(!contents.is_short(1));
        assert_eq!(changed(&contents, contents.version()), [""; 0]);
    }

    #[tokio::test]
    async fn topic_107_a_window_that_has_dropped_records_reads_them_again() {
        let entries: Vec<_> = ["a", "b", "c", "d", "e", "e", "d", "c"]
            .iter()
            .enumerate()
            .map(|(at, id)| (*id, (at < 5).then_some(1)))
            .collect();
        let records = records(&entries).await;
        let mut contents = Contents::new(Window::ById(2), 2);
        contents.insert(records[..7].iter().cloned());
        assert_eq!(ids(&contents), ["b", "c"]);
        assert!(!contents.is_short(1));
        contents.insert(records[7..].iter().cloned());
        assert_eq!(ids(&contents), ["b"]);
        // "a" was dropped.
        assert!(contents.is_short(1));
        assert!(!contents.is_short(2));
    }

    #[tokio::test]
    async fn topic_107_the_last_records_are_trimmed_and_compacted() {
        let one = Some(1);
        let entries = [("a", one), ("b", one), ("a", one), ("c", None), ("d", one)];
        let records = records(&entries).await;
        let mut contents = Contents::new(Window::Last(3), 3);
        contents.insert(records.iter().cloned());
        let offsets = |contents: &Contents| -> Vec<Offset> {
            let all = contents.all();
            all.iter().map(|it| it.record.offset()).collect()
        };
        assert_eq!(offsets(&contents), [3, 4, 5]);
        assert_eq!(contents.first_redundant(), Some(1));
        contents.retain(1, &HashSet::from([2, 3, 5]));
        assert_eq!(offsets(&contents), [2, 3, 5]);
        assert_eq!(contents.first_redundant(), None);
        contents.trim(3);
        assert_eq!(offsets(&contents), [3, 5]);
        assert!(!contents.is_short(3));

        let mut without_holes = Contents::new(Window::Last(3), 0);
        without_holes.insert(records.iter().cloned());
        assert_eq!(without_holes.held.len(), 3);
        assert!(!without_holes.is_short(1));
        without_holes.trim(4);
        assert!(!without_holes.is_short(4));
    }

    #[tokio::test]
    async fn topic_107_a_topic_that_is_read_anew_changes_only_what_differs() {
        let one = Some(1);
        let records = records(&[("a", one), ("b", one), ("a", one), ("c", one)]).await;
        let mut contents = Contents::new(Window::ById(5), 5);
        contents.insert(records[..2].iter().cloned());
        let version = contents.version();
        let mut anew = Contents::new(Window::ById(5), 5);
        anew.insert(records[1..].iter().cloned());
        contents.replace(anew);
        assert_eq!(changed(&contents, version), ["+a", "+c"]);
        let version = contents.version();
        contents.replace(Contents::new(Window::ById(5), 5));
        assert_eq!(changed(&contents, version), ["-b", "-a", "-c"]);
    }

    #[tokio::test]
    async fn topic_107_who_is_far_behind_looks_at_all_documents() {
        let records = records(&[("a", Some(1)), ("b", Some(1))]).await;
        let mut contents = Contents::new(Window::Last(1), 0);
        assert!(matches!(contents.since(None), Changes::All(all) if all.is_empty()));
        contents.insert(records);
        for _ in 0..CHANGES {
            contents.note("x".into());
        }
        assert_eq!(changed(&contents, 0), ["all 1"]);
        assert_eq!(changed(&contents, contents.version() - 1), ["-x"]);
    }
}
