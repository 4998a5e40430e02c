//! The store in memory, all on one thread. Bare is the store itself, without topics above it.

use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinSet, yield_now};
use updraft_topics::{
    Append, Create, Limit, Log, Memory, OnLoss, Place, Read, Start, Store, TopicName, Topics,
};

use crate::Failure;
use crate::options::Options;
use crate::records::{entries, new_records, payloads, settings};
use crate::rounds::{Figure, Good, compare, per_second_of_cpu};
use crate::table::Table;

/// Records that are read in a round.
const READ: usize = 1_000_000;
/// Records that are followed live in a round.
const FOLLOWED: usize = 300_000;
/// Records of a batch that is followed.
const BATCH: usize = 100;

pub(crate) fn measure(options: &Options) -> Result<Table, Failure> {
    let mut table = Table::of_ratios();
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let held = Held::fill(&runtime, options.records(READ))?;
    let bare = || held.read_bare(&runtime);
    let outcome = compare(options, Good::High, || held.read_pages(&runtime), bare)?;
    table.compared(
        "`Topic::read`, records/s",
        "≥ 1,000,000 records/s",
        &outcome,
    );
    let outcome = compare(
        options,
        Good::High,
        || held.read_with_reader(&runtime),
        bare,
    )?;
    let goal = "≥ 1,000,000 records/s";
    table.compared("`Reader::next_batch`, records/s", goal, &outcome);
    drop(held);
    let payloads = payloads(options.records(FOLLOWED));
    for (what, batch) in [
        ("followed live, published by 100, records/s", BATCH),
        ("followed live, published by 1, records/s", 1),
    ] {
        let goal = "≥ 300,000 records/s";
        let outcome = compare(
            options,
            Good::High,
            || follow(&runtime, &payloads, batch),
            || follow_bare(&runtime, &payloads, batch),
        )?;
        table.compared(what, if batch > 1 { goal } else { "" }, &outcome);
    }
    Ok(table)
}

/// A topic that is read again and again.
struct Held {
    topics: Topics,
    log: Arc<dyn Log>,
    name: TopicName,
    records: usize,
}

impl Held {
    fn fill(runtime: &Runtime, records: usize) -> Result<Self, Failure> {
        let store = Store::from(Memory::new());
        let log = Arc::clone(&store.log);
        let name = TopicName::new("read")?;
        let topics = runtime.block_on(async {
            let topics = Topics::open(store);
            let topic = topics.topic(name.clone(), settings()).await?;
            for payloads in payloads(records).chunks(1000) {
                topic.publish_many(entries(payloads)).await?;
            }
            Ok::<_, Failure>(topics)
        })?;
        Ok(Self {
            topics,
            log,
            name,
            records,
        })
    }

    fn read_pages(&self, runtime: &Runtime) -> Result<Figure, Failure> {
        let reading = async {
            let topic = self.topics.topic(self.name.clone(), settings()).await?;
            let mut position = topic.seek(Start::Earliest).await?;
            let mut read = 0;
            while read < self.records {
                let batch = topic.read(position, Limit::default()).await?;
                position = batch.next;
                read += batch.messages.len();
            }
            Ok(())
        };
        per_second_of_cpu(self.records, || runtime.block_on(reading))
    }

    fn read_with_reader(&self, runtime: &Runtime) -> Result<Figure, Failure> {
        let reading = async {
            let topic = self.topics.topic(self.name.clone(), settings()).await?;
            let mut reader = topic.reader(Start::Earliest, OnLoss::Fail).await?;
            let mut read = 0;
            while read < self.records {
                let batch = reader.next_batch(256).await.ok_or("the reader has ended")?;
                read += batch?.len();
            }
            Ok(())
        };
        per_second_of_cpu(self.records, || runtime.block_on(reading))
    }

    fn read_bare(&self, runtime: &Runtime) -> Result<Figure, Failure> {
        let reading = async {
            let bounds = self.log.open(&self.name, Create::Never).await?;
            let mut place = Place::start(bounds.epoch);
            let mut read = 0;
            while read < self.records {
                let (records, next) = page(&*self.log, &self.name, place).await?;
                (read, place) = (read + records, next);
            }
            Ok(())
        };
        per_second_of_cpu(self.records, || runtime.block_on(reading))
    }
}

/// One task publishes, another follows.
fn follow(runtime: &Runtime, payloads: &[Bytes], batch: usize) -> Result<Figure, Failure> {
    let (count, payloads) = (payloads.len(), payloads.to_vec());
    let following = async move {
        let topics = Topics::open(Memory::new());
        let topic = topics.topic("followed", settings()).await?;
        let mut reader = topic.reader(Start::Latest, OnLoss::Fail).await?;
        let mut publisher = JoinSet::new();
        publisher.spawn(async move {
            for payloads in payloads.chunks(batch) {
                topic.publish_many(entries(payloads)).await?;
                yield_now().await;
            }
            Ok::<_, Failure>(())
        });
        let mut read = 0;
        while read < count {
            let batch = reader.next_batch(256).await.ok_or("the reader has ended")?;
            read += batch?.len();
        }
        publisher.join_all().await.into_iter().collect()
    };
    per_second_of_cpu(count, || runtime.block_on(following))
}

/// Each batch is appended and then read.
fn follow_bare(runtime: &Runtime, payloads: &[Bytes], batch: usize) -> Result<Figure, Failure> {
    let following = async {
        let (log, name) = (Memory::new(), TopicName::new("followed")?);
        let bounds = log.open(&name, Create::IfMissing).await?;
        let mut place = Place::start(bounds.epoch);
        for payloads in payloads.chunks(batch) {
            log.append(&name, Append::new(new_records(payloads)))
                .await?;
            (_, place) = page(&log, &name, place).await?;
        }
        Ok(())
    };
    per_second_of_cpu(payloads.len(), || runtime.block_on(following))
}

/// Reads a page. Answers how many records it had, and the place behind it.
async fn page(log: &dyn Log, name: &TopicName, after: Place) -> Result<(usize, Place), Failure> {
    match log.read(name, after, Limit::default()).await? {
        Read::Page(page) => Ok((page.records.len(), page.next)),
        other => Err(format!("not a page: {other:?}").into()),
    }
}
