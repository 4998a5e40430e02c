//! What the tests of the bus share: shards that only record, a process without sockets, and a Redis of one's own.
//! A second connection to that Redis looks on: what is subscribed to, and how often.

use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;
use updraft_protocol::ejson::{self, Value};
use updraft_test_support::process::free_port;

use super::{
    Batch, Bus, BusError, Channel, Channels, EmitError, Gap, Lease, Local, PayloadLimits, Port,
    Redis, Settings,
};

/// Keeps all that a shard would get.
#[derive(Default)]
pub(super) struct Recorder {
    batches: Mutex<Vec<Batch>>,
    gaps: Mutex<Vec<Gap>>,
    refused: Mutex<Vec<String>>,
}

impl Recorder {
    /// Each message as `channel payload`, in the order of arrival.
    pub(super) fn messages(&self) -> Vec<String> {
        let batches = self.batches.lock().unwrap();
        let messages = batches.iter().flat_map(|batch| batch.iter());
        messages
            .map(|message| format!("{} {}", message.channel(), text(message.payload())))
            .collect()
    }

    pub(super) fn batch_sizes(&self) -> Vec<usize> {
        self.batches
            .lock()
            .unwrap()
            .iter()
            .map(|batch| batch.len())
            .collect()
    }

    /// Each gap as its generation and its channels in order.
    pub(super) fn gaps(&self) -> Vec<(u64, Vec<String>)> {
        let gaps = self.gaps.lock().unwrap();
        gaps.iter()
            .map(|gap| {
                let mut channels: Vec<String> = gap
                    .channels
                    .iter()
                    .map(|channel| channel.to_string())
                    .collect();
                channels.sort();
                (gap.generation, channels)
            })
            .collect()
    }
}

impl Recorder {
    /// Channels that are no longer carried.
    pub(super) fn refused(&self) -> Vec<String> {
        self.refused.lock().unwrap().clone()
    }
}

impl Port for Recorder {
    fn deliver(&self, batch: &Batch) {
        self.batches.lock().unwrap().push(Arc::clone(batch));
    }

    fn gap(&self, gap: Gap) {
        self.gaps.lock().unwrap().push(gap);
    }

    fn refused(&self, channel: &Arc<str>, _: &BusError) {
        self.refused.lock().unwrap().push(channel.to_string());
    }
}

/// Channels over a bus, with two shards.
pub(super) struct Process {
    pub(super) channels: Channels,
    pub(super) shards: [Arc<Recorder>; 2],
    pub(super) tasks: TaskTracker,
}

impl Process {
    pub(super) fn start(bus: impl Bus, settings: Settings) -> Self {
        let channels = Channels::new(Arc::new(bus), settings);
        let shards: [Arc<Recorder>; 2] = Default::default();
        let tasks = TaskTracker::new();
        channels
            .start(
                shards
                    .iter()
                    .map(|shard| Arc::clone(shard) as Arc<dyn Port>)
                    .collect(),
                &tasks,
            )
            .unwrap();
        Self {
            channels,
            shards,
            tasks,
        }
    }

    pub(super) fn local() -> Self {
        Self::start(Local::default(), Settings::default())
    }

    pub(super) async fn join(&self, channel: &str, shard: usize) -> Result<Lease, BusError> {
        let channel = Channel::trusted(channel).unwrap();
        self.channels.join(&channel, shard).await
    }

    pub(super) async fn emit(&self, channel: &str, value: &Value) -> Result<(), EmitError> {
        let channel = Channel::trusted(channel).unwrap();
        self.channels.emit(&channel, value).await
    }
}

pub(super) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !holds().await {
            sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(
        timeout(Duration::from_secs(30), wait).await.is_ok(),
        "never happened: {what}"
    );
}

pub(super) fn value(text: &str) -> Value {
    let parsed = PayloadLimits::default();
    ejson::parse(text, &parsed.json).unwrap().decode_lenient()
}

pub(super) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A Redis on a port of its own, killed when dropped.
pub(super) struct RedisServer {
    pub(super) port: u16,
    child: Child,
}

impl RedisServer {
    pub(super) async fn start() -> Self {
        Self::start_on(free_port()).await
    }

    pub(super) async fn start_on(port: u16) -> Self {
        let child = Command::new("redis-server")
            .args([
                "--port",
                &port.to_string(),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        let server = Self { port, child };
        eventually("redis-server answers", async || {
            server.try_connect().await.is_some()
        })
        .await;
        server
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    async fn try_connect(&self) -> Option<MultiplexedConnection> {
        let client = redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.ok()?;
        redis::cmd("PING").exec_async(&mut connection).await.ok()?;
        Some(connection)
    }

    pub(super) async fn observer(&self) -> Observer {
        Observer(self.try_connect().await.unwrap())
    }

    pub(super) async fn process(&self) -> Process {
        Process::start(
            Redis::connect(&self.url()).await.unwrap(),
            Settings::default(),
        )
    }

    /// Kills it and starts another on the same port.
    pub(super) async fn restart(self) -> Self {
        let port = self.port;
        drop(self);
        Self::start_on(port).await
    }

    pub(super) fn signal(&self, signal: &str) {
        let sent = Command::new("kill")
            .args([signal, &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Looks on from outside.
#[derive(Clone)]
pub(super) struct Observer(pub(super) MultiplexedConnection);

impl Observer {
    pub(super) async fn subscribers(&self, channel: &str) -> u64 {
        let mut numsub = redis::cmd("PUBSUB");
        let (_, count): (String, u64) = numsub
            .arg("NUMSUB")
            .arg(channel)
            .query_async(&mut self.0.clone())
            .await
            .unwrap();
        count
    }

    pub(super) async fn channels(&self) -> usize {
        let channels: Vec<String> = redis::cmd("PUBSUB")
            .arg("CHANNELS")
            .query_async(&mut self.0.clone())
            .await
            .unwrap();
        channels.len()
    }

    pub(super) async fn publish(&self, channel: &str, payload: impl redis::ToRedisArgs) -> u64 {
        let mut publish = redis::cmd("PUBLISH");
        publish
            .arg(channel)
            .arg(payload)
            .query_async(&mut self.0.clone())
            .await
            .unwrap()
    }

    pub(super) async fn count_of(&self, command: &str) -> u64 {
        let info: String = redis::cmd("INFO")
            .arg("commandstats")
            .query_async(&mut self.0.clone())
            .await
            .unwrap();
        let line = info
            .lines()
            .find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
        line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
    }
}
