//! A server with a topic, in each store, and clients that follow it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value as Json;
use tokio::runtime::Runtime;
use updraft::Builder;
use updraft::prelude::*;
use updraft::topics::{
    self, Answer, Append, AppendedBatch, Bounds, Create, End, Epoch, Features, Limit, Log, Offset,
    OnLoss, Position, Published, Read, Removal, Settings, Topic, TopicName, Topics,
};
use updraft_test_support::client::{Client, PATIENCE};
use updraft_test_support::redis::RedisServer;

use crate::common::Running;
use crate::stores::{Opened, Place};

/// The Vent id of clients that get the collection encoding.
pub(super) const ORDERS: &str = "vent.orders";

/// A topic, and what its store needs.
pub(super) struct World {
    pub(super) topics: Topics,
    pub(super) topic: Topic,
    pub(super) reads: Reads,
    pub(super) runtime: Runtime,
    /// Last: it ends with this.
    _place: Place,
}

/// How often a store was read.
#[derive(Clone, Debug, Default)]
pub(super) struct Reads(Arc<AtomicUsize>);

/// A log that counts how often it is read.
#[derive(Debug)]
struct Counting {
    log: Arc<dyn Log>,
    reads: Reads,
}

/// What a client has got.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Got {
    Added,
    /// The event and its position.
    Event(Json, Option<String>),
    /// What it was told of its place.
    Place(Json),
    Ready,
    /// The error, if there is one.
    Nosub(Json),
}

impl World {
    pub(super) fn memory() -> Self {
        Self::over(Opened::memory())
    }

    /// One for each kind of store.
    pub(super) fn each() -> impl Iterator<Item = Self> {
        Opened::each().map(Self::over)
    }

    /// What one of several processes has that use this Redis.
    pub(super) fn on(redis: &RedisServer) -> Self {
        Self::over(Opened::on(redis))
    }

    fn over(opened: Opened) -> Self {
        let Opened {
            mut store,
            runtime,
            place,
        } = opened;
        let reads = Reads::default();
        store.log = Arc::new(Counting {
            log: store.log.clone(),
            reads: reads.clone(),
        });
        let (topics, topic) = runtime.block_on(async {
            let topics = Topics::open(store);
            let topic = topics.topic("orders", Settings::default()).await.unwrap();
            (topics, topic)
        });
        Self {
            topics,
            topic,
            reads,
            runtime,
            _place: place,
        }
    }

    /// A server whose publication `orders` follows the topic from where the client says. Its other
    /// parameter is what happens when records are lost.
    pub(super) fn builder(&self) -> Builder {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Params {
            from: Option<Value>,
            on_loss: Option<String>,
        }
        let topic = self.topic.clone();
        Server::builder().vent("orders", move |vent: Vent, params: Params| {
            let topic = topic.clone();
            async move {
                let policy = match params.on_loss.as_deref() {
                    Some("earliest") => OnLoss::Earliest,
                    Some("latest") => OnLoss::Latest,
                    Some("snapshot") => OnLoss::Snapshot,
                    _ => OnLoss::Fail,
                };
                vent.follow(&topic, params.from)
                    .after_gap(policy)
                    .after_reset(policy)
                    .await
            }
        })
    }

    /// Publishes these numbers, each as a record of its own. Zero would be no event.
    pub(super) fn publish(&self, numbers: impl IntoIterator<Item = u64>) -> Vec<Published> {
        let entries = numbers.into_iter().map(|it| topics::Entry::value(&it));
        self.runtime
            .block_on(self.topic.publish_many(entries))
            .unwrap()
    }

    pub(super) fn wait<F: Future>(&self, future: F) -> F::Output {
        let limited = async { tokio::time::timeout(2 * PATIENCE, future).await };
        self.runtime
            .block_on(limited)
            .expect("an end within the time limit")
    }

    /// A position that the topic has never given.
    pub(super) fn position(&self, offset: Offset) -> Position {
        let bounds = self.wait(self.topic.bounds()).unwrap();
        Position::new(self.topic.name(), bounds.epoch, offset, 77)
    }
}

