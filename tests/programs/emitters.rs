//! Emitters in two processes of the example `events`, and one in a page of Chromium, over one
//! topic. Each of them is killed and started again in turn, while events are triggered.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tokio::time::sleep;
use updraft::topics::{Emitter, RedisSettings, RedisStore, Settings, Store, Topics};
use updraft_bus::{ChannelSettings, Channels, Redis};
use updraft_test_support::eventually;
use updraft_test_support::example::Example;
use updraft_test_support::process::free_port;
use updraft_test_support::redis::RedisServer;
use updraft_test_support::script::{Script, package, require_chromium};

/// A process of the example.
struct Logging {
    port: u16,
    /// Where the page is served.
    origin: String,
    redis: String,
    log: PathBuf,
    running: Option<Example>,
    killed: usize,
}

impl Logging {
    fn new(folder: &Path, name: &str, redis: &RedisServer, page: u16) -> Self {
        let log = folder.join(name);
        drop(fs::remove_file(&log)); // of an earlier run
        let mut logging = Self {
            port: free_port(),
            origin: format!("http://127.0.0.1:{page}"),
            redis: redis.url(),
            log,
            running: None,
            killed: 0,
        };
        logging.toggle();
        logging
    }

    /// Starts it, or kills it if it runs.
    fn toggle(&mut self) {
        if self.running.take().is_some() {
            self.killed += 1;
            return;
        }
        let listen = format!("127.0.0.1:{}", self.port);
        let environment = [
            ("PORT", &*self.port.to_string()),
            ("LISTEN", &*listen),
            ("REDIS_URL", &*self.redis),
            ("ORIGIN", &*self.origin),
            ("LOG", self.log.to_str().expect("UTF-8")),
        ];
        self.running = Some(Example::start("events", &environment));
    }

    fn ensure_running(&mut self) {
        if self.running.is_none() {
            self.toggle();
        }
    }

    /// The events in its file, without half a line.
    fn fired(&self) -> Vec<u64> {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let lines = whole.lines().map(|line| {
            let [_, "n", args] = line.split(' ').collect::<Vec<_>>()[..] else {
                panic!("{line}");
            };
            let [number]: [u64; 1] = serde_json::from_str(args).expect("one number");
            number
        });
        lines.collect()
    }
}

fn kill_in_turn(name: &str, events: u64) {
    require_chromium();
    let package = package();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).expect("a folder");
    let seed = std::env::var("UPDRAFT_SEED").ok();
    let seed = seed.and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()));
    println!("UPDRAFT_SEED={seed}");
    let redis = RedisServer::start();
    let page = free_port();
    let mut processes = ["one", "two"].map(|name| Logging::new(&folder, name, &redis, page));

    let urls = processes
        .each_ref()
        .map(|it| format!("ws://127.0.0.1:{}/websocket", it.port));
    let arguments = [
        urls[0].clone().into(),
        urls.join(",").into(),
        page.to_string().into(),
        package.into_os_string(),
        events.to_string().into(),
        seed.to_string().into(),
    ];
    let script = Script::start("emitters", &arguments);
    let is_listening = Arc::new(AtomicBool::new(false));
    let (url, may_begin) = (redis.url(), Arc::clone(&is_listening));
    let triggering = thread::spawn(move || {
        eventually("the page listens", || may_begin.load(Ordering::SeqCst));
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let mut random = fastrand::Rng::with_seed(seed);
        runtime.block_on(async {
            trigger(&url, events, &mut random, |random| {
                processes[random.usize(..2)].toggle();
            })
            .await;
        });
        processes.iter_mut().for_each(Logging::ensure_running);
        processes
    });
    let mut in_page: Vec<u64> = Vec::new();
    script.run(|wish| match wish.strip_prefix("fired ") {
        Some(number) => in_page.push(number.parse().expect("a number")),
        None => is_listening.store(wish == "listening", Ordering::SeqCst),
    });
    let processes = triggering.join().expect("all were triggered");
    // The last one is the page's own.
    let expected: Vec<u64> = (1..=events).chain([0]).collect();
    assert_eq!(in_page, expected, "seed {seed}");
    for process in &processes {
        eventually("all are in the file", || {
            process.fired().len() >= expected.len()
        });
        assert_eq!(process.fired(), expected, "seed {seed}");
    }
    let killed: Vec<_> = processes.iter().map(|process| process.killed).collect();
    println!("{events} events, the processes were killed {killed:?} times");
}

/// Triggers the numbers from 1, and toggles something now and then.
async fn trigger(
    url: &str,
    events: u64,
    random: &mut fastrand::Rng,
    mut toggle: impl FnMut(&mut fastrand::Rng),
) {
    let store = RedisStore::open(url, RedisSettings::default()).await;
    let store = Arc::new(store.expect("a store"));
    let bus = Redis::connect(url).await.expect("a bus");
    let channels = Channels::open(bus, ChannelSettings::default()).expect("channels");
    let topics = Topics::open(Store::new(store.clone(), store, Arc::new(channels)));
    let topic = topics.topic("events", Settings::default()).await;
    let emitter = Emitter::on_topic(&topic.expect("a topic")).open().await;
    let emitter = emitter.expect("an emitter");
    let mut triggered = 0;
    while triggered < events {
        let more = random.u64(1..=25).min(events - triggered);
        for number in triggered + 1..=triggered + more {
            drop(emitter.trigger("n", number).expect("room"));
        }
        triggered += more;
        sleep(Duration::from_millis(random.u64(10..60))).await;
        if random.u32(..3) == 0 {
            tokio::task::block_in_place(|| toggle(random));
        }
    }
    emitter.close().await.expect("all are stored");
}

#[test]
fn topic_099_100_101_emitters_of_two_processes_and_a_page_are_killed_and_miss_nothing() {
    kill_in_turn("emitters", 500);
}

#[test]
#[ignore = "10,000 events: run by cargo xtask soak"]
fn soak_topic_099_100_101_emitters_of_two_processes_and_a_page_are_killed_and_miss_nothing() {
    kill_in_turn("emitters_soak", 10_000);
}
