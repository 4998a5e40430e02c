//! A registry with two real Redis servers as its pools.

use std::collections::BTreeMap;
use std::future::ready;

use updraft_topics::registry::{Engine, Registry};
use updraft_topics::{Consumed, Delivery, EventFlusher, Limit, Published};

use super::*;

/// BeeORM's page, with these servers.
fn page(default: &RedisServer, second: &RedisServer) -> Registry {
    let text = format!(
        "\
default:
    redis: 127.0.0.1:{}:0
    streams:
        stream-a:
          - read-group-a
          - read-group-ab
        stream-b:
          - read-group-ab
second:
    redis: 127.0.0.1:{}:3:app
    streams:
        stream-c:
          - read-group-c
",
        default.port(),
        second.port()
    );
    Registry::new()
        .yaml("streams.yaml", &text)
        .stream_settings("stream-c", |settings| *settings = no_poll())
}

async fn open_page(default: &RedisServer, second: &RedisServer) -> Engine {
    let registry = page(default, second).validate().unwrap();
    registry.open().await.unwrap()
}

/// Numbers from here on, in turns to all streams.
fn fill(flusher: &mut EventFlusher, from: u64, count: u64) {
    for number in from..from + count {
        let stream = ["stream-a", "stream-b", "stream-c"][(number % 3) as usize];
        flusher.publish(stream, number, &[]).unwrap();
    }
}

async fn values(engine: &Engine, stream: &str) -> Vec<u64> {
    let topic = engine.topic(stream).unwrap();
    let earliest = topic.seek(Start::Earliest).await.unwrap();
    let batch = topic.read(earliest, Limit::new(1000, 1_000_000)).await;
    let messages = batch.unwrap().messages;
    messages.iter().map(|it| it.parse().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_105_seed_012_what_is_for_a_redis_that_is_away_stays_in_the_flusher() {
    let default = RedisServer::start();
    let mut second = RedisServer::start_durable();
    let engine = open_page(&default, &second).await;
    let mut flusher = engine.event_broker().new_flusher();
    fill(&mut flusher, 0, 9);
    assert!(flusher.flush().await.iter().all(Result::is_ok));
    second.kill();
    fill(&mut flusher, 9, 90);
    let results = flusher.flush().await;
    let is_stored = |result: &Result<Published, TopicError>| match result {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.code(), "backend-unavailable");
            false
        }
    };
    for (number, result) in (9_u64..).zip(&results) {
        assert_eq!(is_stored(result), number % 3 != 2, "{number} {result:?}");
    }
    assert_eq!((results.len(), flusher.len()), (90, 30));
    assert_eq!(values(&engine, "stream-a").await.len(), 33);
    second.restart();
    let mut results = flusher.flush().await;
    // Its connection may have to be made anew.
    for _ in 0..20 {
        if flusher.is_empty() {
            break;
        }
        results = flusher.flush().await;
    }
    assert_eq!((results.len(), flusher.len()), (30, 0));
    for (first, stream) in (0..).zip(["stream-a", "stream-b", "stream-c"]) {
        let expected = (first..99).step_by(3);
        assert!(values(&engine, stream).await.into_iter().eq(expected));
    }
}

/// A hundred events are one step of Redis, and not a hundred.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seed_013_a_flush_is_one_call_for_each_stream() {
    let (default, second) = (RedisServer::start(), RedisServer::start());
    let engine = open_page(&default, &second).await;
    let mut flusher = engine.event_broker().new_flusher();
    for number in 0..100 {
        flusher.publish("stream-c", number, &[]).unwrap();
    }
    let before = second.calls_of("evalsha");
    let results = flusher.flush().await;
    let calls = second.calls_of("evalsha") - before;
    assert!(results.iter().all(Result::is_ok));
    // Retention looks at the stream each second, and the machine may be slow.
    assert!((1..50).contains(&calls), "{calls}");
}

/// `HOST:PORT:DATABASE:NAMESPACE`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seed_003_031_a_pool_is_the_redis_the_database_and_the_namespace_of_its_address() {
    let (default, second) = (RedisServer::start(), RedisServer::start());
    let engine = open_page(&default, &second).await;
    let other = open_page(&default, &second).await;
    // It waits without looking, so the bus of the pool must wake it.
    let topic = engine.topic("stream-c").unwrap();
    let reader = topic.reader(Start::Latest, OnLoss::Fail).await.unwrap();
    let waiting = Waiting::at(&second, reader);
    let broker = other.event_broker();
    broker.publish("stream-c", 7, &[]).await.unwrap();
    assert_eq!(number(&waiting.received().await.0), 7);

    let mut connection = second.connection();
    assert_eq!(ask::<u64>(&mut connection, "DBSIZE"), 0);
    ask::<String>(&mut connection, "SELECT 3");
    let keys: Vec<String> = ask(&mut connection, "KEYS *");
    assert!(!keys.is_empty());
    let is_in_namespace = |key: &String| key.starts_with("app:updraft:topics:");
    assert!(keys.iter().all(is_in_namespace), "{keys:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seed_001_a_redis_that_cannot_be_reached_is_named_when_the_registry_is_opened() {
    let (default, mut second) = (RedisServer::start(), RedisServer::start());
    second.kill();
    let registry = page(&default, &second).validate().unwrap();
    let error = registry.open().await.unwrap_err();
    assert_eq!(error.code(), "not-opened");
    let address = format!("127.0.0.1:{}", second.port());
    assert!(error.to_string().contains(&address), "{error}");
}

/// With as many consumers as there are numbers, in two processes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seed_024_numbered_consumers_share_what_there_is() {
    let (default, second) = (RedisServer::start(), RedisServer::start());
    let engines = [
        open_page(&default, &second).await,
        open_page(&default, &second).await,
    ];
    let broker = engines[0].event_broker();
    let mut flusher = broker.new_flusher();
    for number in 0..300_u64 {
        flusher.publish("stream-a", number, &[]).unwrap();
    }
    assert!(flusher.flush().await.iter().all(Result::is_ok));
    let mut consuming = JoinSet::new();
    for number in 1..=4 {
        let broker = engines[number as usize % 2].event_broker();
        consuming.spawn(async move {
            let mut got = Vec::new();
            let consumer = broker.consumer("read-group-a").unwrap().non_blocking();
            let consumed = consumer.consume_many(number, 10, |events: Vec<Delivery>| {
                got.extend(events.iter().map(|it| it.parse::<u64>().unwrap()));
                ready(Ok(()))
            });
            (consumed.await.unwrap(), got)
        });
    }
    let mut times: BTreeMap<u64, usize> = BTreeMap::new();
    while let Some(consumed) = consuming.join_next().await {
        let (consumed, got) = consumed.unwrap();
        assert_eq!(consumed, Consumed::Drained);
        for number in got {
            *times.entry(number).or_default() += 1;
        }
    }
    assert!(times.keys().copied().eq(0..300), "{times:?}");
}
