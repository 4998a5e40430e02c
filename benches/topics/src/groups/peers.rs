//! Groups beside what else shares records among workers: Redis' own groups, and JetStream. Four
//! members, the same records, one thread for the workers and one processor for the server.

use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use updraft_load::quiet;
use updraft_test_support::redis::RedisServer;

use super::by_hand::{Acks, STREAM};
use super::jetstream::{JetStream, Order, Storage};
use super::world::{Pinned, info};
use super::{AT_ONCE, KEYS, MEMBERS, Workers, memory, publish, redis};
use crate::Failure;
use crate::options::Options;
use crate::records::{SIZE, payloads};
use crate::rounds::{Cost, Meter, median};
use crate::table::{Table, figure};

/// Records of a round.
const RECORDS: usize = 50_000;

/// For how long a member of JetStream may have a record: more than a round takes.
const ACK_WAIT: Duration = Duration::from_secs(30);

/// Who works.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    GroupInRedis,
    GroupInMemory,
    ByHand(Acks),
    JetStream(Storage, Order, &'static str),
}

impl Who {
    /// The first is the one to which the others are compared.
    const ALL: [Self; 9] = [
        Self::GroupInRedis,
        Self::GroupInMemory,
        Self::ByHand(Acks::Together),
        Self::ByHand(Acks::Each),
        Self::JetStream(Storage::Memory, Order::Key, ANSWERED),
        Self::JetStream(Storage::Memory, Order::None, ANSWERED),
        Self::JetStream(Storage::Memory, Order::None, SENT),
        Self::JetStream(Storage::File, Order::None, ANSWERED),
        Self::JetStream(Storage::File, Order::None, SENT),
    ];

    fn title(self) -> String {
        let (storage, order, acks) = match self {
            Self::GroupInRedis => return "**a group, in Redis**".into(),
            Self::GroupInMemory => return "a group, in memory".into(),
            Self::ByHand(Acks::Together) => return "`XREADGROUP`, `XACK` for 100".into(),
            Self::ByHand(Acks::Each) => return "`XREADGROUP`, `XACK` for each".into(),
            Self::JetStream(storage, order, acks) => (storage, order, acks),
        };
        let storage = match storage {
            Storage::Memory => "in memory",
            Storage::File => "in files",
        };
        match order {
            Order::None => format!("JetStream, {storage}, acks {acks}"),
            Order::Key => {
                format!("JetStream, {storage}, acks {acks}, one record of a part at a time")
            }
        }
    }
}

/// How JetStream is told that a record is handled.
const ANSWERED: &str = "answered";
const SENT: &str = "sent";

pub(crate) fn measure(options: &Options) -> Result<Table, Failure> {
    let mut world = World::new(options)?;
    let has_jetstream = world.jetstream.is_some();
    let is_there = |who: &Who| has_jetstream || !matches!(who, Who::JetStream(..));
    let all: Vec<Who> = Who::ALL.into_iter().filter(is_there).collect();
    if options.shorter == 1 {
        for who in &all {
            world.work(*who)?;
        }
        if !quiet::wait() {
            eprintln!("on a busy machine");
        }
    }
    let mut rounds: Vec<Vec<Cost>> = Vec::new();
    for round in 0..options.rounds {
        let mut costs = Vec::with_capacity(all.len());
        // Who is second finds warmer caches.
        let order: Vec<usize> = match round % 2 {
            0 => (0..all.len()).collect(),
            _ => (0..all.len()).rev().collect(),
        };
        for place in order {
            let who = all.get(place).copied().ok_or("nobody")?;
            costs.push((place, world.work(who)?));
        }
        costs.sort_by_key(|(place, _)| *place);
        rounds.push(costs.into_iter().map(|(_, cost)| cost).collect());
    }
    Ok(table(&all, &rounds))
}

fn table(all: &[Who], rounds: &[Vec<Cost>]) -> Table {
    let mut table = Table::new(&[
        "who",
        "records/s, × a group in Redis",
        "rounds",
        "records/s",
        "µs CPU",
        "server, µs CPU",
    ]);
    for (place, who) in all.iter().enumerate() {
        let sorted = |value: fn(&Cost, &Cost) -> f64| {
            let values = rounds.iter().filter_map(|round| {
                let (cost, group) = (round.get(place)?, round.first()?);
                Some(value(cost, group))
            });
            let mut values: Vec<f64> = values.collect();
            values.sort_by(f64::total_cmp);
            values
        };
        let ratios = sorted(|cost, group| cost.per_second / group.per_second);
        let (least, greatest) = (ratios.first(), ratios.last());
        let range = least.zip(greatest);
        let server = match who {
            Who::GroupInMemory => String::new(),
            _ => figure(median(&sorted(|cost, _| cost.server))),
        };
        let cells = [
            who.title(),
            figure(median(&ratios)),
            range.map_or_else(String::new, |(least, greatest)| {
                format!("{}–{}", figure(*least), figure(*greatest))
            }),
            figure(median(&sorted(|cost, _| cost.per_second))),
            figure(median(&sorted(|cost, _| cost.workers))),
            server,
        ];
        eprintln!("{}", cells.join(" | "));
        table.row(cells);
    }
    table
}

