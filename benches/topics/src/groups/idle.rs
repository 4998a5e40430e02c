//! What groups cost that have nothing to do: each has a member that waits.

use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::sleep;
use updraft_test_support::redis::RedisServer;
use updraft_topics::{GroupSettings, Memory, Settings, Topics};

use super::world::{info, topics};
use crate::Failure;
use crate::options::Options;
use crate::rounds::cpu_time;
use crate::table::{Table, figure};

const GROUPS: usize = 1000;

/// How long it takes until each has its slots, and over how long is measured.
const SETTLES: u64 = 40;
const MEASURED: u64 = 60;

pub(crate) fn measure(options: &Options) -> Result<Table, Failure> {
    let mut table = Table::new(&["groups", "goal", "% of a core", "Redis, % of a core"]);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let count = options.records(GROUPS);
    let (ours, _) = runtime.block_on(idle(options, Topics::open(Memory::new()), || 0.0))?;
    let goal = "≤ 1 %";
    table.row([
        format!("{count} in memory"),
        goal.into(),
        figure(ours),
        String::new(),
    ]);
    let server = RedisServer::start();
    let topics = runtime.block_on(topics(&server.url(), Duration::from_secs(10)))?;
    let (ours, its) = runtime.block_on(idle(options, topics, || used(&server)))?;
    table.row([
        format!("{count} in Redis"),
        goal.into(),
        figure(ours),
        figure(its),
    ]);
    Ok(table)
}

/// How much of a core is used by this process, and by the store.
async fn idle(
    options: &Options,
    topics: Topics,
    store: impl Fn() -> f64,
) -> Result<(f64, f64), Failure> {
    let topic = topics.topic("orders", Settings::default()).await?;
    let mut members = JoinSet::new();
    for number in 0..options.records(GROUPS) {
        let settings = GroupSettings::on([&topic]);
        let group = topics.group(&format!("group {number}"), settings).await?;
        let mut member = group.member("w1");
        members.spawn(async move { member.fetch(1).await.map(drop) });
    }
    sleep(seconds(options, SETTLES)).await;
    let (began, ours, its) = (Instant::now(), cpu_time()?, store());
    sleep(seconds(options, MEASURED)).await;
    let taken = began.elapsed().as_secs_f64();
    let ours = cpu_time()?.saturating_sub(ours).as_secs_f64();
    let its = store() - its;
    if let Some(ended) = members.try_join_next() {
        ended??;
        return Err("a member has got something".into());
    }
    Ok((ours / taken * 100.0, its / taken * 100.0))
}

fn seconds(options: &Options, full: u64) -> Duration {
    let shorter = u32::try_from(options.shorter).unwrap_or(u32::MAX);
    Duration::from_secs(full) / shorter
}

/// Seconds that Redis' main thread has used.
fn used(server: &RedisServer) -> f64 {
    let fields = ["used_cpu_user_main_thread", "used_cpu_sys_main_thread"];
    let values = fields.map(|field| info(server, "cpu", field)?.parse::<f64>().ok());
    values.into_iter().flatten().sum()
}
