//! Topics, which several processes write and another one reads, without a bus between them.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::timeout;
use updraft_topics::{
    Codec, Entry, MongoSettings, MongoStore, OnLoss, Received, Settings, Start, Topic, Topics,
};

use crate::{BATCH, Failure, POLL, Run, payload, together};

/// How long a reader waits for a record before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) async fn many(url: &str, records: usize) -> Result<Run, Failure> {
    let process = Process::open(url).await?;
    let began = Instant::now();
    for first in (0..records).step_by(BATCH) {
        let numbers = first..(first + BATCH).min(records);
        process.topic.publish_many(numbers.map(entry)).await?;
    }
    let taken = began.elapsed();
    Ok(Run { taken, lost: None })
}

pub(crate) async fn one_by_one(url: &str, records: usize) -> Result<Run, Failure> {
    let writers = [Process::open(url).await?, Process::open(url).await?];
    let reading = Process::open(url).await?;
    let mut reader = JoinSet::new();
    reader.spawn(async move { read(&reading.topic, records).await });
    let taken = together(records, |caller, numbers| {
        let topic = writers[caller % 2].topic.clone();
        async move {
            for n in numbers {
                topic.publish(entry(n)).await?;
            }
            Ok(())
        }
    });
    let taken = taken.await?;
    let seen = reader.join_next().await.ok_or("the reader is gone")???;
    let lost = Some(records.saturating_sub(seen));
    Ok(Run { taken, lost })
}

/// What a process has open.
struct Process {
    topic: Topic,
    /// Ends the topics with its owner.
    _topics: Topics,
}

impl Process {
    async fn open(url: &str) -> Result<Self, Failure> {
        let mut settings = MongoSettings::default();
        settings.deadline = PATIENCE;
        let topics = Topics::open(MongoStore::open(url, settings).await?);
        let mut settings = Settings::default();
        settings.codec = Codec::Bytes("text/plain".into());
        settings.poll = POLL;
        settings.deadline = PATIENCE;
        Ok(Self {
            topic: topics.topic("records", settings).await?,
            _topics: topics,
        })
    }
}

fn entry(n: usize) -> Entry {
    Entry::bytes(payload(n))
}

/// Reads until all is read, or nothing more comes.
async fn read(topic: &Topic, records: usize) -> Result<usize, Failure> {
    let mut reader = topic.reader(Start::Earliest, OnLoss::Fail).await?;
    let mut seen = 0;
    while seen < records {
        let Ok(received) = timeout(PATIENCE, reader.next_batch(BATCH)).await else {
            break;
        };
        let Some(batch) = received else { break };
        let is_record = |received: &&Received| matches!(received, Received::Message(_));
        seen += batch?.iter().filter(is_record).count();
    }
    Ok(seen)
}
