//! The event broker over stores in memory, in paused time: what BeeORM's page of the same name
//! shows, and what it leaves out.

use std::collections::BTreeSet;
use std::future::{pending, ready};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use updraft_topics::registry::{Engine, Pool, Registry};
use updraft_topics::{Consumed, Delivery, Entry, EventBroker, Memory, Order, Store, TopicError};

use super::eventually;
use super::store::Faulty;

const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Sold {
    color: String,
    price: f64,
}

/// The page's streams, in these pools.
fn page(first: impl Into<Pool>, second: impl Into<Pool>) -> Registry {
    Registry::new()
        .pool("default", first)
        .stream("stream-a", "default", ["read-group-a", "read-group-ab"])
        .stream("stream-b", "default", ["read-group-ab"])
        .pool("second", second)
        .stream("stream-c", "second", ["read-group-c"])
}

async fn open(registry: Registry) -> Engine {
    registry.validate().unwrap().open().await.unwrap()
}

async fn engine() -> Engine {
    open(page(Pool::memory(), Pool::memory())).await
}

/// Consumes what there is: the events of each call.
async fn drain(broker: &EventBroker, group: &str, limit: usize) -> Vec<Vec<Delivery>> {
    let batches = Mutex::new(Vec::new());
    let consumer = broker.consumer(group).unwrap().non_blocking();
    let consumed = consumer.consume(limit, |events| {
        batches.lock().unwrap().push(events);
        ready(Ok(()))
    });
    assert_eq!(consumed.await.unwrap(), Consumed::Drained);
    batches.into_inner().unwrap()
}

#[tokio::test(start_paused = true)]
async fn seed_001_002_005_006_007_008_009_010_events_come_back_as_they_were_published() {
    let broker = engine().await.event_broker();
    let sold = Sold {
        color: "red".into(),
        price: 12.34,
    };
    broker.publish("stream-a", "hello", &[]).await.unwrap();
    let published = broker.publish("stream-a", &sold, &[("version", "1"), ("s", "x")]);
    assert_eq!(published.await.unwrap().offset, 2);
    let meta = [("url", "/about-us/"), ("ip", "232.12.24.11")];
    broker.publish("stream-a", (), &meta).await.unwrap();
    let events = drain(&broker, "read-group-a", 5).await.concat();
    let [text, value, views] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(text.parse::<String>().unwrap(), "hello");
    assert!(text.message().meta().is_empty());
    assert_eq!(value.parse::<Sold>().unwrap(), sold);
    assert_eq!(value.message().meta()["version"], "1");
    assert_eq!(value.message().meta()["s"], "x");
    views.parse::<()>().unwrap();
    assert_eq!(views.message().meta()["ip"], "232.12.24.11");
}

#[tokio::test(start_paused = true)]
async fn seed_016_017_018_an_event_says_what_and_where_it_is() {
    let broker = engine().await.event_broker();
    let meta = [("version", "2")];
    let published = broker.publish("stream-b", "b", &meta).await.unwrap();
    let events = drain(&broker, "read-group-ab", 5).await.concat();
    assert_eq!(events[0].parse::<String>().unwrap(), "b");
    assert_eq!(events[0].topic().as_str(), "stream-b");
    assert_eq!(events[0].message().position(), published.position);
    assert_eq!(events[0].message().offset(), 1);
    let tag = |name| events[0].message().meta().get(name).map(String::as_str);
    assert_eq!((tag("version"), tag("missing-key")), (Some("2"), None));
    // The codec of a value is told by what cannot be read as one.
    assert_eq!(events[0].parse::<Sold>().unwrap_err().code(), "not-decoded");
}

#[tokio::test(start_paused = true)]
async fn seed_011_014_only_what_is_declared_is_published_to_and_consumed() {
    let engine = engine().await;
    let broker = engine.event_broker();
    let mut flusher = broker.new_flusher();
    let told = |error: TopicError| {
        assert_eq!(error.code(), "undeclared");
        error.to_string()
    };
    let expected = "no such stream is declared; the nearest name is `stream-a`, or declare it in \
                    the registry";
    for error in [
        broker.publish("stream-aa", 1, &[]).await.unwrap_err(),
        flusher.publish("streama", 1, &[]).unwrap_err(),
        engine.topic("Stream-a").unwrap_err(),
        broker.stream_stats("steam-a").await.unwrap_err(),
    ] {
        assert_eq!(told(error), expected);
    }
    assert!(flusher.is_empty());
    assert_eq!(
        told(broker.consumer("read-group-abc").unwrap_err()),
        "no such group is declared; the nearest name is `read-group-ab`, or declare it in the \
         registry"
    );
    let error = broker.stream_group_stats("stream-b", "read-group-a").await;
    told(error.unwrap_err());
    assert_eq!(
        told(engine.topics("x").unwrap_err()),
        "no such pool is declared; declare it in the registry"
    );
}

