//! Readers at the end of a topic: wake-ups, ends, and reading while others publish.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use updraft_topics::{
    Append, Content, Emitter, Entry, GroupSettings, Log, Memory, NewRecord, OnLoss, Position,
    Received, Settings, Start, Store, Topics,
};

use crate::store::Faulty;
use crate::{eventually, fill, is_silent, item, message, number, numbers, text, topic};

/// Settings with which no reader ever looks for itself.
fn no_poll() -> Settings {
    let mut settings = Settings::default();
    settings.poll = Duration::from_secs(3600);
    settings
}

#[tokio::test]
async fn topic_012_a_reader_ends_when_its_topic_is_closed() {
    let (_topics, topic) = topic(no_poll()).await;
    fill(&topic, 1, 2).await;
    let mut waiting = topic.reader(Start::Latest, OnLoss::Fail).await.unwrap();
    let (ended, ()) = tokio::join!(item(&mut waiting), async {
        topic.close().await.unwrap();
        topic.close().await.unwrap();
    });
    assert!(ended.is_none());
    assert_eq!(
        topic.publish(text("a")).await.unwrap_err().code(),
        "topic-closed"
    );
    let mut late = topic.reader(Start::Earliest, OnLoss::Fail).await.unwrap();
    assert_eq!(numbers(&mut late, 2).await, [1, 2]);
    assert!(item(&mut late).await.is_none());
    assert!(item(&mut late).await.is_none());
}

#[tokio::test]
async fn topic_020_a_reader_is_woken_here_and_in_another_process() {
    let memory = Memory::new();
    let (here, there) = (Topics::open(memory.clone()), Topics::open(memory));
    let publishing = there.topic("orders", no_poll()).await.unwrap();
    let other = there.topic("payments", no_poll()).await.unwrap();
    let reading = here.topic("orders", no_poll()).await.unwrap();
    let mut reader = reading.reader(Start::Latest, OnLoss::Fail).await.unwrap();
    for n in 0..100 {
        let (read, ()) = tokio::join!(numbers(&mut reader, 1), async {
            other.publish(text("x")).await.unwrap();
            let topic = if n % 2 == 0 { &publishing } else { &reading };
            fill(topic, n, n).await;
        });
        assert_eq!(read, [n]);
        assert!(reader.is_live());
    }
}

#[tokio::test]
async fn topic_024_a_position_stays_where_it_is_when_nothing_is_new() {
    let (_topics, topic) = topic(no_poll()).await;
    fill(&topic, 1, 5).await;
    let mut position = topic.seek(Start::Latest).await.unwrap();
    let token = position.to_string();
    for _ in 0..3 {
        let mut reader = topic.reader(position, OnLoss::Fail).await.unwrap();
        assert!(is_silent(&mut reader).await);
        position = reader.position().unwrap();
        assert_eq!(position.to_string(), token);
    }
}

