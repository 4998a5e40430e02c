//! How long something takes that others wait for: that what a process had is with another one, when
//! it leaves and when it has crashed, and that a record is gone which all groups have finished.

use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio::time::sleep;
use updraft_test_support::redis::RedisServer;
use updraft_topics::{Delivery, Entry, Group, GroupSettings, Interest, Member, Settings, Topics};

use super::jetstream::{JetStream, Order, Storage};
use super::world::topics;
use crate::Failure;
use crate::options::Options;
use crate::rounds::median;
use crate::table::{Table, figure};

/// That of a process by default.
const LEASE: Duration = Duration::from_secs(10);

/// Records that are to change hands.
const RECORDS: usize = 200;

/// Rounds of a crash, each of which takes longer than the lease.
const CRASHES: usize = 3;

pub(crate) fn measure(options: &Options) -> Result<Table, Failure> {
    let server = RedisServer::start();
    let url = server.url();
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    let mut table = Table::new(&["what", "goal, ms", "median, ms", "longest, ms", "rounds"]);
    let rounds = options.records(20).max(3);
    let mut row = |what: &str, goal: &str, mut times: Vec<f64>| {
        times.sort_by(f64::total_cmp);
        let longest = times.last().copied().unwrap_or_default();
        let cells = [
            what.to_owned(),
            goal.to_owned(),
            figure(median(&times)),
            figure(longest),
            times.len().to_string(),
        ];
        eprintln!("{}", cells.join(" | "));
        table.row(cells);
    };
    let times = (0..rounds).map(|round| runtime.block_on(leave(&url, round)));
    let times = times.collect::<Result<_, _>>()?;
    row(
        "a process leaves: from its last answer until another one has the rest",
        "≤ 200",
        times,
    );
    let times = (0..options.records(CRASHES)).map(|round| crash(&runtime, &url, round));
    let times = times.collect::<Result<_, _>>()?;
    row(
        "a process crashes, with a lease of 10 s: until another one has what it had",
        "≤ 14,000",
        times,
    );
    if let Some(mut jetstream) = JetStream::start(options, None)? {
        let mut ask = |command: &str, rounds: usize| -> Result<Vec<f64>, Failure> {
            let mut times = Vec::with_capacity(rounds);
            for _ in 0..rounds {
                jetstream.create(Storage::Memory, Order::None, LEASE)?;
                jetstream.ask(&format!("fill {RECORDS} {RECORDS} 1"))?;
                times.push(jetstream.ask(&format!("{command} {RECORDS}"))?.parse()?);
            }
            Ok(times)
        };
        let times = ask("leave", rounds)?;
        row(
            "a member on JetStream gives the rest back: until another one has it",
            "",
            times,
        );
        let times = ask("crash", options.records(CRASHES))?;
        row(
            "a member on JetStream crashes, with an ack wait of 10 s: until another one has what it had",
            "",
            times,
        );
    }
    let times = runtime.block_on(gone(&url, rounds))?;
    row(
        "a record is gone that the last of two groups has finished",
        "≤ 2,000",
        times,
    );
    Ok(table)
}

/// A process with a topic of this round, and its group.
async fn open(url: &str, name: &str) -> Result<(Topics, Group), Failure> {
    let topics = topics(url, LEASE).await?;
    let topic = topics.topic(name, Settings::default()).await?;
    let settings = GroupSettings::on([&topic])
        .per_member(1000)
        .ack_wait(LEASE * 100);
    let group = topics.group(name, settings).await?;
    Ok((topics, group))
}

async fn publish(topics: &Topics, name: &str) -> Result<(), Failure> {
    let topic = topics.topic(name, Settings::default()).await?;
    let entries = (0..RECORDS).map(|number| Entry::value(&number).key(format!("key {number}")));
    topic.publish_many(entries).await?;
    Ok(())
}

async fn gather(member: &mut Member, count: usize) -> Result<Vec<Delivery>, Failure> {
    let mut all = Vec::new();
    while all.len() < count {
        all.extend(member.fetch(count - all.len()).await?);
    }
    Ok(all)
}

/// Waits until so many processes take part.
async fn until_processes(group: &Group, count: usize) -> Result<(), Failure> {
    while group.stats().await?.processes < count {
        sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

async fn leave(url: &str, round: usize) -> Result<f64, Failure> {
    let name = format!("leave {round}");
    let (one, leaving) = open(url, &name).await?;
    let (_two, staying) = open(url, &name).await?;
    publish(&one, &name).await?;
    let mut member = leaving.member("one");
    let mut held = gather(&mut member, RECORDS).await?;
    let mut heir = staying.member("two");
    let taking = tokio::task::JoinSet::from_iter([async move {
        gather(&mut heir, RECORDS / 2).await.map(|_| Instant::now())
    }]);
    until_processes(&leaving, 2).await?;
    for delivery in held.drain(..RECORDS / 2) {
        delivery.ack().await?;
    }
    let answered = Instant::now();
    member.leave().await?;
    let taken = taking
        .join_all()
        .await
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?;
    let last = taken.into_iter().max().unwrap_or(answered);
    Ok(millis(last.saturating_duration_since(answered)))
}

fn crash(runtime: &Runtime, url: &str, round: usize) -> Result<f64, Failure> {
    let name = format!("crash {round}");
    let crashing = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    // They outlive the runtime, so that the process cannot say goodbye.
    let (_topics, _member, _held) = crashing.block_on(async {
        let (topics, group) = open(url, &name).await?;
        publish(&topics, &name).await?;
        let mut member = group.member("one");
        let held = gather(&mut member, RECORDS).await?;
        Ok::<_, Failure>((topics, member, held))
    })?;
    let (_other, group) = runtime.block_on(open(url, &name))?;
    let mut heir = group.member("two");
    // It looks at the other one, and finds that it lives.
    let taking = runtime.block_on(async { tokio::time::timeout(LEASE / 2, heir.fetch(1)).await });
    if taking.is_ok() {
        return Err("a record was taken from a process that lives".into());
    }
    let crashed = Instant::now();
    crashing.shutdown_timeout(LEASE);
    runtime.block_on(gather(&mut heir, RECORDS))?;
    Ok(millis(crashed.elapsed()))
}

async fn gone(url: &str, rounds: usize) -> Result<Vec<f64>, Failure> {
    let topics = topics(url, LEASE).await?;
    let mut settings = Settings::default();
    settings.retention.interest = Some(Interest::default());
    let topic = topics.topic("gone", settings).await?;
    let one = topics.group("one", GroupSettings::on([&topic])).await?;
    let two = topics.group("two", GroupSettings::on([&topic])).await?;
    let (mut one, mut two) = (one.member("one"), two.member("two"));
    let mut times = Vec::with_capacity(rounds);
    for round in 0..rounds {
        let published = topic.publish(Entry::value(&round)).await?;
        for member in [&mut one, &mut two] {
            for delivery in gather(member, 1).await? {
                delivery.ack().await?;
            }
        }
        let finished = Instant::now();
        while topic.bounds().await?.first <= published.offset {
            sleep(Duration::from_millis(5)).await;
        }
        times.push(millis(finished.elapsed()));
        // So that rounds begin at any time between two sweeps.
        sleep(Duration::from_millis(130)).await;
    }
    Ok(times)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
