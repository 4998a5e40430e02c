//! In memory, all on one thread. Bare is a reader of the same records, which answers nothing.

use bytes::Bytes;
use tokio::runtime::{Builder, Runtime};
use updraft_topics::{GroupSettings, Memory, OnLoss, Start, Topic, Topics};

use super::{Workers, publish};
use crate::Failure;
use crate::options::Options;
use crate::records::{payloads, settings};
use crate::rounds::{Figure, Good, compare, per_second_of_cpu};
use crate::table::Table;

/// Records of a round.
const RECORDS: usize = 200_000;

pub(super) fn measure(options: &Options, table: &mut Table) -> Result<(), Failure> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let mut opened = Opened::new(&runtime)?;
    let payloads = payloads(options.records(RECORDS));
    let read = Opened::new(&runtime)?;
    let outcome = compare(
        options,
        Good::High,
        || opened.work(&runtime, &payloads),
        || read.read(&runtime, &payloads),
    )?;
    let goal = "≥ 200,000 records/s";
    table.compared("in memory, 4 members, records/s", goal, &outcome);
    Ok(())
}

pub(super) struct Opened {
    topic: Topic,
    workers: Workers,
    _topics: Topics,
}

impl Opened {
    pub(super) fn new(runtime: &Runtime) -> Result<Self, Failure> {
        runtime.block_on(async {
            let topics = Topics::open(Memory::new());
            let topic = topics.topic("orders", settings()).await?;
            let settings = GroupSettings::on([&topic]);
            Ok(Self {
                workers: Workers::new(&topics.group("workers", settings).await?),
                topic,
                _topics: topics,
            })
        })
    }

    fn work(&mut self, runtime: &Runtime, payloads: &[Bytes]) -> Result<Figure, Failure> {
        self.fill(runtime, payloads)?;
        let figure = per_second_of_cpu(payloads.len(), || self.work_off(runtime, payloads.len()));
        self.empty(runtime)?;
        figure
    }

    pub(super) fn fill(&self, runtime: &Runtime, payloads: &[Bytes]) -> Result<(), Failure> {
        runtime.block_on(publish(&self.topic, payloads))
    }

    pub(super) fn work_off(&mut self, runtime: &Runtime, count: usize) -> Result<(), Failure> {
        runtime.block_on(self.workers.work_off(count))
    }

    pub(super) fn empty(&self, runtime: &Runtime) -> Result<(), Failure> {
        runtime.block_on(self.topic.trim(u64::MAX))?;
        Ok(())
    }

    fn read(&self, runtime: &Runtime, payloads: &[Bytes]) -> Result<Figure, Failure> {
        let mut reader = runtime.block_on(async {
            let reader = self.topic.reader(Start::Latest, OnLoss::Fail).await?;
            publish(&self.topic, payloads).await?;
            Ok::<_, Failure>(reader)
        })?;
        let reading = async {
            let mut read = 0;
            while read < payloads.len() {
                let batch = reader.next_batch(256).await.ok_or("the reader has ended")?;
                read += batch?.len();
            }
            Ok(())
        };
        let figure = per_second_of_cpu(payloads.len(), || runtime.block_on(reading));
        runtime.block_on(self.topic.trim(u64::MAX))?;
        figure
    }
}
