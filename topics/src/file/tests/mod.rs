//! Tests of the store in a file. What every store must do is tested by `conformance`.

mod engine;
mod faults;
mod process;

use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use redb::ReadableTable;
use tokio::task::JoinSet;
use updraft_test_support::folder::Folder;

use super::disk::DiskState;
use super::tables::{FORMAT, FORMAT_ROW, GARBAGE, RECORDS, STORE};
use super::{FileOptions, FileStore};
use crate::{
    Append, Bounds, Content, Create, End, Limit, Log, NewRecord, Place, Read, Record, RegisterKey,
    Registers, Swap, Swapped, TopicError, TopicName, Version,
};

/// What a file refuses on demand.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    reads: AtomicBool,
    writes: AtomicBool,
    syncs: AtomicBool,
    /// The error of writes is that of a full disk.
    full: AtomicBool,
    /// Bytes that are written before the disk is full.
    room: AtomicU64,
}

impl Faults {
    pub(super) fn read(&self) -> io::Result<()> {
        fail(&self.reads)
    }

    pub(super) fn write(&self, bytes: usize) -> io::Result<()> {
        if self.full.load(Ordering::SeqCst) {
            let bytes = u64::try_from(bytes).unwrap();
            let room = self.room.load(Ordering::SeqCst);
            let left = room.checked_sub(bytes.max(1));
            self.room.store(left.unwrap_or(0), Ordering::SeqCst);
            if left.is_none() {
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        fail(&self.writes)
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        fail(&self.syncs)
    }

    fn fill(&self, room: u64) {
        self.room.store(room, Ordering::SeqCst);
        self.full.store(true, Ordering::SeqCst);
    }

    fn make_room(&self) {
        self.full.store(false, Ordering::SeqCst);
    }

    /// As when the process is gone.
    fn cut(&self) {
        for fault in [&self.reads, &self.writes, &self.syncs] {
            fault.store(true, Ordering::SeqCst);
        }
    }
}

fn fail(fault: &AtomicBool) -> io::Result<()> {
    if fault.load(Ordering::SeqCst) {
        return Err(io::Error::other("refused"));
    }
    Ok(())
}

/// A store whose file can be made to fail.
async fn open(path: &Path) -> (FileStore, Arc<DiskState>) {
    let disk = Arc::new(DiskState::default());
    let path = path.to_owned();
    let state = Arc::clone(&disk);
    let options = FileOptions::new().cache(1024 * 1024);
    let opened = tokio::task::spawn_blocking(|| options.open_on(path, state));
    (opened.await.unwrap().unwrap(), disk)
}

async fn topic(store: &FileStore, name: &str) -> (TopicName, Bounds) {
    let topic = TopicName::new(name).unwrap();
    let bounds = store.open(&topic, Create::IfMissing).await.unwrap();
    (topic, bounds)
}

async fn append(
    store: &FileStore,
    topic: &TopicName,
    payloads: &[&str],
) -> Result<u64, TopicError> {
    let records = payloads.iter().map(|payload| {
        let content = Content::new((*payload).to_owned());
        NewRecord::new(7, content)
    });
    let append = Append::new(records.collect());
    let batch = store.append(topic, append).await?;
    Ok(batch.records[0].offset)
}

async fn read(store: &FileStore, topic: &TopicName, after: u64) -> Result<Vec<Record>, TopicError> {
    let bounds = store.open(topic, Create::Never).await?;
    let place = Place::unmarked(bounds.epoch, after);
    match store.read(topic, place, Limit::default()).await? {
        Read::Page(page) => Ok(page.records),
        other => panic!("{other:?}"),
    }
}

fn offsets(records: &[Record]) -> Vec<u64> {
    records.iter().map(|record| record.offset).collect()
}

#[cfg(feature = "conformance")]
mod conformance {
    use tokio::sync::Mutex;

    use super::*;
    use crate::conformance::{Handles, Harness};

    struct InFile {
        folder: Folder,
        open: Mutex<Option<(FileStore, Arc<DiskState>)>>,
    }

    impl Harness for InFile {
        async fn open(&self) -> Handles {
            if let Some((store, _)) = self.open.lock().await.take() {
                store.close().await;
            }
            let opened = open(&self.folder.file("store")).await;
            let handles = Handles::new(&opened.0);
            *self.open.lock().await = Some(opened);
            handles
        }

        /// Nothing reaches the file any more, so that it is closed without being put in order.
        async fn kill(&self) {
            let (store, disk) = self.open.lock().await.take().unwrap();
            disk.faults.cut();
            store.close().await;
        }
    }

    impl InFile {
        fn new() -> Self {
            Self {
                folder: Folder::new("topics"),
                open: Mutex::default(),
            }
        }
    }

    crate::conformance_tests!(InFile::new());

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "10,000 events: run by cargo xtask soak"]
    async fn soak_topic_100_emitters_that_are_restarted_fire_all_events_in_order() {
        crate::conformance::restart_emitters(&InFile::new(), 10_000).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_001_003_callers_share_transactions_and_each_batch_stays_together() {
    let folder = Folder::new("topics");
    let (store, _) = open(&folder.file("store")).await;
    let (orders, _) = topic(&store, "orders").await;
    let before = store.0.database.commits().ok().unwrap();
    let mut callers = JoinSet::new();
    for caller in 0..50 {
        let (store, orders) = (store.clone(), orders.clone());
        callers.spawn(async move {
            for _ in 0..4 {
                let payload = caller.to_string();
                append(&store, &orders, &[&payload, &payload, &payload])
                    .await
                    .unwrap();
            }
        });
    }
    callers.join_all().await;
    let commits = store.0.database.commits().ok().unwrap() - before;
    assert!(commits < 200, "{commits} transactions for 200 batches");
    let mut all = Vec::new();
    while all.len() < 600 {
        let after = u64::try_from(all.len()).unwrap();
        all.extend(read(&store, &orders, after).await.unwrap());
    }
    assert!(offsets(&all).into_iter().eq(1..=600));
    for batch in all.chunks(3) {
        assert!(
            batch
                .iter()
                .all(|record| record.content == batch[0].content)
        );
    }
}

#[tokio::test]
async fn topic_006_ids_are_known_after_a_restart_until_their_time_is_over() {
    let folder = Folder::new("topics");
    let path = folder.file("store");
    let now = Arc::new(AtomicU64::new(1_000_000));
    let options = || {
        let now = Arc::clone(&now);
        FileOptions::new().clock(move || now.load(Ordering::SeqCst))
    };
    let publish = async |store: &FileStore, id: String| {
        let (orders, _) = topic(store, "orders").await;
        let record = NewRecord::new(7, Content::new("x")).dedup(id);
        let append = Append::new(vec![record]).dedup_window(Duration::from_secs(60));
        store.append(&orders, append).await.unwrap().records[0]
    };
    for restart in 0..2 {
        let store = options().open(&path).await.unwrap();
        assert_eq!(publish(&store, "a".into()).await.duplicate, restart > 0);
        store.close().await;
    }
    now.fetch_add(59_999, Ordering::SeqCst);
    let store = options().open(&path).await.unwrap();
    assert!(publish(&store, "a".into()).await.duplicate);
    now.fetch_add(1, Ordering::SeqCst);
    let again = publish(&store, "a".into()).await;
    assert_eq!((again.offset, again.duplicate), (2, false));
    assert!(publish(&store, "a".into()).await.duplicate);
    // Those whose time is over do not stay.
    for n in 0..100 {
        publish(&store, n.to_string()).await;
    }
    now.fetch_add(120_000, Ordering::SeqCst);
    for _ in 0..10 {
        publish(&store, "b".into()).await;
    }
    let kept = store.0.database.view(|view| {
        use redb::ReadableTableMetadata;
        let by_id = view.open_table(super::tables::DEDUP)?.len()?;
        let by_age = view.open_table(super::tables::DEDUP_BY_AGE)?.len()?;
        Ok((by_id, by_age))
    });
    assert_eq!(kept.ok(), Some((1, 1)));
}

#[tokio::test]
async fn topic_097_times_and_ids_survive_a_clock_that_is_set_back() {
    let folder = Folder::new("topics");
    let path = folder.file("store");
    let now = Arc::new(AtomicU64::new(10_000_000));
    let clock = Arc::clone(&now);
    let options = FileOptions::new().clock(move || clock.load(Ordering::SeqCst));
    let store = options.clone().open(&path).await.unwrap();
    let (orders, _) = topic(&store, "orders").await;
    let record = || vec![NewRecord::new(7, Content::new("x")).dedup("id")];
    store.append(&orders, Append::new(record())).await.unwrap();
    store.close().await;
    now.store(10_000_000 - 3_600_000, Ordering::SeqCst);
    let store = options.open(&path).await.unwrap();
    append(&store, &orders, &["y"]).await.unwrap();
    let batch = store.append(&orders, Append::new(record())).await.unwrap();
    assert!(batch.records[0].duplicate);
    let records = read(&store, &orders, 0).await.unwrap();
    let times: Vec<_> = records.iter().map(|record| record.time).collect();
    assert_eq!(times, [10_000_000, 10_000_000]);
}

#[tokio::test]
async fn topic_014_numbers_go_on_after_a_trim_a_removal_and_a_restart() {
    let folder = Folder::new("topics");
    let path = folder.file("store");
    let (store, _) = open(&path).await;
    let (orders, old) = topic(&store, "orders").await;
    append(&store, &orders, &["1", "2", "3"]).await.unwrap();
    store.trim(&orders, old.epoch, 9).await.unwrap();
    store.close().await;
    let (store, _) = open(&path).await;
    assert_eq!(append(&store, &orders, &["4"]).await.unwrap(), 4);
    let (_, bounds) = topic(&store, "orders").await;
    assert_eq!((bounds.epoch, bounds.first, bounds.last), (old.epoch, 4, 4));
    store.end(&orders, End::Delete).await.unwrap();
    store.close().await;
    let (store, _) = open(&path).await;
    let (_, new) = topic(&store, "orders").await;
    assert_ne!(new.epoch, old.epoch);
    assert_eq!(append(&store, &orders, &["1"]).await.unwrap(), 1);
    assert_eq!(offsets(&read(&store, &orders, 0).await.unwrap()), [1]);
}

/// Also when the process ends in between.
#[tokio::test]
async fn topic_084_what_was_trimmed_is_removed_in_steps() {
    let folder = Folder::new("topics");
    let path = folder.file("store");
    let (store, disk) = open(&path).await;
    let (orders, bounds) = topic(&store, "orders").await;
    let (gone, _) = topic(&store, "gone").await;
    for topic in [&orders, &gone] {
        for _ in 0..10 {
            append(&store, topic, &["x"; 1000]).await.unwrap();
        }
    }
    store.trim(&orders, bounds.epoch, 9_999).await.unwrap();
    store.end(&gone, End::Delete).await.unwrap();
    assert_eq!(offsets(&read(&store, &orders, 0).await.unwrap()), [10_000]);
    disk.faults.cut();
    store.close().await;
    let (store, _) = open(&path).await;
    assert_eq!(offsets(&read(&store, &orders, 0).await.unwrap()), [10_000]);
    let left = || {
        let left = store.0.database.view(|view| {
            use redb::ReadableTableMetadata;
            let records = view.open_table(RECORDS)?.len()?;
            Ok((records, view.open_table(GARBAGE)?.len()?))
        });
        left.ok().unwrap()
    };
    for _ in 0..6000 {
        if left() == (1, 0) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(left(), (1, 0));
}

#[tokio::test]
async fn a_store_that_was_closed_says_so_and_can_be_opened_again() {
    let folder = Folder::new("topics");
    let path = folder.file("store");
    let (store, _) = open(&path).await;
    let (orders, _) = topic(&store, "orders").await;
    let other = store.clone();
    store.close().await;
    other.close().await;
    let error = append(&other, &orders, &["1"]).await.unwrap_err();
    assert_eq!(error.code(), "shutting-down");
    let error = read(&other, &orders, 0).await.unwrap_err();
    assert_eq!(error.code(), "shutting-down");
    let (store, _) = open(&path).await;
    append(&store, &orders, &["1"]).await.unwrap();
    // Without `close`: when the last clone is gone, soon.
    drop(store);
    for _ in 0..6000 {
        match FileStore::open(&path).await {
            Ok(_) => return,
            Err(error) => assert_eq!(error.code(), "store-in-use"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the store is still in use");
}

#[tokio::test]
async fn registers_whose_time_is_over_leave_the_file() {
    let folder = Folder::new("topics");
    let now = Arc::new(AtomicU64::new(1_000));
    let clock = Arc::clone(&now);
    let options = FileOptions::new().clock(move || clock.load(Ordering::SeqCst));
    let store = options.open(folder.file("store")).await.unwrap();
    let key = |name: &str| RegisterKey::new("space", name).unwrap();
    let second = Duration::from_secs(1);
    let write = |name: &str| Swap::write(key(name), None, "x").unwrap().expires(second);
    let mut written = store.swap(vec![write("a"), write("b")]).await.unwrap();
    let Some(Swapped::Written(b)) = written.pop() else {
        panic!("{written:?}");
    };
    // One that is written again in time stays.
    let later = Swap::write(key("b"), Some(b), "y").unwrap();
    store.swap(vec![later.expires(3 * second)]).await.unwrap();
    now.store(2_000, Ordering::SeqCst);
    store.swap(vec![write("c")]).await.unwrap();
    let rows = store.0.database.view(|view| {
        use redb::ReadableTableMetadata;
        let registers = view.open_table(super::tables::REGISTERS)?.len()?;
        Ok((registers, view.open_table(super::tables::EXPIRY)?.len()?))
    });
    assert_eq!(rows.ok(), Some((2, 2)));
    let found = store.scan("space", "", None, 9).await.unwrap();
    let names: Vec<_> = found.iter().map(|(key, _)| key.name()).collect();
    assert_eq!(names, ["b", "c"]);
}

#[tokio::test]
async fn topic_112_no_name_reaches_a_path() {
    let folder = Folder::new("topics");
    let (store, _) = open(&folder.file("store")).await;
    for name in ["../up", "/etc/passwd", "a/b", "C:\\x", "store.lock", "."] {
        let (name, _) = topic(&store, name).await;
        append(&store, &name, &["x"]).await.unwrap();
    }
    let files = fs::read_dir(folder.path()).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["store", "store.lock"]);
}
