//! In Redis: this process on one processor, Redis on another. By hand is a plain stream with Redis'
//! own groups.

use std::time::Duration;

use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use updraft_test_support::redis::RedisServer;
use updraft_topics::{GroupSettings, Topic, Topics};

use super::by_hand::{self, Acks, STREAM, Worker};
use super::world::{Pinned, topics};
use super::{AT_ONCE, MEMBERS, Workers, key, publish};
use crate::Failure;
use crate::options::Options;
use crate::records::{payloads, settings};
use crate::rounds::{Good, compare, per_second};
use crate::table::Table;

/// Records of a round.
const RECORDS: usize = 50_000;

const LEASE: Duration = Duration::from_secs(10);

pub(super) fn measure(options: &Options, table: &mut Table) -> Result<(), Failure> {
    let server = RedisServer::start();
    let url = server.url();
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (mut opened, mut workers) = runtime.block_on(Opened::new(&url))?;
    let _pinned = Pinned::new(&server)?;
    let payloads = payloads(options.records(RECORDS));
    for (acks, how) in [
        (Acks::Together, "`XACK` for 100"),
        (Acks::Each, "`XACK` for each, 100 in a pipeline"),
    ] {
        let topic = opened.topic.clone();
        let outcome = compare(
            options,
            Good::High,
            || {
                runtime.block_on(publish(&topic, &payloads))?;
                let working = workers.work_off(payloads.len());
                let figure = per_second(payloads.len(), || runtime.block_on(working));
                runtime.block_on(topic.trim(u64::MAX))?;
                figure
            },
            || {
                opened.fill(&runtime, &payloads)?;
                let working = work_by_hand(&url, payloads.len(), acks);
                let figure = per_second(payloads.len(), || runtime.block_on(working));
                server.tell("DEL", &[STREAM]);
                figure
            },
        )?;
        let what = format!("in Redis, 4 members; by hand {how}, records/s");
        table.compared(&what, "≥ 0.5, ≥ 20,000 records/s", &outcome);
    }
    Ok(())
}

pub(super) struct Opened {
    pub(super) topic: Topic,
    connection: MultiplexedConnection,
    _topics: Topics,
}

impl Opened {
    pub(super) async fn new(url: &str) -> Result<(Self, Workers), Failure> {
        let topics = topics(url, LEASE).await?;
        let topic = topics.topic("orders", settings()).await?;
        let settings = GroupSettings::on([&topic]);
        let group = topics.group("workers", settings).await?;
        let opened = Self {
            topic,
            connection: by_hand::connect(url).await?,
            _topics: topics,
        };
        Ok((opened, Workers::new(&group)))
    }

    pub(super) fn fill(&mut self, runtime: &Runtime, payloads: &[Bytes]) -> Result<(), Failure> {
        runtime.block_on(async {
            by_hand::create(&mut self.connection).await?;
            for (number, payloads) in payloads.chunks(1000).enumerate() {
                let entries = payloads.iter().enumerate();
                let entries = entries.map(|(place, it)| (key(number * 1000 + place), &it[..]));
                by_hand::add(&mut self.connection, entries).await?;
            }
            Ok(())
        })
    }
}

pub(super) async fn work_by_hand(url: &str, count: usize, acks: Acks) -> Result<(), Failure> {
    let mut workers = JoinSet::new();
    for number in 0..MEMBERS {
        let mut worker = Worker::new(url, format!("w{number}"), Duration::from_secs(30)).await?;
        workers.spawn(async move {
            let mut handled = 0;
            loop {
                let entries = worker.fetch(AT_ONCE).await?;
                if entries.is_empty() {
                    return Ok::<_, Failure>(handled);
                }
                handled += entries.len();
                worker.acknowledge(&entries, acks).await?;
            }
        });
    }
    let mut handled = 0;
    while let Some(worker) = workers.join_next().await {
        handled += worker??;
    }
    if handled == count {
        Ok(())
    } else {
        Err(format!("{handled} of {count} entries were handled").into())
    }
}
