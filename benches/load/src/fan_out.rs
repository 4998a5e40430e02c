//! One run: subscribers connect, a publisher feeds them, and the results of the measured time are
//! reported.

use std::collections::BTreeMap;
use std::io::{Error, Result};
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use crate::clients::Clients;
use crate::clock::Clock;
use crate::histogram::Histogram;
use crate::job::{Job, Pace};
use crate::process::{self, Cpu};
use crate::publisher::{self, Progress};
use crate::report::{Report, Usage};

/// The longest time between two reports of deliveries to the publisher, and how late the end of a
/// phase is noticed.
const TURN: Duration = Duration::from_millis(20);
/// How long missing deliveries are awaited at the end, counted from the last delivery.
const STRAGGLERS: Duration = Duration::from_secs(3);

/// Does a job.
///
/// # Errors
///
/// The job is not one for the loopback interface, subscribers cannot connect or are closed by the
/// server, or a measured process has ended.
pub fn run(job: &Job) -> Result<Report> {
    check(job)?;
    let clock = Clock::start();
    let before = Snapshot::take(job)?;
    let mut clients = Clients::connect(job, clock)?;
    let connected = Snapshot::take(job)?;
    let connecting = clock.now();
    let progress = Progress::default();
    let mut report = Report {
        connecting,
        ..Report::default()
    };
    if let Pace::Missed(each) = job.pace {
        catch_up(job, each, clock, &mut clients, &mut report)?;
        usage_of_clients(job, &before, &connected, &mut report);
        return Ok(report);
    }
    clients.begin()?;
    thread::scope(|scope| -> Result<()> {
        let publishes = matches!(job.pace, Pace::Rate(_) | Pace::Window(_));
        let publisher =
            publishes.then(|| scope.spawn(|| publisher::publish(job, clock, &progress)));
        let measured = measure(job, clock, &mut clients, &progress, &mut report);
        progress.stop.store(true, Relaxed);
        let published = publisher.map_or(Ok(Ok(())), thread::ScopedJoinHandle::join);
        measured?;
        published.map_err(|_| Error::other("the publisher panicked"))??;
        wait_for(expected(job, &progress), clock, &mut clients)
    })?;
    report.lost = expected(job, &progress).saturating_sub(clients.tally.delivered);
    report.disordered = clients.tally.disordered;
    report.late = Duration::from_nanos(progress.late.load(Relaxed));
    usage_of_clients(job, &before, &connected, &mut report);
    Ok(report)
}

/// All subscribe at once, and are sent what they have missed.
fn catch_up(
    job: &Job,
    each: u64,
    clock: Clock,
    clients: &mut Clients<'_>,
    report: &mut Report,
) -> Result<()> {
    let expected = each * job.clients as u64;
    let before = Snapshot::take(job)?;
    let start = clock.now();
    clients.begin()?;
    wait_for(expected, clock, clients)?;
    report.time = clock.now() - start;
    report.delivered = clients.tally.delivered;
    report.lost = expected.saturating_sub(clients.tally.delivered);
    report.disordered = clients.tally.disordered;
    report.processes = Snapshot::take(job)?.usage_since(&before);
    Ok(())
}

/// What a subscriber took while it connected, and the memory that it added since.
fn usage_of_clients(job: &Job, before: &Snapshot, connected: &Snapshot, report: &mut Report) {
    for (name, usage) in &mut report.processes {
        let change = |of: fn(&Sample) -> f64| connected.of(name, of) - before.of(name, of);
        let per_client = 1.0 / job.clients as f64;
        usage.connect_ms_per_client =
            change(|sample| sample.cpu.user + sample.cpu.system) * 1e3 * per_client;
        usage.kib_per_client =
            (usage.kib_per_client - before.of(name, |sample| sample.memory)) * per_client;
    }
}

fn check(job: &Job) -> Result<()> {
    let loopback = job.address.ip().is_loopback() && job.feed_address.ip().is_loopback();
    if !loopback {
        return Err(Error::other("not a loopback address"));
    }
    let is_even = job.channels > 0 && job.clients.is_multiple_of(job.channels);
    let reading = job.clients.saturating_sub(job.silent);
    if reading == 0 || !is_even || (job.silent > 0 && job.channels > 1) {
        return Err(Error::other(
            "each channel has to have the same number of subscribers",
        ));
    }
    Ok(())
}

/// Warms up, then measures.
fn measure(
    job: &Job,
    clock: Clock,
    clients: &mut Clients<'_>,
    progress: &Progress,
    report: &mut Report,
) -> Result<()> {
    work_until(clock.now() + job.warm_up, clock, clients, progress)?;
    let (start, delivered) = (clock.now(), clients.tally.delivered);
    let before = Snapshot::take(job)?;
    clients.tally.latencies = Some(Histogram::default());
    work_until(start + job.time, clock, clients, progress)?;
    let after = Snapshot::take(job)?;
    report.time = clock.now() - start;
    report.delivered = clients.tally.delivered - delivered;
    report.latency = clients
        .tally
        .latencies
        .take()
        .and_then(|latencies| latencies.latency());
    report.processes = after.usage_since(&before);
    Ok(())
}

fn work_until(
    end: Duration,
    clock: Clock,
    clients: &mut Clients<'_>,
    progress: &Progress,
) -> Result<()> {
    while clock.now() < end {
        clients.poll(TURN)?;
        progress.delivered.store(clients.tally.delivered, Relaxed);
    }
    Ok(())
}

/// Waits until so many messages were delivered, or none came for a while.
fn wait_for(expected: u64, clock: Clock, clients: &mut Clients<'_>) -> Result<()> {
    let mut last = clock.now();
    while clients.tally.delivered < expected && clock.now() < last + STRAGGLERS {
        let before = clients.tally.delivered;
        clients.poll(TURN)?;
        if clients.tally.delivered > before {
            last = clock.now();
        }
    }
    Ok(())
}

/// Deliveries that each message should cause.
pub(crate) fn per_message(job: &Job) -> u64 {
    ((job.clients - job.silent) / job.channels) as u64
}

/// Deliveries that the published messages should cause.
fn expected(job: &Job, progress: &Progress) -> u64 {
    progress.published.load(Relaxed) * per_message(job)
}

/// What the measured processes had used at one moment.
struct Snapshot(BTreeMap<String, Sample>);

struct Sample {
    cpu: Cpu,
    memory: f64,
}

impl Snapshot {
    fn take(job: &Job) -> Result<Self> {
        let others = job.processes.iter();
        let others = others.map(|(name, id)| (name.clone(), id.to_string()));
        // This shows whether the load generator limits a saturated server.
        let this = ("load".to_owned(), "self".to_owned());
        let samples = others.chain([this]).map(|(name, id)| {
            let sample = Sample {
                cpu: process::cpu(&id)?,
                memory: process::memory(&id)?,
            };
            Ok((name, sample))
        });
        samples.collect::<Result<_>>().map(Self)
    }

    /// The CPU time since then; and all of the memory, from which that before the subscribers is
    /// subtracted at the end.
    fn usage_since(&self, before: &Self) -> BTreeMap<String, Usage> {
        let usages = self.0.iter().map(|(name, sample)| {
            let usage = Usage {
                user: sample.cpu.user - before.of(name, |sample| sample.cpu.user),
                system: sample.cpu.system - before.of(name, |sample| sample.cpu.system),
                kib_per_client: sample.memory,
                connect_ms_per_client: 0.0,
            };
            (name.clone(), usage)
        });
        usages.collect()
    }

    fn of(&self, name: &str, value: fn(&Sample) -> f64) -> f64 {
        self.0.get(name).map_or(0.0, value)
    }
}
