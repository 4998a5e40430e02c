//! A client that is cut off at any byte, and a server that is killed, again and again: what the
//! client has received in the end is what was published, in order.
//!
//! The server is a process of its own. It publishes 1, 2, 3 … by itself, each number at the offset
//! of its value, so a test knows what was published without asking.

#![expect(
    clippy::disallowed_methods,
    reason = "when something was received says what may come again"
)]

use std::collections::VecDeque;
use std::env;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use updraft::prelude::*;
use updraft::topics::{
    Entry, FileStore, RedisSettings, RedisStore, Settings, Store, Topic, TopicError, Topics,
};
use updraft_bus::{ChannelSettings, Channels};
use updraft_test_support::client::{Client, PATIENCE};
use updraft_test_support::folder::Folder;
use updraft_test_support::process::{Process, free_port};
use updraft_test_support::proxy::{Direction, Proxy};
use updraft_test_support::redis::RedisServer;
use updraft_test_support::script::Script;
use updraft_test_support::transcript::Received;

use super::world::{Got, got};
use crate::common::runtime;

/// Where the process of a server listens, and where its topic is.
const PORT: &str = "UPDRAFT_KILLS_PORT";
const STORE: &str = "UPDRAFT_KILLS_STORE";

/// What a client without positions subscribes with each time.
const VENT_ID: &str = "kpNzWxsDHYcxAHj5M";

/// How many records may be unconfirmed.
const WINDOW: u64 = 256;

/// What was confirmed so long before a cut was written. A second would do on a quiet machine.
const WRITTEN_AFTER: Duration = Duration::from_secs(5);

/// How a client goes on where it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// The server keeps its place.
    Cursor,
    /// It says the position of the last record.
    Position,
}

/// A server in a process, and its store, which it does not outlive.
struct ServerProcess {
    process: Process,
    port: u16,
    store: ServerStore,
}

enum ServerStore {
    Redis(Box<RedisServer>),
    File(Folder),
}

/// A client over all of its connections.
struct Follower {
    by: By,
    last: u64,
    position: Option<String>,
    /// Records that came again.
    repeats: u64,
    /// What it had received at which time, for as long as that may not be written.
    received: VecDeque<(Instant, u64)>,
}

impl ServerProcess {
    fn start(store: ServerStore) -> Self {
        let port = free_port();
        Self {
            process: start_process(port, &store),
            port,
            store,
        }
    }

    fn each() -> impl Iterator<Item = Self> {
        let stores: [fn() -> ServerStore; 2] = [
            || ServerStore::File(Folder::new("kills")),
            || ServerStore::Redis(Box::new(RedisServer::start())),
        ];
        stores.into_iter().map(|store| Self::start(store()))
    }

    /// Kills the process, and starts another.
    fn kill(&mut self) {
        self.process.kill();
        self.process = start_process(self.port, &self.store);
    }
}

fn start_process(port: u16, store: &ServerStore) -> Process {
    let store = match store {
        ServerStore::Redis(redis) => redis.url(),
        ServerStore::File(folder) => folder.file("topics").display().to_string(),
    };
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args(["--ignored", "--nocapture", "--exact"])
        .arg("following::kills::child_that_serves")
        .env(PORT, port.to_string())
        .env(STORE, store);
    Process::start(&mut command, port)
}

/// Runs in a process of its own: publishes, and serves followers.
#[test]
#[ignore = "other tests start it as a process, and kill it"]
fn child_that_serves() {
    let (Ok(port), Ok(store)) = (env::var(PORT), env::var(STORE)) else {
        return;
    };
    runtime().block_on(async {
        let topics = Topics::open(open(&store).await);
        let topic = topics.topic("orders", Settings::default()).await.unwrap();
        let followed = topic.clone();
        let bound = builder(followed)
            .bind(format!("127.0.0.1:{port}"))
            .await
            .unwrap();
        let serving = bound.serve();
        tokio::select! {
            served = serving => served.unwrap(),
            () = publish(&topic) => {}
        }
    });
}

fn builder(topic: Topic) -> updraft::Builder {
    #[derive(Deserialize)]
    struct Params {
        from: Option<Value>,
    }
    Server::builder().vent("orders", move |vent: Vent, Params { from }: Params| {
        let topic = topic.clone();
        async move {
            let from = from.unwrap_or_else(|| "earliest".into());
            vent.follow(&topic, from).cursor().await
        }
    })
}

async fn open(store: &str) -> Store {
    if !store.starts_with("redis") {
        return FileStore::open(store).await.unwrap().into();
    }
    let settings = RedisSettings::default();
    let log = Arc::new(RedisStore::open(store, settings).await.unwrap());
    let bus = Redis::connect(store).await.unwrap();
    let bus = Channels::open(bus, ChannelSettings::default()).unwrap();
    Store::new(log.clone(), log, Arc::new(bus))
}

