//! The store in a file. Bare is the same database with one table, which is given the same bytes in
//! transactions of as many records, each synced.

use std::path::Path;

use bytes::Bytes;
use redb::{Database, ReadableDatabase, TableDefinition};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use updraft_topics::{FileStore, Topic, Topics};

use crate::Failure;
use crate::options::Options;
use crate::records::{content, entries, payloads, settings};
use crate::rounds::{Good, compare, micros_of_one, per_second};
use crate::scratch::Scratch;
use crate::table::{Table, figure};

/// Callers that publish at the same time.
const CALLERS: [usize; 2] = [64, 512];
/// Records that each of them publishes in a round.
const EACH: usize = 100;
/// Records of a batch, and batches of a round.
const BATCHES: [(usize, usize); 2] = [(100, 200), (1000, 40)];
/// Records of a round that are published one after the other.
const ALONE: usize = 500;

/// What the store writes in front of a content: time, mark and their checksum.
const ROW_HEAD: [u8; 16] = [7; 16];

pub(crate) fn measure(options: &Options) -> Result<Table, Failure> {
    let mut table = Table::of_ratios();
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let scratch = Scratch::new(options, "file")?;
    for (size, count) in BATCHES {
        let payloads = payloads(size * options.records(count));
        let store = Open::new(&runtime, &scratch.file("batches"))?;
        let mut bare = Bare::open(&scratch.file("bare-batches"))?;
        let outcome = compare(
            options,
            Good::High,
            || per_second(payloads.len(), || store.publish_batches(&payloads, size)),
            || per_second(payloads.len(), || bare.write(&payloads, size)),
        )?;
        let what = format!("`publish_many` of {size}, records/s");
        table.compared(&what, "≥ 0.8", &outcome);
        store.close();
    }
    for callers in CALLERS {
        let payloads = payloads(callers * options.records(EACH));
        let path = scratch.file(&format!("callers-{callers}"));
        let store = Open::new(&runtime, &path)?;
        store.publish_together(&payloads, callers)?;
        store.close();
        // One of them made the tables, and one the topic.
        let commits = commits(&path)?.saturating_sub(2).max(1);
        let together = payloads.len().div_ceil(commits);
        let store = Open::new(&runtime, &path)?;
        let mut bare = Bare::open(&scratch.file(&format!("bare-callers-{callers}")))?;
        let outcome = compare(
            options,
            Good::High,
            || {
                per_second(payloads.len(), || {
                    store.publish_together(&payloads, callers)
                })
            },
            || per_second(payloads.len(), || bare.write(&payloads, together)),
        )?;
        let what = format!(
            "{callers} callers of `publish`, {} records in a transaction, records/s",
            figure(payloads.len() as f64 / commits as f64)
        );
        table.compared(&what, "≥ 0.8", &outcome);
        store.close();
    }
    let payloads = payloads(options.records(ALONE));
    let store = Open::new(&runtime, &scratch.file("alone"))?;
    let mut bare = Bare::open(&scratch.file("bare-alone"))?;
    let outcome = compare(
        options,
        Good::Low,
        || {
            let mut payloads = payloads.iter();
            micros_of_one(payloads.len(), || {
                store.publish_batches(payloads.next().map_or(&[], std::slice::from_ref), 1)
            })
        },
        || {
            let mut payloads = payloads.iter();
            micros_of_one(payloads.len(), || {
                bare.write(payloads.next().map_or(&[], std::slice::from_ref), 1)
            })
        },
    )?;
    table.compared("a caller alone, µs for one `publish`", "≤ 1.3", &outcome);
    store.close();
    Ok(table)
}

/// A store in a file, with one topic.
struct Open<'a> {
    runtime: &'a Runtime,
    store: FileStore,
    topic: Topic,
    /// Ends the topic with its owner.
    _topics: Topics,
}

impl<'a> Open<'a> {
    fn new(runtime: &'a Runtime, path: &Path) -> Result<Self, Failure> {
        runtime.block_on(async {
            let store = FileStore::open(path).await?;
            let topics = Topics::open(store.clone());
            let topic = topics.topic("published", settings()).await?;
            Ok(Self {
                runtime,
                store,
                topic,
                _topics: topics,
            })
        })
    }

    /// One caller publishes batches.
    fn publish_batches(&self, payloads: &[Bytes], size: usize) -> Result<(), Failure> {
        self.runtime.block_on(async {
            for payloads in payloads.chunks(size) {
                self.topic.publish_many(entries(payloads)).await?;
            }
            Ok(())
        })
    }

    /// Callers publish single records at the same time.
    fn publish_together(&self, payloads: &[Bytes], callers: usize) -> Result<(), Failure> {
        self.runtime
            .block_on(publish_together(&self.topic, payloads, callers))
    }

    fn close(&self) {
        self.runtime.block_on(self.store.close());
    }
}

/// So many tasks publish the records, each one after the other.
pub(crate) async fn publish_together(
    topic: &Topic,
    payloads: &[Bytes],
    callers: usize,
) -> Result<(), Failure> {
    let mut tasks = JoinSet::new();
    for payloads in payloads.chunks(payloads.len().div_ceil(callers)) {
        let (topic, payloads) = (topic.clone(), payloads.to_vec());
        tasks.spawn(async move {
            for entry in entries(&payloads) {
                topic.publish(entry).await?;
            }
            Ok::<_, Failure>(())
        });
    }
    tasks.join_all().await.into_iter().collect()
}

const RECORDS: TableDefinition<'_, (u64, u64), &[u8]> = TableDefinition::new("records");
const STORE: TableDefinition<'_, &str, u64> = TableDefinition::new("store");

/// The database without topics.
struct Bare {
    database: Database,
    offset: u64,
}

impl Bare {
    fn open(path: &Path) -> Result<Self, Failure> {
        let mut builder = Database::builder();
        // As the store's.
        builder.set_cache_size(64 * 1024 * 1024);
        Ok(Self {
            database: builder.create(path)?,
            offset: 0,
        })
    }

    /// Writes records, so many in a transaction.
    fn write(&mut self, payloads: &[Bytes], together: usize) -> Result<(), Failure> {
        for payloads in payloads.chunks(together) {
            let transaction = self.database.begin_write()?;
            let mut records = transaction.open_table(RECORDS)?;
            for payload in payloads {
                self.offset += 1;
                let row = [&ROW_HEAD, &*content(payload).encode(7)].concat();
                records.insert((1, self.offset), row.as_slice())?;
            }
            drop(records);
            transaction.commit()?;
        }
        Ok(())
    }
}

/// How many transactions a store has counted.
fn commits(path: &Path) -> Result<usize, Failure> {
    let database = Database::open(path)?;
    let store = database.begin_read()?.open_table(STORE)?;
    let commits = store.get("commit")?.map_or(0, |number| number.value());
    Ok(usize::try_from(commits)?)
}
