//! The store in Redis passes what every store must, with a real Redis that is killed, emptied,
//! stopped, filled, and replaced by a replica.
#![cfg(all(feature = "conformance", feature = "redis"))]

mod broker;
mod durable;
mod emitters;
mod epochs;
mod failover;
mod faults;
mod groups;
mod ingest;
mod keys;
mod kills;
mod live;
mod proof;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use durable::{DurableRedis, open, settings};
use redis::{Connection, FromRedisValue};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use updraft_bus::{ChannelSettings, Channels, Redis};
use updraft_test_support::eventually;
use updraft_test_support::proxy::Proxy;
use updraft_test_support::redis::RedisServer;
use updraft_topics::{
    Append, AppendedBatch, Bounds, Content, Create, End, Entry, Limit, Log, NewRecord, OnLoss,
    Page, Place, Position, Read, Reader, Received, Record, RedisStore, RegisterKey, Registers,
    Removal, Reset, ResetReason, Settings, Start, Store, Swap, Swapped, Topic, TopicError,
    TopicName, Topics,
};

updraft_topics::conformance_tests!(DurableRedis::start(Path::new("redis-server")));

const META: &str = "updraft:topics:t{orders}meta";
const LOG: &str = "updraft:topics:t{orders}log";

fn topic(name: &str) -> TopicName {
    TopicName::new(name).unwrap()
}

fn text(text: impl Into<String>) -> NewRecord {
    NewRecord::new(7, Content::new(text.into()))
}

async fn created(store: &RedisStore, topic: &TopicName) -> Bounds {
    Log::open(store, topic, Create::IfMissing).await.unwrap()
}

async fn append(
    store: &RedisStore,
    topic: &TopicName,
    records: impl IntoIterator<Item = NewRecord>,
) -> AppendedBatch {
    let records = records.into_iter().collect();
    store.append(topic, Append::new(records)).await.unwrap()
}

async fn read(store: &RedisStore, topic: &TopicName, after: Place) -> Read {
    store.read(topic, after, Limit::default()).await.unwrap()
}

async fn page(store: &RedisStore, topic: &TopicName, after: Place) -> Page {
    match read(store, topic, after).await {
        Read::Page(page) => page,
        other => panic!("not a page: {other:?}"),
    }
}

fn payloads(records: &[Record]) -> Vec<(u64, &str)> {
    records
        .iter()
        .map(|record| {
            let payload = record.content.payload.as_ref().unwrap();
            (record.offset, std::str::from_utf8(payload).unwrap())
        })
        .collect()
}

/// Asks Redis itself.
fn ask<T: FromRedisValue>(connection: &mut Connection, command: &str) -> T {
    let mut words = command.split(' ');
    let mut asked = redis::cmd(words.next().unwrap());
    asked.arg(words.collect::<Vec<_>>());
    asked
        .query(connection)
        .unwrap_or_else(|error| panic!("{command}: {error}"))
}

/// Topics as a process has them: this store, and wake-ups over the same Redis.
async fn topics(url: &str) -> Topics {
    let store = Arc::new(open(url).await);
    let bus = Redis::connect(url).await.unwrap();
    let channels = Arc::new(Channels::open(bus, ChannelSettings::default()).unwrap());
    Topics::open(Store::new(store.clone(), store, channels))
}

/// Settings with which no reader looks for itself, so that it must be woken.
fn no_poll() -> Settings {
    let mut settings = Settings::default();
    settings.poll = Duration::from_secs(3600);
    settings
}

/// What the reader receives next, as soon as Redis answers it.
async fn next(reader: &mut Reader) -> Received {
    let next = async {
        loop {
            match reader.next().await.unwrap() {
                Ok(received) => return received,
                Err(error) => assert_eq!(error.code(), "backend-unavailable"),
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    let next = timeout(Duration::from_secs(60), next).await;
    next.expect("the reader has something to return")
}

/// A reader that has found nothing, and must be woken.
struct Waiting(JoinSet<(Received, Reader)>);

impl Waiting {
    /// Waits until this Redis has told it that there is nothing.
    fn at(server: &RedisServer, mut reader: Reader) -> Self {
        let before = server.calls_of("evalsha");
        let mut task = JoinSet::new();
        task.spawn(async move { (next(&mut reader).await, reader) });
        eventually("the reader has looked", || {
            server.calls_of("evalsha") > before
        });
        Self(task)
    }

    async fn received(mut self) -> (Received, Reader) {
        self.0.join_next().await.unwrap().unwrap()
    }
}

fn number(received: &Received) -> u64 {
    match received {
        Received::Message(message) => message.parse().unwrap(),
        other => panic!("not a record: {other:?}"),
    }
}

/// Why the reader is reset, which it must be.
fn reason(received: &Received) -> ResetReason {
    match received {
        Received::Reset(reset) => reset.reason,
        other => panic!("the reader was not told: {other:?}"),
    }
}

/// The next record, which must be this number.
async fn expect(reader: &mut Reader, expected: u64) {
    assert_eq!(number(&next(reader).await), expected);
}