/// Publishes without end: some records at a time.
async fn publish(topic: &Topic) {
    let mut last = topic.bounds().await.unwrap().last;
    loop {
        let numbers = last + 1..=last + fastrand::u64(1..=10);
        let entries = numbers.clone().map(|number| Entry::value(&number));
        match topic.publish_after(last, entries).await {
            Ok(_) => last = *numbers.end(),
            // What the process before this one had sent has arrived late.
            Err(TopicError::Conflict { .. }) => last = topic.bounds().await.unwrap().last,
            Err(error) => panic!("{error}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

impl Follower {
    fn new(by: By) -> Self {
        Self {
            by,
            last: 0,
            position: None,
            repeats: 0,
            received: VecDeque::new(),
        }
    }

    /// Follows over a connection until that ends, or it has enough.
    fn follow(&mut self, port: u16, has_enough: impl Fn(&Self) -> bool) {
        let url = format!("ws://127.0.0.1:{port}/websocket");
        let Ok(mut client) = Client::try_connect(&url) else {
            return;
        };
        let connect = r#"{"msg":"connect","version":"1","support":["1"]}"#;
        let sub = match (self.by, &self.position) {
            (By::Cursor, _) => format!(r#"["{VENT_ID}",{{}}]"#),
            (By::Position, None) => r#"["vent.orders",{}]"#.to_owned(),
            (By::Position, Some(it)) => format!(r#"["vent.orders",{{"from":"{it}"}}]"#),
        };
        let sub = format!(r#"{{"msg":"sub","id":"s","name":"orders","params":{sub}}}"#);
        let say =
            |client: &mut Client, text: &str| client.send(tungstenite::Message::text(text)).is_ok();
        if !say(&mut client, connect) || !say(&mut client, &sub) {
            return;
        }
        let mut next = None;
        while !has_enough(self) {
            let text = match client.receive(2 * PATIENCE) {
                Some(Received::Text(text)) => text,
                Some(_) => return,
                None => panic!("nothing came after {}", self.last),
            };
            if text.contains(r#""msg":"connected""#) {
                continue;
            }
            match got(&text) {
                None => {
                    if !say(&mut client, r#"{"msg":"pong"}"#) {
                        return;
                    }
                }
                Some(Got::Event(number, position)) => {
                    let number = number.as_u64().unwrap();
                    self.receive(number, next);
                    next = Some(number + 1);
                    self.position = position;
                }
                Some(Got::Added | Got::Place(_) | Got::Ready) => {}
                Some(got) => panic!("{got:?}"),
            }
        }
    }

    /// `expected` is what must come, if something has come over the same connection before.
    fn receive(&mut self, number: u64, expected: Option<u64>) {
        if let Some(expected) = expected {
            assert_eq!(number, expected, "within a connection");
        } else {
            let skipped = number.saturating_sub(self.last + 1);
            assert_eq!(skipped, 0, "{number} after {}", self.last);
            let repeats = self.last + 1 - number;
            assert!(repeats <= self.bound(), "{repeats}");
            self.repeats += repeats;
        }
        self.last = self.last.max(number);
        self.received.push_back((Instant::now(), number));
    }

    /// How many records may come again: those of a window, and what was confirmed lately.
    fn bound(&mut self) -> u64 {
        if self.by == By::Position {
            return 0;
        }
        let mut written = 0;
        while let Some((at, number)) = self.received.front()
            && at.elapsed() > WRITTEN_AFTER
        {
            written = (*number).max(written);
            self.received.pop_front();
        }
        let lately = self.received.iter().map(|(_, number)| *number);
        let first = lately.min().unwrap_or(self.last + 1).max(written + 1);
        WINDOW + (self.last + 1).saturating_sub(first)
    }
}

/// The seed of what happens, which `UPDRAFT_SEED` may set.
fn rng() -> Rng {
    let given = env::var("UPDRAFT_SEED").ok().and_then(|it| it.parse().ok());
    let seed = given.unwrap_or_else(|| fastrand::u64(..));
    println!("UPDRAFT_SEED={seed} repeats it");
    Rng::with_seed(seed)
}

/// A client is cut off so often, each time after some byte that it sends or is sent.
fn cut(by: By, rounds: usize) {
    let mut rng = rng();
    for server in ServerProcess::each() {
        let proxy = Proxy::start(server.port);
        let mut follower = Follower::new(by);
        for _ in 0..rounds {
            let (direction, most) = match rng.u8(0..4) {
                // As much as it takes to subscribe, and some answers.
                0 => (Direction::ToServer, 500),
                _ => (Direction::ToClient, 20_000),
            };
            let bytes = rng.usize(1..most);
            proxy.set_one(direction, |faults| faults.cut_after = Some(bytes));
            let enough = follower.last + 500;
            follower.follow(proxy.port(), |it| it.last >= enough);
            proxy.set_one(direction, |faults| faults.cut_after = None);
        }
        let end = follower.last + 1;
        follower.follow(proxy.port(), |it| it.last >= end);
        let Follower { last, repeats, .. } = follower;
        println!("{by:?}: {last} records, {repeats} repeats");
    }
}

/// The same with a client that exists: simpleddp comes back by itself, with the parameters of the
/// first time.
fn cut_simpleddp(rounds: usize) {
    let mut rng = rng();
    for server in ServerProcess::each() {
        let proxy = Proxy::start(server.port);
        let mut follower = Follower::new(By::Cursor);
        let mut aim = || {
            // It does not tell of an end before `connected`, and is slow to come back, to a backlog
            // of about a window.
            let bytes = rng.usize(400..40_000);
            proxy.set_one(Direction::ToClient, |it| it.cut_after = Some(bytes));
        };
        aim();
        let url = format!("ws://127.0.0.1:{}/websocket", proxy.port());
        let arguments = [&url, "orders", VENT_ID, &rounds.to_string()];
        Script::start("simpleddp_cut", &arguments).run(|wish| {
            if let Some((first, last)) = wish.split_once(' ') {
                let [first, last] = [first, last].map(|it| it.parse::<u64>().unwrap());
                for number in first..=last {
                    follower.receive(number, (number > first).then_some(number));
                }
            }
            aim();
        });
        let Follower { last, repeats, .. } = follower;
        assert!(last > 0);
        println!("simpleddp: {last} records, {repeats} repeats");
    }
}

/// A server is killed so often, each time after its client has received for some time.
fn kill(by: By, rounds: usize, longest: Duration) {
    let mut rng = rng();
    for mut server in ServerProcess::each() {
        let mut follower = Follower::new(by);
        for _ in 0..rounds {
            let time = longest.mul_f64(rng.f64());
            let port = server.port;
            std::thread::scope(|scope| {
                let killing = scope.spawn(|| {
                    std::thread::sleep(time);
                    server.process.kill();
                });
                follower.follow(port, |_| false);
                killing.join().unwrap();
            });
            server.kill();
        }
        let end = follower.last + 1;
        follower.follow(server.port, |it| it.last >= end);
        let Follower { last, repeats, .. } = follower;
        println!("{by:?}: {last} records, {repeats} repeats");
    }
}

#[test]
fn topic_032_a_client_that_is_cut_at_any_byte_misses_nothing() {
    cut(By::Cursor, 50);
}

#[test]
fn topic_023_a_client_with_positions_that_is_cut_at_any_byte_gets_everything_once() {
    cut(By::Position, 50);
}

#[test]
fn topic_032_simpleddp_that_is_cut_at_any_byte_misses_nothing() {
    cut_simpleddp(50);
}

#[test]
fn topic_032_a_client_whose_server_is_killed_misses_nothing() {
    kill(By::Cursor, 5, Duration::from_secs(1));
}

#[test]
fn topic_023_a_client_with_positions_whose_server_is_killed_gets_everything_once() {
    kill(By::Position, 5, Duration::from_secs(1));
}

#[test]
#[ignore = "1,000 cuts for each store: run by cargo xtask soak"]
fn soak_topic_032_a_client_that_is_cut_at_any_byte_misses_nothing() {
    cut(By::Cursor, 1000);
}

#[test]
#[ignore = "1,000 cuts for each store: run by cargo xtask soak"]
fn soak_topic_023_a_client_with_positions_that_is_cut_at_any_byte_gets_everything_once() {
    cut(By::Position, 1000);
}

#[test]
#[ignore = "1,000 cuts for each store: run by cargo xtask soak"]
fn soak_topic_032_simpleddp_that_is_cut_at_any_byte_misses_nothing() {
    cut_simpleddp(1000);
}

#[test]
#[ignore = "100 kills for each store: run by cargo xtask soak"]
fn soak_topic_032_a_client_whose_server_is_killed_misses_nothing() {
    // Longer than what was confirmed may be unwritten.
    kill(By::Cursor, 100, 2 * WRITTEN_AFTER);
}

#[test]
#[ignore = "100 kills for each store: run by cargo xtask soak"]
fn soak_topic_023_a_client_with_positions_whose_server_is_killed_gets_everything_once() {
    kill(By::Position, 100, Duration::from_secs(1));
}