#[tokio::test(start_paused = true)]
async fn seed_012_a_flusher_publishes_all_and_checks_each_when_it_is_added() {
    let engine = engine().await;
    let broker = engine.event_broker();
    let mut flusher = broker.new_flusher();
    flusher.publish("stream-a", "hello", &[]).unwrap();
    let entry = Entry::value("there").key("k").dedup("only once");
    flusher.publish_entry("stream-b", entry.clone()).unwrap();
    flusher.publish_entry("stream-b", entry).unwrap();
    let too_large = "x".repeat(2 * 1024 * 1024);
    let error = flusher.publish("stream-a", too_large, &[]).unwrap_err();
    assert_eq!(error.code(), "too-large");
    let error = flusher.publish("stream-a", ejson_undefined(), &[]);
    assert_eq!(error.unwrap_err().code(), "not-encoded");
    assert_eq!(flusher.len(), 3);
    let results = flusher.flush().await;
    let results: Vec<_> = results.into_iter().map(Result::unwrap).collect();
    let shown: Vec<_> = results.iter().map(|it| (it.offset, it.duplicate)).collect();
    assert_eq!(shown, [(1, false), (1, false), (1, true)]);
    flusher.publish("stream-a", "never", &[]).unwrap();
    flusher.clear();
    assert!(flusher.flush().await.is_empty());
    assert_eq!(
        engine
            .topic("stream-a")
            .unwrap()
            .bounds()
            .await
            .unwrap()
            .last,
        1
    );
}

fn ejson_undefined() -> updraft_protocol::ejson::Value {
    updraft_protocol::ejson::Value::Undefined
}

/// It is a queue, and each stream has the bound of its settings.
#[tokio::test(start_paused = true)]
async fn topic_013_a_flusher_is_bounded() {
    let registry = page(Pool::memory(), Pool::memory()).stream_settings("stream-a", |settings| {
        settings.queued_records = 2;
        settings.queued_bytes = 1000;
    });
    let engine = open(registry).await;
    let mut flusher = engine.event_broker().new_flusher();
    let large = "x".repeat(2000);
    flusher.publish("stream-a", &large, &[]).unwrap();
    let busy = |result: Result<(), TopicError>| assert_eq!(result.unwrap_err().code(), "busy");
    busy(flusher.publish("stream-a", 1, &[]));
    flusher.publish("stream-b", 1, &[]).unwrap();
    assert!(flusher.flush().await.iter().all(Result::is_ok));
    flusher.publish("stream-a", 1, &[]).unwrap();
    flusher.publish("stream-a", 2, &[]).unwrap();
    busy(flusher.publish("stream-a", 3, &[]));
    assert_eq!(flusher.flush().await.len(), 2);
}

/// Behind an error of a stream nothing of it is stored, so that its order is kept.
#[tokio::test(start_paused = true)]
async fn topic_105_what_is_refused_holds_what_is_behind_it_and_no_other_stream() {
    let engine = engine().await;
    let mut flusher = engine.event_broker().new_flusher();
    engine.topic("stream-a").unwrap().close().await.unwrap();
    // More than one call takes.
    for number in 0..2500 {
        flusher.publish("stream-a", number, &[]).unwrap();
        flusher.publish("stream-b", number, &[]).unwrap();
    }
    let results = flusher.flush().await;
    for (index, result) in results.iter().enumerate() {
        match result {
            Ok(published) => assert_eq!(published.offset, index as u64 / 2 + 1),
            Err(error) => assert_eq!((index % 2, error.code()), (0, "topic-closed")),
        }
    }
    assert_eq!((results.len(), flusher.len()), (5000, 2500));
}

#[tokio::test(start_paused = true)]
async fn topic_098_a_flush_that_is_dropped_can_be_done_again() {
    let (way, store) = Faulty::new().store();
    let engine = open(page(store, Pool::memory())).await;
    let mut flusher = engine.event_broker().new_flusher();
    for stream in ["stream-a", "stream-b", "stream-c"] {
        flusher.publish(stream, stream, &[]).unwrap();
    }
    way.away.store(true, Ordering::SeqCst);
    assert!(timeout(SECOND, flusher.flush()).await.is_err());
    assert_eq!(flusher.len(), 3);
    way.away.store(false, Ordering::SeqCst);
    let results = flusher.flush().await;
    let duplicates = results.into_iter().map(|it| it.unwrap().duplicate);
    assert_eq!(duplicates.collect::<Vec<_>>(), [false, false, true]);
    let last = engine.topic("stream-c").unwrap().bounds().await.unwrap();
    assert_eq!(last.last, 1);
}