#[tokio::test]
async fn topic_023_whoever_comes_back_with_a_position_gets_each_record_once() {
    let (_topics, topic) = topic(no_poll()).await;
    let rounds = 1000;
    let (seen, ()) = tokio::join!(
        async {
            let mut seen = Vec::new();
            let mut token = topic.seek(Start::Earliest).await.unwrap().to_string();
            while seen.len() < rounds {
                let position = Position::parse(&token, topic.name()).unwrap();
                let mut reader = topic.reader(position, OnLoss::Fail).await.unwrap();
                for _ in 0..seen.len() % 7 {
                    // Cut off at any await; what was returned is kept.
                    if let Ok(next) = timeout(Duration::from_micros(50), reader.next()).await {
                        match next.unwrap().unwrap() {
                            Received::Message(message) => seen.push(number(&message)),
                            other => panic!("{other:?}"),
                        }
                    }
                }
                if seen.len() % 7 == 0 {
                    seen.extend(numbers(&mut reader, 1).await);
                }
                token = reader.position().unwrap().to_string();
            }
            seen
        },
        async {
            for n in (1..=2000).step_by(4) {
                fill(&topic, n, n + 3).await;
                tokio::task::yield_now().await;
            }
        }
    );
    assert!(seen.into_iter().zip(1..).all(|(seen, n)| seen == n));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_034_there_is_no_hole_where_a_reader_becomes_live() {
    for _ in 0..10 {
        let (_topics, topic) = topic(no_poll()).await;
        fill(&topic, 1, 1000).await;
        let publishing = tokio::task::spawn_blocking({
            let topic = topic.clone();
            let runtime = tokio::runtime::Handle::current();
            move || {
                for n in (1001..=10_000).step_by(100) {
                    runtime.block_on(fill(&topic, n, n + 99));
                }
            }
        });
        let mut reader = topic.reader(Start::Earliest, OnLoss::Fail).await.unwrap();
        let mut last = 0;
        while last < 10_000 {
            for received in reader.next_batch(100).await.unwrap().unwrap() {
                let Received::Message(message) = received else {
                    panic!("{received:?}");
                };
                assert_eq!(number(&message), last + 1);
                last += 1;
            }
        }
        publishing.await.unwrap();
        assert!(is_silent(&mut reader).await);
    }
}

#[tokio::test]
async fn topic_035_a_reader_that_is_not_woken_looks_for_itself() {
    let mut faulty = Faulty::new();
    faulty.silent = true;
    let (faulty, store) = faulty.store();
    let topics = Topics::open(store);
    let mut settings = Settings::default();
    settings.poll = Duration::from_millis(10);
    let topic = topics.topic("orders", settings).await.unwrap();
    let mut reader = topic.reader(Start::Earliest, OnLoss::Fail).await.unwrap();
    for n in 1..=10_u64 {
        // Behind the engine's back.
        let record = NewRecord::new(7, Content::new(n.to_string()));
        let name = topic.name();
        faulty
            .append(name, Append::new(vec![record]))
            .await
            .unwrap();
        assert_eq!(numbers(&mut reader, 1).await, [n]);
    }
}

#[tokio::test]
async fn topic_036_039_wake_ups_may_come_too_often_and_for_nothing() {
    let memory = Memory::new();
    let topics = Topics::open(memory.clone());
    let topic = topics.topic("orders", no_poll()).await.unwrap();
    let mut reader = topic.reader(Start::Earliest, OnLoss::Fail).await.unwrap();
    assert!(is_silent(&mut reader).await);
    let channels = Store::from(memory).channels;
    let orders = updraft_bus::internal::InternalChannel::Topics;
    let (read, ()) = tokio::join!(numbers(&mut reader, 200), async {
        for n in 1..=200 {
            for name in ["orders", "payments", "orders", ""] {
                channels.emit_internally(orders, &text(name)).await.unwrap();
            }
            channels
                .emit_internally(orders, &updraft_protocol::ejson!({ "a": 1 }))
                .await
                .unwrap();
            fill(&topic, n, n).await;
        }
    });
    assert!(read.into_iter().eq(1..=200));
    assert!(is_silent(&mut reader).await);
}

#[tokio::test]
async fn a_gap_of_the_bus_means_read_again() {
    let memory = Memory::new();
    let topics = Topics::open(memory.clone());
    let topic = topics.topic("orders", no_poll()).await.unwrap();
    let mut reader = topic.reader(Start::Earliest, OnLoss::Fail).await.unwrap();
    assert!(is_silent(&mut reader).await);
    // The listener does not run meanwhile, so that its queue overflows.
    let channels = Store::from(memory.clone()).channels;
    let names = updraft_bus::internal::InternalChannel::Topics;
    for _ in 0..2000 {
        channels
            .emit_internally(names, &text("payments"))
            .await
            .unwrap();
    }
    let record = NewRecord::new(7, Content::new("1"));
    memory
        .append(topic.name(), Append::new(vec![record]))
        .await
        .unwrap();
    channels
        .emit_internally(names, &text("orders"))
        .await
        .unwrap();
    assert_eq!(numbers(&mut reader, 1).await, [1]);
}

#[tokio::test(start_paused = true)]
async fn topic_013_with_the_store_away_topics_are_not_listed_either() {
    let (faulty, store) = Faulty::new().store();
    let topics = Topics::open(store);
    faulty.away.store(true, Ordering::SeqCst);
    let error = topics.list("", None, 10).await.unwrap_err();
    assert_eq!(error.code(), "backend-unavailable");
    let error = topics.delete(&"orders".parse().unwrap()).await.unwrap_err();
    assert_eq!(error.code(), "backend-unavailable");
}

#[tokio::test]
async fn topic_037_a_wake_up_during_a_read_is_not_lost() {
    let (faulty, store) = Faulty::new().store();
    let topics = Topics::open(store);
    let topic = topics.topic("orders", no_poll()).await.unwrap();
    let mut reader = topic.reader(Start::Earliest, OnLoss::Fail).await.unwrap();
    faulty.gated.store(true, Ordering::SeqCst);
    let (read, ()) = tokio::join!(numbers(&mut reader, 1), async {
        eventually("the reader has seen nothing", async || {
            faulty.reads.load(Ordering::SeqCst) == 1
        })
        .await;
        // It has its answer, an empty page, and does not know it yet.
        fill(&topic, 1, 1).await;
        faulty.gate.add_permits(2);
    });
    assert_eq!(read, [1]);
}

#[tokio::test(start_paused = true)]
async fn topic_046_reading_waits_for_no_timer() {
    let (_topics, topic) = topic(no_poll()).await;
    let mut reader = topic.reader(Start::Earliest, OnLoss::Fail).await.unwrap();
    let began = Instant::now();
    for n in 0..20 {
        fill(&topic, n * 1000, n * 1000 + 999).await;
        assert_eq!(numbers(&mut reader, 1000).await.len(), 1000);
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test]
async fn topic_097_a_clock_that_is_set_back_changes_nothing() {
    let clock = Arc::new(std::sync::atomic::AtomicU64::new(7_200_000));
    let now = clock.clone();
    let topics = Topics::open(Memory::with_clock(move || now.load(Ordering::SeqCst)));
    let topic = topics.topic("orders", no_poll()).await.unwrap();
    let first = topic.publish(Entry::value(&1).dedup("id")).await.unwrap();
    clock.store(3_600_000, Ordering::SeqCst);
    let again = topic.publish(Entry::value(&1).dedup("id")).await.unwrap();
    assert!(again.duplicate);
    let second = topic.publish(Entry::value(&2)).await.unwrap();
    assert_eq!((second.offset, second.time), (2, first.time));
    let mut reader = topic.reader(first.position, OnLoss::Fail).await.unwrap();
    assert_eq!(numbers(&mut reader, 1).await, [2]);
}

#[tokio::test]
async fn topic_098_a_reader_that_is_dropped_at_any_await_has_taken_nothing() {
    let (faulty, store) = Faulty::new().store();
    let topics = Topics::open(store);
    let topic = topics.topic("orders", no_poll()).await.unwrap();
    fill(&topic, 1, 50).await;
    let limit = updraft_topics::Limit::new(3, 1000);
    for start in [
        Start::Earliest,
        Start::Position(topic.seek(Start::Earliest).await.unwrap()),
    ] {
        let mut reader = topic.reader(start, OnLoss::Fail).await.unwrap().page(limit);
        faulty.gated.store(true, Ordering::SeqCst);
        let mut seen = Vec::new();
        while seen.len() < 50 {
            // The first read is dropped when it has its answer.
            tokio::select! {
                biased;
                next = reader.next() => {
                    let Some(Ok(Received::Message(message))) = next else { panic!("{next:?}") };
                    seen.push(number(&message));
                }
                () = tokio::task::yield_now() => faulty.gate.add_permits(1),
            }
        }
        assert!(seen.into_iter().eq(1..=50));
        faulty.gated.store(false, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn topic_087_a_damaged_record_is_an_error_with_its_offset_and_the_reader_goes_on() {
    let mut faulty = Faulty::new();
    faulty.damaged = Some(3);
    let topics = Topics::open(faulty.store().1);
    let topic = topics.topic("orders", no_poll()).await.unwrap();
    fill(&topic, 1, 5).await;
    let mut reader = topic.reader(Start::Earliest, OnLoss::Fail).await.unwrap();
    assert_eq!(numbers(&mut reader, 2).await, [1, 2]);
    let error = item(&mut reader).await.unwrap().unwrap_err();
    assert_eq!(error.code(), "damaged-record");
    assert!(error.to_string().contains("record 3"), "{error}");
    assert_eq!(numbers(&mut reader, 2).await, [4, 5]);
    let position = topic.seek(Start::Last(4)).await.unwrap();
    assert_eq!(position.offset(), 1);
}

#[tokio::test]
async fn closing_the_topics_ends_their_readers() {
    let (topics, topic) = topic(no_poll()).await;
    let mut reader = topic.reader(Start::Latest, OnLoss::Fail).await.unwrap();
    let (ended, ()) = tokio::join!(item(&mut reader), async {
        tokio::task::yield_now().await;
        topics.close();
    });
    assert_eq!(ended.unwrap().unwrap_err().code(), "shutting-down");
    assert!(item(&mut reader).await.is_none());
    assert_eq!(
        topic.publish(text("a")).await.unwrap_err().code(),
        "shutting-down"
    );
}

#[tokio::test]
async fn a_handle_of_any_kind_keeps_the_topics_open() {
    let (topics, orders) = topic(no_poll()).await;
    let group = topics.group("billing", GroupSettings::on([&orders]));
    let group = group.await.unwrap();
    drop(topics);
    let mut reader = orders.reader(Start::Latest, OnLoss::Fail).await.unwrap();
    let producer = orders.producer();
    drop(orders);
    let (message, published) = tokio::join!(message(&mut reader), producer.publish(text("a")));
    assert_eq!(message.offset(), published.unwrap().position.offset());
    drop((reader, producer));
    let mut member = group.member("w1");
    drop(group);
    let deliveries = member.fetch(1).await.unwrap();
    deliveries[0].ack().await.unwrap();
}

#[tokio::test]
async fn nothing_of_the_topics_is_left_when_the_last_handle_is_dropped() {
    let store = Store::from(Memory::new());
    let (log, registers) = (Arc::downgrade(&store.log), Arc::downgrade(&store.registers));
    let topics = Topics::open(store);
    let mut settings = no_poll();
    settings.retention.max_records = Some(10);
    let orders = topics.topic("orders", settings).await.unwrap();
    let group = topics.group("billing", GroupSettings::on([&orders]));
    let group = group.await.unwrap();
    let mut member = group.member("w1");
    fill(&orders, 1, 1).await;
    let deliveries = member.fetch(1).await.unwrap();
    deliveries[0].ack().await.unwrap();
    let emitter = Emitter::on_topic(&orders).cursor("billing").open();
    let emitter = emitter.await.unwrap();
    emitter.trigger("n", 1).unwrap().stored().await.unwrap();
    drop((topics, orders, group, member, deliveries));
    emitter.trigger("n", 2).unwrap().stored().await.unwrap();
    assert!(log.strong_count() > 0);
    drop(emitter);
    eventually("the tasks end", async || {
        log.strong_count() == 0 && registers.strong_count() == 0
    })
    .await;
}

#[tokio::test]
async fn a_reader_that_is_behind_says_so() {
    let (_topics, topic) = topic(no_poll()).await;
    fill(&topic, 1, 3).await;
    let mut reader = topic.reader(Start::Earliest, OnLoss::Fail).await.unwrap();
    assert!(!reader.is_live());
    message(&mut reader).await;
    assert!(!reader.is_live());
    numbers(&mut reader, 2).await;
    assert!(reader.is_live());
}

#[tokio::test]
async fn topic_015_a_reader_that_does_not_wait_ends_at_the_end_of_each_start() {
    let (_topics, topic) = topic(no_poll()).await;
    let mut empty = topic.reader(Start::Snapshot, OnLoss::Fail).await.unwrap();
    assert!(empty.next_held().await.is_none());
    fill(&topic, 1, 600).await;
    topic.publish(Entry::tombstone("600")).await.unwrap();
    for (start, count) in [
        (Start::Earliest, 601),
        (Start::Latest, 0),
        (Start::Last(3), 3),
        (Start::Snapshot, 0),
    ] {
        let mut reader = topic.reader(start, OnLoss::Fail).await.unwrap();
        let mut read = 0;
        while let Some(received) = reader.next_held().await {
            assert!(matches!(received.unwrap(), Received::Message(_)));
            read += 1;
        }
        assert_eq!(read, count, "{start:?}");
        assert_eq!(reader.position().unwrap().offset(), 601);
        assert!(reader.is_live());
    }
    // It goes on with what comes later, however it is asked.
    assert_eq!(numbers(&mut empty, 600).await.len(), 600);
    message(&mut empty).await;
    fill(&topic, 602, 602).await;
    assert!(empty.next_held().await.is_some());
    assert!(empty.next_held().await.is_none());
    topic.close().await.unwrap();
    assert!(empty.next_held().await.is_none());
    assert!(item(&mut empty).await.is_none());
}
