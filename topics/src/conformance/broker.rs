//! A registry with the store as one of its pools: what is flushed, and who consumes.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::timeout;

use super::way::Way;
use super::{Handles, Harness, PATIENCE, channels};
use crate::registry::{Engine, Pool, Registry};
use crate::{Consumed, Delivery, Entry, EventBroker, Limit, Log, Memory, Published, TopicError};

/// A process with the streams `a` and `b` in this store, and `c` in one of its own.
async fn engine(store: Handles) -> (Arc<Way>, Engine) {
    let way = Way::to(store.log);
    let store = Handles {
        log: way.clone(),
        registers: store.registers,
    };
    let store = store.with(&channels());
    let registry = Registry::new()
        .pool("default", store)
        .pool("second", Pool::from(Memory::new()))
        .stream("a", "default", ["only a", "a and b"])
        .stream("b", "default", ["a and b"])
        .stream("c", "second", ["only c"])
        .lease(Duration::from_secs(2))
        .validate()
        .unwrap();
    (way, registry.open().await.unwrap())
}

/// The values that a stream holds, in order.
async fn values(engine: &Engine, stream: &str) -> Vec<u64> {
    let topic = engine.topic(stream).unwrap();
    let mut position = topic.seek(crate::Start::Earliest).await.unwrap();
    let mut values = Vec::new();
    loop {
        let batch = topic.read(position, Limit::default()).await.unwrap();
        values.extend(batch.messages.iter().map(|it| it.parse::<u64>().unwrap()));
        position = batch.next;
        if position.offset() == batch.bounds.last {
            return values;
        }
    }
}

fn is_away(result: &Result<Published, TopicError>) -> bool {
    matches!(result, Err(error) if error.code() == "backend-unavailable")
}

/// One result for each event, in the order of the calls.
pub async fn topic_105_a_flusher_keeps_order_and_what_one_pool_cannot_take(harness: &impl Harness) {
    let (way, engine) = engine(harness.open().await).await;
    let mut flusher = engine.event_broker().new_flusher();
    let streams = ["a", "b", "c"];
    let fill = |flusher: &mut crate::EventFlusher, from: u64| {
        for number in from..from + 30 {
            let stream = streams[usize::try_from(number % 3).unwrap()];
            flusher.publish(stream, number, &[]).unwrap();
        }
    };
    fill(&mut flusher, 0);
    let results = flusher.flush().await;
    let offsets = results.iter().map(|it| it.as_ref().unwrap().offset);
    let expected = (0..30).map(|number| number / 3 + 1);
    assert!(offsets.eq(expected), "{results:?}");
    assert!(flusher.is_empty());

    way.refuses_appends.store(true, Ordering::SeqCst);
    fill(&mut flusher, 30);
    let results = flusher.flush().await;
    assert_eq!(results.len(), 30);
    for (number, result) in (30..).zip(&results) {
        assert_eq!(is_away(result), number % 3 != 2, "{number} {result:?}");
    }
    assert_eq!(flusher.len(), 20);
    // What has reached the store without an answer is not stored twice.
    way.refuses_appends.store(false, Ordering::SeqCst);
    way.loses_answers.store(true, Ordering::SeqCst);
    let results = flusher.flush().await;
    assert!(results.len() == 20 && results.iter().all(is_away));
    way.loses_answers.store(false, Ordering::SeqCst);
    let results = flusher.flush().await;
    assert_eq!(results.len(), 20);
    if way.features().dedup {
        assert!(results.iter().all(|it| it.as_ref().unwrap().duplicate));
    }
    assert!(flusher.is_empty() && flusher.flush().await.is_empty());
    for (first, stream) in (0..).zip(streams) {
        let expected = (first..60).step_by(3);
        assert!(values(&engine, stream).await.into_iter().eq(expected));
    }
}

/// Consumes what there is, and says what it was.
async fn consume(broker: &EventBroker, group: &str, limit: usize) -> (Consumed, Vec<String>) {
    let got: Mutex<Vec<String>> = Mutex::default();
    let consumer = broker.consumer(group).unwrap().non_blocking();
    let consuming = consumer.consume(limit, async |events: Vec<Delivery>| {
        assert!(events.len() <= limit);
        for event in &events {
            let value: u64 = event.parse()?;
            got.lock()
                .unwrap()
                .push(format!("{} {value}", event.topic()));
        }
        Ok(())
    });
    let consumed = timeout(PATIENCE, consuming).await;
    (consumed.unwrap().unwrap(), got.into_inner().unwrap())
}

/// And its streams are empty when all groups have had what was in them.
pub async fn topic_059_065_075_a_group_consumes_its_streams_one_process_at_a_time(
    harness: &impl Harness,
) {
    let first = harness.open().await;
    let (_, engine) = engine(super::second(harness, &first).await).await;
    let broker = engine.event_broker();
    for number in 0..6_u64 {
        let entry = Entry::value(&number).key("all in order");
        let stream = if number % 2 == 0 { "a" } else { "b" };
        broker.publish_entry(stream, entry).await.unwrap();
    }
    let (consumed, got) = consume(&broker, "a and b", 4).await;
    assert_eq!(consumed, Consumed::Drained);
    assert_eq!(got.len(), 6);
    for stream in ["a", "b"] {
        let of_stream = got.iter().filter(|it| it.starts_with(stream));
        assert!(of_stream.is_sorted(), "{got:?}");
    }
    let stats = broker.stream_group_stats("a", "only a").await.unwrap();
    assert_eq!((stats.lag, stats.pending, stats.finished), (3, 0, 0));
    assert!(stats.oldest_undelivered.is_some());

    // Another process does not consume as long as this one does.
    let (_, other) = self::engine(first).await;
    let other = other.event_broker();
    let (started, is_running) = tokio::sync::oneshot::channel();
    let mut started = Some(started);
    let consumer = broker.consumer("only a").unwrap();
    let consuming = consumer.consume(1, |_| {
        if let Some(started) = started.take() {
            started.send(()).unwrap();
        }
        std::future::pending()
    });
    let meanwhile = async {
        is_running.await.unwrap();
        consume(&other, "only a", 3).await
    };
    tokio::select! {
        ended = consuming => panic!("{ended:?}"),
        (consumed, got) = meanwhile => {
            assert_eq!((consumed, got.len()), (Consumed::NotOwner, 0));
        }
    }
    // Or it waits until it can.
    let consumer = other.consumer("only a").unwrap();
    let consumer = consumer.wait(PATIENCE).non_blocking();
    let mut count = 0;
    while count < 3 {
        let consumed = consumer.consume(3, |events: Vec<Delivery>| {
            count += events.len();
            std::future::ready(Ok(()))
        });
        let consumed = timeout(PATIENCE, consumed).await.unwrap().unwrap();
        assert_eq!(consumed, Consumed::Drained);
    }
    assert_eq!(count, 3);
    let is_empty = async {
        loop {
            let stats = other.streams_stats().await.unwrap();
            assert_eq!(stats.len(), 3);
            if stats.iter().all(|stream| stream.records == 0) {
                assert!(stats.iter().all(|stream| stream.oldest.is_none()));
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, is_empty).await.expect("they are removed");
}