impl Reads {
    pub(super) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Subscribes to the publication `orders`.
pub(super) fn subscribe(client: &mut Client, id: &str, vent_id: &str, params: &str) {
    client.send_text(&format!(
        r#"{{"msg":"sub","id":"{id}","name":"orders","params":["{vent_id}",{params}]}}"#
    ));
}

/// A client of the collection encoding that follows from somewhere on.
pub(super) fn follower(server: &Running, params: &str) -> Client {
    let mut client = server.client();
    subscribe(&mut client, "s", ORDERS, params);
    client
}

/// The parameters to begin at a position.
pub(super) fn from(position: &impl std::fmt::Display) -> String {
    format!(r#"{{"from":"{position}"}}"#)
}

/// What the client gets next, however long that takes; pings are answered.
#[track_caller]
pub(super) fn next(client: &mut Client) -> Got {
    loop {
        let text = client.next_text(2 * PATIENCE).expect("something");
        match got(&text) {
            Some(got) => return got,
            None => client.send_text(r#"{"msg":"pong"}"#),
        }
    }
}

/// What a message says; `None` for a ping.
pub(super) fn got(text: &str) -> Option<Got> {
    let json: Json = serde_json::from_str(text).unwrap();
    let fields = json["fields"].clone();
    let string = |json: &Json| json.as_str().map(str::to_owned);
    Some(match (json["msg"].as_str().unwrap(), json["id"].as_str()) {
        ("ping", _) => return None,
        ("added", Some("id")) => Got::Added,
        ("added" | "changed", Some("_")) => Got::Place(fields),
        ("changed", Some("id")) => Got::Event(fields["event"].clone(), string(&fields["position"])),
        ("changed", _) => Got::Event(json["e"].clone(), string(&json["p"])),
        ("ready", _) => Got::Ready,
        ("nosub", _) => Got::Nosub(json["error"].clone()),
        _ => panic!("{text}"),
    })
}

/// The numbers that come before anything else but notes of the place, and the position of the last.
#[track_caller]
pub(super) fn numbers(client: &mut Client, count: usize) -> (Vec<u64>, Option<String>) {
    let (mut numbers, mut last) = (Vec::new(), None);
    while numbers.len() < count {
        match next(client) {
            Got::Event(number, position) => {
                numbers.push(number.as_u64().unwrap());
                last = position;
            }
            Got::Place(_) | Got::Ready | Got::Added => {}
            got => panic!("{got:?} after {numbers:?}"),
        }
    }
    (numbers, last)
}

/// Waits for `ready`.
#[track_caller]
pub(super) fn until_ready(client: &mut Client) -> Vec<Got> {
    let mut all = Vec::new();
    loop {
        match next(client) {
            Got::Ready => return all,
            got => all.push(got),
        }
    }
}

impl Log for Counting {
    fn features(&self) -> Features {
        self.log.features()
    }

    fn open<'a>(&'a self, topic: &'a TopicName, create: Create) -> Answer<'a, Bounds> {
        self.log.open(topic, create)
    }

    fn append<'a>(&'a self, topic: &'a TopicName, append: Append) -> Answer<'a, AppendedBatch> {
        self.log.append(topic, append)
    }

    fn read<'a>(
        &'a self,
        topic: &'a TopicName,
        after: topics::Place,
        limit: Limit,
    ) -> Answer<'a, Read> {
        self.reads.0.fetch_add(1, Ordering::Relaxed);
        self.log.read(topic, after, limit)
    }

    fn trim<'a>(&'a self, topic: &'a TopicName, epoch: Epoch, up_to: Offset) -> Answer<'a, Bounds> {
        self.log.trim(topic, epoch, up_to)
    }

    fn remove<'a>(&'a self, topic: &'a TopicName, removal: Removal) -> Answer<'a, ()> {
        self.log.remove(topic, removal)
    }

    fn end<'a>(&'a self, topic: &'a TopicName, end: End) -> Answer<'a, ()> {
        self.log.end(topic, end)
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a TopicName>,
        limit: usize,
    ) -> Answer<'a, Vec<TopicName>> {
        self.log.list(prefix, after, limit)
    }

    fn grew<'a>(
        &'a self,
        topic: &'a TopicName,
        after: Offset,
        patience: Duration,
    ) -> Option<Answer<'a, bool>> {
        self.log.grew(topic, after, patience)
    }
}
