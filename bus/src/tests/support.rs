//! Shared by the tests of the bus: shards that only record, and a process without sockets.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;
use updraft_protocol::ejson::{self, Value};
#[cfg(feature = "redis")]
use updraft_test_support::redis::RedisServer;

#[cfg(feature = "redis")]
use crate::Redis;
use crate::{
    Batch, Bus, BusError, Channel, ChannelSettings, Channels, EmitError, Gap, Lease, Listener,
    PayloadLimits, Port, Received,
};

/// Records all that a shard would get.
#[derive(Default)]
pub(crate) struct Recorder {
    batches: Mutex<Vec<Batch>>,
    gaps: Mutex<Vec<Gap>>,
    refused: Mutex<Vec<String>>,
}

impl Recorder {
    /// Each message as `channel payload`, in the order of arrival.
    pub(crate) fn messages(&self) -> Vec<String> {
        let batches = self.batches.lock().unwrap();
        let messages = batches.iter().flat_map(|batch| batch.iter());
        messages
            .map(|message| format!("{} {}", message.channel(), text(message.payload())))
            .collect()
    }

    pub(crate) fn batch_sizes(&self) -> Vec<usize> {
        self.batches
            .lock()
            .unwrap()
            .iter()
            .map(|batch| batch.len())
            .collect()
    }

    /// Each gap as its generation and its channels in order.
    pub(crate) fn gaps(&self) -> Vec<(u64, Vec<String>)> {
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
    pub(crate) fn refused(&self) -> Vec<String> {
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
pub(crate) struct Process {
    pub(crate) channels: Channels,
    pub(crate) shards: [Arc<Recorder>; 2],
    pub(crate) tasks: TaskTracker,
}

impl Process {
    pub(crate) fn start(bus: impl Into<Bus>, settings: ChannelSettings) -> Self {
        let channels = Channels::new(bus, settings);
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

    pub(crate) fn local() -> Self {
        Self::start(Bus::default(), ChannelSettings::default())
    }

    pub(crate) async fn join(&self, channel: &str, shard: usize) -> Result<Lease, BusError> {
        let channel = Channel::trusted(channel).unwrap();
        self.channels.join(&channel, shard).await
    }

    pub(crate) async fn listen(&self, channel: &str) -> Result<Listener, BusError> {
        let channel = Channel::trusted(channel).unwrap();
        self.channels.listen(&channel).await
    }

    pub(crate) async fn emit(&self, channel: &str, value: &Value) -> Result<(), EmitError> {
        let channel = Channel::trusted(channel).unwrap();
        self.channels.emit(&channel, value).await
    }
}

/// The next item of a listener: the payload of a message, or a word.
pub(crate) async fn heard(listener: &mut Listener) -> String {
    let next = timeout(Duration::from_secs(30), listener.next()).await;
    match next.expect("nothing was heard") {
        Some(Received::Message(message)) => text(message.payload()).to_owned(),
        Some(Received::Gap) => "gap".into(),
        Some(Received::Refused(_)) => "refused".into(),
        None => "end".into(),
    }
}

pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
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

pub(crate) fn value(text: &str) -> Value {
    let parsed = PayloadLimits::default();
    ejson::parse(text, &parsed.json).unwrap().decode_lenient()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Channels over this Redis.
#[cfg(feature = "redis")]
pub(crate) async fn process_of(server: &RedisServer) -> Process {
    let redis = Redis::connect(&server.url()).await.unwrap();
    Process::start(redis, ChannelSettings::default())
}