/// All servers and workers, which stay from round to round.
struct World {
    runtime: Runtime,
    payloads: Vec<Bytes>,
    in_memory: memory::Opened,
    in_redis: redis::Opened,
    workers_in_redis: Workers,
    jetstream: Option<JetStream>,
    redis: RedisServer,
    /// Redis' process.
    redis_id: u32,
    _pinned: Pinned,
}

impl World {
    fn new(options: &Options) -> Result<Self, Failure> {
        let redis = RedisServer::start();
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (in_redis, workers_in_redis) = runtime.block_on(redis::Opened::new(&redis.url()))?;
        let in_memory = memory::Opened::new(&runtime)?;
        let pinned = Pinned::new(&redis)?;
        let id = info(&redis, "server", "process_id");
        Ok(Self {
            payloads: payloads(options.records(RECORDS)),
            in_memory,
            in_redis,
            workers_in_redis,
            // Its workers are where this process is.
            jetstream: JetStream::start(options, pinned.server())?,
            redis_id: id.ok_or("Redis does not say its id")?.parse()?,
            redis,
            runtime,
            _pinned: pinned,
        })
    }

    /// One round, of which the work is measured, not what comes before and after it.
    fn work(&mut self, who: Who) -> Result<Cost, Failure> {
        let (runtime, count) = (&self.runtime, self.payloads.len());
        let this = std::process::id();
        match who {
            Who::GroupInRedis => {
                let topic = &self.in_redis.topic;
                runtime.block_on(publish(topic, &self.payloads))?;
                let meter = Meter::start(this, Some(self.redis_id))?;
                runtime.block_on(self.workers_in_redis.work_off(count))?;
                let cost = meter.stop(count);
                runtime.block_on(topic.trim(u64::MAX))?;
                cost
            }
            Who::GroupInMemory => {
                self.in_memory.fill(runtime, &self.payloads)?;
                let meter = Meter::start(this, None)?;
                self.in_memory.work_off(runtime, count)?;
                let cost = meter.stop(count);
                self.in_memory.empty(runtime)?;
                cost
            }
            Who::ByHand(acks) => {
                self.in_redis.fill(runtime, &self.payloads)?;
                let url = self.redis.url();
                let meter = Meter::start(this, Some(self.redis_id))?;
                runtime.block_on(redis::work_by_hand(&url, count, acks))?;
                let cost = meter.stop(count);
                self.redis.tell("DEL", &[STREAM]);
                cost
            }
            Who::JetStream(storage, order, acks) => {
                let jetstream = self.jetstream.as_mut().ok_or("JetStream is not there")?;
                beside(runtime, || {
                    jetstream.create(storage, order, ACK_WAIT)?;
                    jetstream.ask(&format!("fill {count} {KEYS} {SIZE}"))?;
                    let meter = Meter::start(jetstream.workers(), Some(jetstream.server.id()))?;
                    let handled =
                        jetstream.ask(&format!("work {count} {MEMBERS} {AT_ONCE} {acks}"))?;
                    let cost = meter.stop(count);
                    match handled.parse::<usize>()? {
                        all if all == count => cost,
                        some => Err(format!("{some} of {count} records were handled").into()),
                    }
                })
            }
        }
    }
}

/// Waits for work of other processes, while the groups of this one stay what they are.
fn beside<T: Send>(
    runtime: &Runtime,
    work: impl FnOnce() -> Result<T, Failure> + Send,
) -> Result<T, Failure> {
    std::thread::scope(|scope| {
        let (ended, end) = oneshot::channel::<()>();
        let working = scope.spawn(move || {
            let outcome = work();
            drop(ended);
            outcome
        });
        // The sender is dropped, which is what is waited for.
        drop(runtime.block_on(end));
        let outcome = working.join();
        outcome.unwrap_or_else(|_| Err("the work has panicked".into()))
    })
}