#[tokio::test(start_paused = true)]
async fn seed_015_the_limit_is_that_of_all_streams_together() {
    let broker = engine().await.event_broker();
    let mut flusher = broker.new_flusher();
    for number in 0..10 {
        flusher.publish("stream-a", number, &[]).unwrap();
        flusher.publish("stream-b", number, &[]).unwrap();
    }
    assert!(flusher.flush().await.iter().all(Result::is_ok));
    let batches = drain(&broker, "read-group-ab", 8).await;
    let sizes: Vec<_> = batches.iter().map(Vec::len).collect();
    assert_eq!(sizes, [8, 8, 4]);
    // The first stream may have been read before the second.
    let streams: BTreeSet<_> = batches[1].iter().map(|it| it.topic().as_str()).collect();
    assert_eq!(streams.len(), 2, "none of them waits for the other");
    assert!(drain(&broker, "read-group-ab", 8).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn seed_019_what_a_handler_leaves_is_acknowledged_when_it_returns() {
    let broker = engine().await.event_broker();
    for number in 0..3 {
        broker.publish("stream-a", number, &[]).await.unwrap();
    }
    let consumer = broker.consumer("read-group-a").unwrap().non_blocking();
    let back = Arc::new(AtomicUsize::new(0));
    let consumed = consumer.consume(10, async |events| {
        for event in events {
            match event.parse::<u64>()? {
                0 => event.ack().await?,
                1 if event.deliveries() == 1 => {
                    back.fetch_add(1, Ordering::SeqCst);
                    event.nack(None).await?;
                }
                _ => {}
            }
        }
        Ok(())
    });
    assert_eq!(consumed.await.unwrap(), Consumed::Drained);
    assert_eq!(back.load(Ordering::SeqCst), 1);
    let stats = broker.stream_group_stats("stream-a", "read-group-a").await;
    let stats = stats.unwrap();
    assert_eq!((stats.lag, stats.pending, stats.finished), (0, 0, 3));
}

#[tokio::test(start_paused = true)]
async fn seed_020_021_topic_065_consuming_waits_for_more_unless_it_is_told_otherwise() {
    let broker = engine().await.event_broker();
    let count = AtomicUsize::new(0);
    let consumer = broker.consumer("read-group-a").unwrap();
    let handler = |events: Vec<Delivery>| {
        count.fetch_add(events.len(), Ordering::SeqCst);
        ready(Ok(()))
    };
    let waits = consumer.clone();
    let consuming = waits.consume(5, handler);
    let publishing = async {
        for number in 1..=3 {
            tokio::time::sleep(SECOND).await;
            broker.publish("stream-a", number, &[]).await.unwrap();
            let came = async || count.load(Ordering::SeqCst) == number;
            eventually("it is handled", came).await;
        }
    };
    tokio::select! {
        ended = consuming => panic!("{ended:?}"),
        () = publishing => {}
    }
    // It was dropped, and another one may consume at once.
    let consumed = async || {
        let consumed = consumer.clone().non_blocking().consume(5, handler).await;
        consumed.unwrap() == Consumed::Drained
    };
    eventually("the former one is gone", consumed).await;
}

#[tokio::test(start_paused = true)]
async fn seed_022_024_one_consumes_at_a_time_of_each_number() {
    let broker = engine().await.event_broker();
    let running = AtomicUsize::new(0);
    let busy = |_| {
        running.fetch_add(1, Ordering::SeqCst);
        pending()
    };
    for number in 0..2 {
        broker.publish("stream-a", number, &[]).await.unwrap();
    }
    let (one, two) = (
        broker.consumer("read-group-a"),
        broker.consumer("read-group-a"),
    );
    let (one, two) = (one.unwrap(), two.unwrap());
    let first = one.consume(1, busy);
    let second = two.consume_many(2, 1, busy);
    let meanwhile = async {
        let both = async || running.load(Ordering::SeqCst) == 2;
        eventually("both consume at the same time", both).await;
        for number in [1, 2] {
            let third = broker.consumer("read-group-a").unwrap();
            let third = third.consume_many(number, 1, |_| ready(Ok(())));
            assert_eq!(third.await.unwrap(), Consumed::NotOwner);
        }
        let told = async || {
            let stats = broker.stream_group_stats("stream-a", "read-group-a").await;
            let stats = stats.unwrap();
            assert_eq!((stats.pending, stats.lag), (2, 0));
            let consumers = stats.consumers.iter();
            let consumers = consumers.map(|it| (&*it.name, it.pending));
            consumers.eq([("consumer-1", 1), ("consumer-2", 1)])
        };
        eventually("statistics tell what each has", told).await;
    };
    tokio::select! {
        ended = first => panic!("{ended:?}"),
        ended = second => panic!("{ended:?}"),
        () = meanwhile => {}
    }
}

/// Without a key, which would be an order of its own.
#[tokio::test(start_paused = true)]
async fn seed_022_a_group_of_total_order_consumes_as_it_was_published() {
    let registry = page(Pool::memory(), Pool::memory())
        .group_settings("read-group-a", |group| group.order(Order::Total));
    let broker = open(registry).await.event_broker();
    let mut flusher = broker.new_flusher();
    for number in 0..300_u64 {
        flusher.publish("stream-a", number, &[]).unwrap();
    }
    assert!(flusher.flush().await.iter().all(Result::is_ok));
    let events = drain(&broker, "read-group-a", 7).await.concat();
    let numbers = events.iter().map(|event| event.parse::<u64>().unwrap());
    assert!(numbers.eq(0..300));
}

#[tokio::test(start_paused = true)]
async fn seed_023_a_consumer_that_cannot_renew_its_right_stops() {
    let memory = Memory::new();
    let (way, store) = Faulty::over(&memory).store();
    let lease = 10 * SECOND;
    let one = open(page(store, Pool::memory()).lease(lease))
        .await
        .event_broker();
    let two = open(page(Store::from(memory), Pool::memory()).lease(lease)).await;
    let two = two.event_broker();
    one.publish("stream-a", "x", &[]).await.unwrap();
    let consumer = one.consumer("read-group-a").unwrap();
    let consuming = consumer.consume(1, |_| {
        way.away.store(true, Ordering::SeqCst);
        pending()
    });
    let lost = timeout(11 * SECOND, consuming).await;
    assert_eq!(lost.unwrap().unwrap(), Consumed::Lost);
    // What it had is another one's, which waits for that.
    let consumer = two.consumer("read-group-a").unwrap().wait(Duration::MAX);
    let (told, got) = tokio::sync::oneshot::channel();
    let mut told = Some(told);
    let consuming = consumer.consume(1, |events| {
        if let Some(told) = told.take() {
            told.send(events[0].deliveries()).unwrap();
        }
        ready(Ok(()))
    });
    tokio::select! {
        ended = consuming => panic!("{ended:?}"),
        deliveries = timeout(100 * SECOND, got) => assert_eq!(deliveries.unwrap(), Ok(2)),
    }
}

/// Also by calls that do not wait, if they come again.
#[tokio::test(start_paused = true)]
async fn seed_023_a_consumer_that_was_killed_is_replaced() {
    let memory = Memory::new();
    let (way, store) = Faulty::over(&memory).store();
    let dead = open(page(store, Pool::memory())).await.event_broker();
    let consumer = dead.consumer("read-group-a").unwrap();
    let cut = async {
        tokio::time::sleep(SECOND).await;
        way.away.store(true, Ordering::SeqCst);
    };
    tokio::select! {
        ended = consumer.consume(1, |_| ready(Ok(()))) => panic!("{ended:?}"),
        () = cut => {}
    }
    let living = open(page(Store::from(memory), Pool::memory()))
        .await
        .event_broker();
    let consume = async || {
        let consumer = living.consumer("read-group-a").unwrap().non_blocking();
        consumer.consume(1, |_| ready(Ok(()))).await.unwrap()
    };
    assert_eq!(consume().await, Consumed::NotOwner);
    tokio::time::sleep(5 * SECOND).await;
    assert_eq!(consume().await, Consumed::NotOwner);
    tokio::time::sleep(6 * SECOND).await;
    assert_eq!(consume().await, Consumed::Drained);
}

#[tokio::test(start_paused = true)]
async fn seed_025_what_a_consumer_had_that_is_gone_is_given_to_the_others() {
    let broker = engine().await.event_broker();
    for number in 0..4 {
        broker.publish("stream-a", number, &[]).await.unwrap();
    }
    let took = AtomicUsize::new(0);
    let second = broker.consumer("read-group-a").unwrap();
    let second = second.consume_many(2, 3, |events| {
        took.fetch_add(events.len(), Ordering::SeqCst);
        pending()
    });
    let has_some = async || took.load(Ordering::SeqCst) == 3;
    tokio::select! {
        ended = second => panic!("{ended:?}"),
        () = eventually("it has some", has_some) => {}
    }
    let events = drain(&broker, "read-group-a", 10).await.concat();
    assert_eq!(events.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn seed_026_what_all_groups_have_consumed_is_removed_by_itself() {
    let broker = engine().await.event_broker();
    for number in 0..4 {
        broker.publish("stream-a", number, &[]).await.unwrap();
    }
    drain(&broker, "read-group-a", 10).await;
    tokio::time::sleep(10 * SECOND).await;
    let records = async || broker.stream_stats("stream-a").await.unwrap().records;
    assert_eq!(records().await, 4, "another group has not consumed them");
    drain(&broker, "read-group-ab", 10).await;
    eventually("they are removed", async || records().await == 0).await;
}

#[tokio::test(start_paused = true)]
async fn seed_027_028_029_topic_106_statistics_are_those_of_streams_groups_and_consumers() {
    let broker = engine().await.event_broker();
    for number in 0..4 {
        broker.publish("stream-a", number, &[]).await.unwrap();
    }
    drain(&broker, "read-group-a", 10).await;
    tokio::time::sleep(SECOND).await;
    let all = broker.streams_stats().await.unwrap();
    let names: Vec<_> = all.iter().map(|it| (&*it.stream, &*it.pool)).collect();
    assert_eq!(
        names,
        [
            ("stream-a", "default"),
            ("stream-b", "default"),
            ("stream-c", "second")
        ]
    );
    let stream = broker.stream_stats("stream-a").await.unwrap();
    assert_eq!(stream.records, 4);
    assert!(stream.oldest.is_some());
    let groups: Vec<_> = stream
        .groups
        .iter()
        .map(|it| (&*it.group, it.lag))
        .collect();
    assert_eq!(groups, [("read-group-a", 0), ("read-group-ab", 4)]);
    let never_used = &stream.groups[1];
    assert_eq!((never_used.finished, never_used.pending), (0, 0));
    assert!(never_used.oldest_undelivered.is_some());
    assert_eq!(all[1].oldest, None);
    let group = broker.stream_group_stats("stream-a", "read-group-a").await;
    let group = group.unwrap();
    assert_eq!((group.finished, group.lost, group.parked), (4, 0, 0));
    assert_eq!(
        (group.oldest_undelivered, group.oldest_pending),
        (None, None)
    );
}

#[tokio::test(start_paused = true)]
async fn seed_030_topic_064_a_handler_that_panics_costs_only_what_it_panics_for() {
    let registry = page(Pool::memory(), Pool::memory())
        .group_settings("read-group-a", |group| group.max_deliveries(2));
    let broker = open(registry).await.event_broker();
    for number in 0..5 {
        broker.publish("stream-a", number, &[]).await.unwrap();
    }
    let done = Mutex::new(BTreeSet::new());
    let consumer = broker.consumer("read-group-a").unwrap().non_blocking();
    let consumed = consumer.consume(10, |events: Vec<Delivery>| {
        let numbers: Vec<u64> = events.iter().map(|it| it.parse().unwrap()).collect();
        assert!(!numbers.contains(&3), "it cannot be handled");
        done.lock().unwrap().extend(numbers);
        ready(Ok(()))
    });
    assert_eq!(consumed.await.unwrap(), Consumed::Drained);
    assert_eq!(done.into_inner().unwrap(), BTreeSet::from([0, 1, 2, 4]));
    let parked = async || {
        let stats = broker.stream_group_stats("stream-a", "read-group-a").await;
        stats.unwrap().parked == 1
    };
    eventually("it is set aside", parked).await;
}

/// A group is what it was created as.
#[tokio::test(start_paused = true)]
async fn topic_048_a_group_with_other_streams_is_a_conflict() {
    let memory = Memory::new();
    let engine = open(page(memory.clone(), Pool::memory())).await;
    drop(engine);
    // In another order it is the same one.
    let registry = Registry::new()
        .pool("default", memory.clone())
        .stream("stream-b", "default", ["read-group-ab"])
        .stream("stream-a", "default", ["read-group-ab", "read-group-a"]);
    let _engine = open(registry).await;
    let registry =
        Registry::new()
            .pool("default", memory)
            .stream("stream-a", "default", ["read-group-ab"]);
    let error = registry.validate().unwrap().open().await.unwrap_err();
    assert_eq!(error.code(), "group-conflict");
}
