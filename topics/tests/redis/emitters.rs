//! Emitters in processes that are killed. One of them goes on by a cursor, and leaves out what it
//! has fired already; the other one by the position that its listener has kept.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use tokio::sync::mpsc;
use tokio::time::Instant;
use updraft_topics::{Emitter, EmitterBuilder, Event};

use super::*;

/// Where a child finds Redis, how it goes on, and from where.
const CHILD: &str = "UPDRAFT_TOPICS_TEST_EMITTER";

const CURSOR: &str = "cursor";
const POSITION: &str = "position";

/// Runs in a process of its own, until it is killed. What it writes is what its listener does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "other tests start it as a process, and kill it"]
async fn child_that_listens() {
    let Ok(settings) = env::var(CHILD) else {
        return;
    };
    let [url, how, from] = settings.split(' ').collect::<Vec<_>>()[..] else {
        panic!("{settings}");
    };
    let topics = topics(url).await;
    let topic = topics.topic("events", Settings::default()).await.unwrap();
    let builder = Emitter::on_topic(&topic);
    let builder = match (how, from.parse::<Position>()) {
        (CURSOR, _) => builder.cursor("child"),
        (_, Ok(position)) => builder.start(position),
        _ => builder.start(Start::Earliest),
    };
    let emitter = told(builder).open().await.unwrap();
    // What it triggers itself is an event like any other.
    emitter.trigger("started", (how,)).unwrap();
    println!("ready");
    std::future::pending::<()>().await;
}

fn told(builder: EmitterBuilder) -> EmitterBuilder {
    builder.on("n", |event: &Event| {
        let (number,): (u64,) = event.parse().unwrap();
        let message = event.message();
        let (offset, position) = (message.offset(), message.position());
        let line = format!("\nfired {number} {offset} {position}\n");
        // At once, so that a line is written or not.
        std::io::stdout().write_all(line.as_bytes()).unwrap();
    })
}

/// A process that is killed again and again, and what it has done.
struct Listening {
    how: &'static str,
    url: String,
    running: Option<(Child, mpsc::Receiver<String>)>,
    fired: Vec<u64>,
    last: u64,
    position: String,
    /// Events that have fired again.
    repeated: usize,
    killed: usize,
}

impl Listening {
    /// Starts it, and waits until it listens.
    async fn start(url: &str, how: &'static str) -> Self {
        let (child, mut lines) = start_child(url, how, "-");
        let until_ready = async { while lines.recv().await.expect("it lives") != "ready" {} };
        let ready = timeout(Duration::from_secs(120), until_ready).await;
        ready.expect("it listens");
        Self {
            how,
            url: url.into(),
            running: Some((child, lines)),
            fired: Vec::new(),
            last: 0,
            position: "-".into(),
            repeated: 0,
            killed: 0,
        }
    }

    /// Everything that it has written up to now.
    fn look(&mut self) {
        while let Some((_, lines)) = &mut self.running
            && let Ok(line) = lines.try_recv()
        {
            self.take(&line);
        }
    }

    fn take(&mut self, line: &str) {
        let Some(fired) = line.strip_prefix("fired ") else {
            return;
        };
        let [number, offset, position] = fired.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        let (number, offset): (u64, u64) = (number.parse().unwrap(), offset.parse().unwrap());
        if offset <= self.last {
            assert_eq!(self.how, CURSOR, "{number} has fired twice");
            self.repeated += 1;
            return;
        }
        self.fired.push(number);
        self.last = offset;
        self.position = position.into();
    }

    /// Kills it, or starts it if it was killed.
    async fn toggle(&mut self) {
        let Some((mut child, mut lines)) = self.running.take() else {
            self.running = Some(start_child(&self.url, self.how, &self.position));
            return;
        };
        child.kill().unwrap();
        child.wait().unwrap();
        self.killed += 1;
        // What it has written before is what it has done.
        while let Some(line) = lines.recv().await {
            self.take(&line);
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if let Some((child, _)) = &mut self.running {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn start_child(url: &str, how: &str, from: &str) -> (Child, mpsc::Receiver<String>) {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--ignored", "--nocapture", "--exact"])
        .arg("emitters::child_that_listens")
        .env(CHILD, format!("{url} {how} {from}"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let (tell, lines) = mpsc::channel(64);
    std::thread::spawn(move || {
        for line in out.lines().map_while(Result::ok) {
            if tell.blocking_send(line).is_err() {
                return;
            }
        }
    });
    (child, lines)
}

async fn kill_in_turn(events: u64) {
    let seed = env::var("UPDRAFT_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    println!("UPDRAFT_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let server = RedisServer::start();
    let topics = topics(&server.url()).await;
    let topic = topics.topic("events", Settings::default()).await.unwrap();
    let producer = Emitter::on_topic(&topic).open().await.unwrap();
    let mut processes = [
        Listening::start(&server.url(), CURSOR).await,
        Listening::start(&server.url(), POSITION).await,
    ];
    let mut sent = 0;
    let mut next_fault = Instant::now();
    while sent < events {
        let more = random.u64(1..=20).min(events - sent);
        for number in sent + 1..=sent + more {
            producer.trigger("n", number).unwrap();
        }
        sent += more;
        sleep(Duration::from_millis(random.u64(10..40))).await;
        if Instant::now() >= next_fault {
            processes[random.usize(..2)].toggle().await;
            next_fault = Instant::now() + Duration::from_millis(random.u64(20..150));
        }
        processes.iter_mut().for_each(Listening::look);
    }
    for process in &mut processes {
        if process.running.is_none() {
            process.toggle().await;
        }
        let waited = Instant::now();
        while process.fired.last() != Some(&sent) {
            let fired = process.fired.len();
            assert!(waited.elapsed() < Duration::from_secs(120), "{fired}");
            sleep(Duration::from_millis(10)).await;
            process.look();
        }
        assert!(process.fired.iter().copied().eq(1..=sent), "seed {seed}");
        println!(
            "{}: killed {} times, {} of {sent} events fired again and were left out",
            process.how, process.killed, process.repeated
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_100_emitters_in_processes_that_are_killed_fire_all_events_in_order() {
    kill_in_turn(500).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "10,000 events: run by cargo xtask soak"]
async fn soak_topic_100_emitters_in_processes_that_are_killed_fire_all_events_in_order() {
    kill_in_turn(10_000).await;
}
