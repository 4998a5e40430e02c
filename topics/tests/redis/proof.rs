//! The proof that a group keeps its promises: members in several processes that are killed and
//! stopped, fail, answer late, extend, come and leave, while events are published. Each effect is
//! written by a script that refuses a lower generation than the last one of its key.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::process::{Child, Command, Stdio};

use redis::Client;
use redis::aio::MultiplexedConnection;
use tokio::time::{Instant, sleep};
use updraft_topics::{Delivery, Group, GroupSettings};

use super::*;

/// Where a child finds Redis, and the seed of what it does.
const CHILD: &str = "UPDRAFT_TOPICS_TEST_WORKER";

const LEASE: Duration = Duration::from_secs(2);
const ACK_WAIT: Duration = Duration::from_secs(2);
const KEYS: u64 = 100;
const PROCESSES: u64 = 4;
/// Ten in four processes.
const MEMBERS: [u64; 4] = [3, 3, 2, 2];

/// Writes an effect, unless one of a higher generation was there, and notes who has the key.
const EFFECT: &str = "
    local last = redis.call('HGET', 'generations', ARGV[1])
    if last and tonumber(last) > tonumber(ARGV[2]) then
      redis.call('INCR', 'refused')
      return 0
    end
    redis.call('HSET', 'generations', ARGV[1], ARGV[2])
    redis.call('HSET', 'holders', ARGV[1], ARGV[4])
    redis.call('RPUSH', 'effects', ARGV[1] .. ' ' .. ARGV[3])
    return 1
";

/// A member, in a process that may end at any time.
struct Worker {
    group: Group,
    redis: MultiplexedConnection,
    random: fastrand::Rng,
    name: String,
    calls: u64,
}

impl Worker {
    /// Joins, works for a while, and leaves in one way or another, again and again.
    async fn work(mut self) {
        loop {
            let mut member = self.group.member(&self.name);
            for _ in 0..self.random.u32(20..200) {
                let most = self.random.usize(1..=8);
                for delivery in member.fetch(most).await.unwrap() {
                    // Those that came back with an earlier one of their key are not.
                    if delivery.is_current() {
                        self.handle(&delivery).await;
                    }
                }
            }
            if self.random.bool() {
                member.leave().await.unwrap();
            }
        }
    }

    async fn handle(&mut self, delivery: &Delivery) {
        let outcome = self.random.u32(0..1000);
        if outcome < 50 {
            let delay = Duration::from_millis(self.random.u64(0..100));
            self.tell(delivery, delivery.nack(Some(delay)).await, "nacks")
                .await;
            return;
        }
        self.calls += 1;
        let holder = format!("{} {}", self.name, self.calls);
        let key = delivery.message().key().unwrap().to_owned();
        let accepted: bool = redis::cmd("EVAL")
            .arg(EFFECT)
            .arg(0)
            .arg(&key)
            .arg(delivery.generation())
            .arg(delivery.message().offset())
            .arg(&holder)
            .query_async(&mut self.redis)
            .await
            .unwrap();
        match outcome {
            50..55 => sleep(ACK_WAIT + Duration::from_millis(300)).await,
            55..100 => {
                self.tell(delivery, delivery.extend().await, "extended")
                    .await
            }
            _ => {}
        }
        let now: String = self.ask(redis::cmd("HGET").arg("holders").arg(&key)).await;
        // First who has it, then whether this one still may: so it is if nobody else got it before.
        if accepted && now != holder && delivery.is_current() {
            let text = format!("{key}: {now} while {holder} had it: {delivery:?}");
            let _: u64 = self
                .ask(redis::cmd("RPUSH").arg("two holders").arg(text))
                .await;
        }
        self.tell(delivery, delivery.ack().await, "acks").await;
    }

    /// Notes an answer that was taken. One that is late is no fault.
    async fn tell(&mut self, delivery: &Delivery, answered: Result<(), TopicError>, list: &str) {
        match answered {
            Ok(()) => {
                let offset = delivery.message().offset();
                let _: u64 = self.ask(redis::cmd("RPUSH").arg(list).arg(offset)).await;
            }
            Err(TopicError::Stale) => {
                let _: u64 = self.ask(redis::cmd("INCR").arg("stale")).await;
            }
            Err(error) => panic!("{list}: {error}"),
        }
    }

    async fn ask<T: FromRedisValue>(&mut self, command: &redis::Cmd) -> T {
        command.query_async(&mut self.redis).await.unwrap()
    }
}

/// Runs in a process of its own, until it is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "other tests start it as a process, and kill it"]
async fn child_that_works() {
    let Ok(settings) = env::var(CHILD) else {
        return;
    };
    let [url, seed, members] = settings.split(' ').collect::<Vec<_>>()[..] else {
        panic!("{settings}");
    };
    let mut random = fastrand::Rng::with_seed(seed.parse().unwrap());
    let topics = topics(url).await.with_lease(LEASE);
    let group = topics.find_group("proof").await.unwrap();
    let mut workers = JoinSet::new();
    for _ in 0..members.parse().unwrap() {
        let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
        let client = Client::open(url).unwrap();
        let redis = client.get_multiplexed_async_connection_with_config(&config);
        let worker = Worker {
            group: group.clone(),
            redis: redis.await.unwrap(),
            random: random.fork(),
            name: format!("{:08x}", random.u32(..)),
            calls: 0,
        };
        workers.spawn(worker.work());
    }
    while let Some(ended) = workers.join_next().await {
        ended.unwrap();
    }
}

