//! Rounds of the same plan, until one of them leaves as much memory as it found: what is lost in
//! every round is a leak, what is kept once is the allocator's.

use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use fastrand::Rng;
use tokio::sync::watch;
use tokio::task::JoinSet;
use updraft_test_support::redis::RedisServer;

use crate::actors::{Actor, Report};
use crate::common::Running;
use crate::memory;
use crate::publisher::{Publisher, await_silence};
use crate::server;
use crate::world::{PATIENCE, World};

/// What a round is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) clients: usize,
    /// How long messages are published.
    pub(crate) duration: Duration,
    pub(crate) messages_per_second: u32,
    /// How often Redis is restarted on the way.
    pub(crate) restarts: u32,
}

/// Rounds after which memory must have stopped growing.
const ROUNDS: usize = 8;

/// What a round may leave behind: pages that the allocator has not given back. A long round makes
/// twenty thousand connections, so that a leak of a hundred bytes for each is more; a short one
/// makes some hundreds.
const TOLERANCE: u64 = 1024 * 1024;

/// The length of a round: `UPDRAFT_SOAK_SECONDS`, or this many.
pub(crate) fn seconds(default: u64) -> Duration {
    Duration::from_secs(from_environment("UPDRAFT_SOAK_SECONDS").unwrap_or(default))
}

/// Memory is the whole process's, so tests of one process take turns.
static TURN: Mutex<()> = Mutex::new(());

/// A server, its Redis, and what is done to them.
pub(crate) struct Soak {
    _turn: MutexGuard<'static, ()>,
    plan: Plan,
    seed: u64,
    clients: tokio::runtime::Runtime,
    server: Running,
    redis: RedisServer,
}

impl Soak {
    pub(crate) fn new(plan: Plan) -> Self {
        let seed = from_environment("UPDRAFT_SEED").unwrap_or_else(|| fastrand::u64(..));
        say(&format!("{plan:?}; UPDRAFT_SEED={seed} repeats it"));
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let redis = RedisServer::start();
        let server = server::start(&redis);
        let clients = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        Self {
            _turn: turn,
            plan,
            seed,
            clients,
            server,
            redis,
        }
    }

    /// Runs rounds until memory has stopped growing.
    ///
    /// # Panics
    /// When a client missed something, something was not released, or memory grows with every
    /// round.
    pub(crate) fn run(mut self) {
        let mut before = None;
        for round in 0..ROUNDS {
            self.round(round);
            let after = memory::resident();
            let growth = before.map(|before| after.saturating_sub(before));
            say(&format!(
                "round {round}: {} KiB resident, grown by {growth:?} bytes",
                after / 1024
            ));
            if growth.is_some_and(|growth| growth <= TOLERANCE) {
                return;
            }
            before = Some(after);
        }
        panic!("memory grows with every round (UPDRAFT_SEED={})", self.seed);
    }

    /// One round, from the first client to the last thing released. Each makes the same choices.
    fn round(&mut self, round: usize) {
        let Plan {
            clients, restarts, ..
        } = self.plan;
        let before = self.server.stats();
        let (over, is_over) = watch::channel(false);
        let world = World {
            address: self.server.address(),
            numbers: Default::default(),
            over: is_over,
        };
        let mut rng = Rng::with_seed(self.seed);
        let publisher_rng = rng.fork();
        let mut acting = JoinSet::new();
        for number in 0..clients {
            let (actor, world, rng) = (Actor::of(number), world.clone(), rng.fork());
            let acts = async move { (number, actor, actor.act(world, rng).await) };
            acting.spawn_on(acts, self.clients.handle());
        }
        let publisher = Publisher::new(&mut self.redis, &world.numbers, publisher_rng);
        // Each of those that do not read is cut once, at least.
        let deaf = (0..clients)
            .filter(|it| Actor::of(*it) == Actor::Deaf)
            .count() as u64;
        let handle = self.server.handle();
        let rubbish = publisher.run(&self.plan, || {
            handle.stats().slow_clients - before.slow_clients >= deaf
        });
        over.send_replace(true);
        let outcomes = self.clients.block_on(acting.join_all());

        let failed: Vec<String> = outcomes
            .iter()
            .filter_map(|(number, actor, outcome)| {
                let error = outcome.as_ref().err()?;
                Some(format!("client {number}, {actor:?}: {error}"))
            })
            .collect();
        let seed = self.seed;
        assert!(
            failed.is_empty(),
            "{} of {clients} failed in round {round} (UPDRAFT_SEED={seed}):\n{}",
            failed.len(),
            failed[..failed.len().min(10)].join("\n")
        );
        let stats = self.released();
        let reports = outcomes
            .iter()
            .filter_map(|(_, _, outcome)| outcome.as_ref().ok());
        let gaps = reports.clone().map(|report: &Report| report.gaps).max();
        let connections: usize = reports.map(|report| report.connections).sum();
        // Two restarts in a row can be one gap; none is told twice.
        let expected = restarts.min(1) as usize..=restarts as usize;
        assert!(
            gaps.is_some_and(|gaps| expected.contains(&gaps)),
            "gaps told to one subscription: {gaps:?}"
        );
        assert_eq!(stats.failed_mappings, before.failed_mappings);
        let slow = stats.slow_clients - before.slow_clients;
        if restarts == 0 {
            let dropped = stats.dropped_payloads - before.dropped_payloads;
            assert_eq!(dropped, rubbish, "messages that are none");
        }
        say(&format!(
            "round {round}: {connections} connections, {slow} cut for not reading"
        ));
    }

    /// Waits until nothing of the clients is left.
    fn released(&self) -> updraft::Stats {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let stats = self.server.stats();
            let gauges = [
                stats.connections,
                stats.sessions,
                stats.subscriptions,
                stats.tasks,
                stats.channels,
            ];
            if gauges == [0; 5] {
                await_silence(&self.redis);
                return stats;
            }
            assert!(Instant::now() < deadline, "not released: {stats:?}");
            sleep(Duration::from_millis(10));
        }
    }
}

fn from_environment(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name} is not a number: {value}")),
    )
}

/// Prints at once, whatever the test harness keeps for later: a run that hangs must have said its
/// seed.
fn say(line: &str) {
    writeln!(std::io::stderr(), "chaos: {line}").expect("there is a place to print to");
}