/// A process with members.
struct Workers {
    child: Child,
    is_stopped: bool,
}

impl Workers {
    fn start(url: &str, seed: u64, members: u64) -> Self {
        let child = Command::new(env::current_exe().unwrap())
            .args([
                "--ignored",
                "--nocapture",
                "--exact",
                "proof::child_that_works",
            ])
            .env(CHILD, format!("{url} {seed} {members}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            child,
            is_stopped: false,
        }
    }

    fn signal(&mut self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &id])
            .status();
        assert!(sent.unwrap().success());
        self.is_stopped = name == "STOP";
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What was done to the processes.
#[derive(Debug, Default)]
struct Done {
    killed: usize,
    stopped: usize,
}

async fn prove(events: u64) {
    let seed = env::var("UPDRAFT_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    println!("UPDRAFT_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let server = RedisServer::start();
    let url = server.url();
    let topics = topics(&url).await.with_lease(LEASE);
    let orders = topics.topic("orders", Settings::default()).await.unwrap();
    let settings = GroupSettings::on([&orders])
        .ack_wait(ACK_WAIT)
        .max_deliveries(8);
    let group = topics.group("proof", settings).await.unwrap();
    let start = |random: &mut fastrand::Rng, index: u64| {
        let members = MEMBERS[usize::try_from(index % PROCESSES).unwrap()];
        Workers::start(&url, random.u64(..), members)
    };
    let mut workers: Vec<_> = (0..PROCESSES)
        .map(|index| start(&mut random, index))
        .collect();
    let mut done = Done::default();
    let mut published = 0;
    let mut next_fault = Instant::now() + Duration::from_secs(1);
    let began = Instant::now();
    while published < events {
        // No more than the members can follow, so that faults meet them at work.
        if group.stats().await.unwrap().topics[0].lag < 500 {
            let batch = 20.min(events - published);
            let entries = (0..batch).map(|_| {
                let key = random.u64(0..KEYS);
                Entry::value(&key).key(format!("key {key}"))
            });
            let entries: Vec<_> = entries.collect();
            published += batch;
            orders.publish_many(entries).await.unwrap();
        } else {
            sleep(Duration::from_millis(20)).await;
        }
        if Instant::now() < next_fault {
            continue;
        }
        next_fault = Instant::now() + Duration::from_millis(random.u64(300..2000));
        let index = random.u64(0..PROCESSES);
        let process = &mut workers[usize::try_from(index).unwrap()];
        if process.is_stopped {
            process.signal("CONT");
        } else if random.bool() {
            *process = start(&mut random, index);
            done.killed += 1;
        } else {
            process.signal("STOP");
            done.stopped += 1;
        }
    }
    for process in workers.iter_mut().filter(|process| process.is_stopped) {
        process.signal("CONT");
    }
    let waited = Instant::now();
    loop {
        let stats = group.stats().await.unwrap();
        if (stats.topics[0].lag, stats.pending) == (0, 0) {
            break;
        }
        assert!(waited.elapsed() < Duration::from_secs(300), "{stats:?}");
        sleep(Duration::from_millis(50)).await;
    }
    let parked = group.dead_letters().list(usize::MAX).await.unwrap();
    let parked: BTreeSet<_> = parked.iter().map(|letter| letter.offset).collect();
    // What they would still note, they note now.
    sleep(Duration::from_secs(1)).await;
    drop(workers);
    println!("{published} events in {:?}, {done:?}", began.elapsed());
    check(&url, published, &parked);
}

fn check(url: &str, published: u64, parked: &BTreeSet<u64>) {
    let mut redis = Client::open(url).unwrap().get_connection().unwrap();
    let mut list = |name: &str| -> Vec<String> {
        let mut command = redis::cmd("LRANGE");
        command.arg(name).arg(0).arg(-1).query(&mut redis).unwrap()
    };
    assert_eq!(list("two holders"), Vec::<String>::new());
    let effects = list("effects");
    let mut last: BTreeMap<&str, u64> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for effect in &effects {
        let (key, offset) = effect.rsplit_once(' ').unwrap();
        let offset: u64 = offset.parse().unwrap();
        if seen.insert(offset) {
            let before = last.insert(key, offset);
            assert!(
                before.is_none_or(|before| before < offset),
                "{key}: {offset} came after {before:?}"
            );
        }
    }
    for offset in 1..=published {
        let is_done = seen.contains(&offset) || parked.contains(&offset);
        assert!(is_done, "{offset} was lost");
    }
    let acks = list("acks");
    let once: BTreeSet<_> = acks.iter().collect();
    assert_eq!(once.len(), acks.len(), "acknowledged twice");
    let stale: Option<u64> = ask(&mut redis, "GET stale");
    let refused: Option<u64> = ask(&mut redis, "GET refused");
    println!(
        "{} effects were repeated, {} acknowledgements lost with their process, {} late, {} effects \
         refused, {} parked",
        effects.len() - seen.len(),
        usize::try_from(published).unwrap() - acks.len() - parked.len(),
        stale.unwrap_or_default(),
        refused.unwrap_or_default(),
        parked.len(),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_067_a_group_keeps_the_order_of_keys_whatever_happens_to_its_processes() {
    prove(2_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "100,000 events: run by cargo xtask soak"]
async fn soak_topic_067_a_group_keeps_the_order_of_keys_whatever_happens_to_its_processes() {
    prove(100_000).await;
}
