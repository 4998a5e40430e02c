//! Publishing: limits, codecs, ids, expectations, back-pressure, and a store that is away.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::sleep;
use updraft_protocol::ejson;
use updraft_topics::{Codec, Entry, Item, OnLoss, Settings, Start, TopicError, Topics};

use crate::store::{Faulty, impatient};
use crate::{fill, message, numbers, text, topic};

#[tokio::test]
async fn topic_004_a_batch_with_one_item_too_large_stores_nothing_and_names_it() {
    let (_topics, topic) = topic(Settings::default()).await;
    let large = "x".repeat(1 << 20);
    let entries = ["a", "b", &large, "c"].map(Entry::value);
    let error = topic.publish_many(entries).await.unwrap_err();
    assert_eq!(error.code(), "too-large");
    let TopicError::TooLarge {
        item,
        index,
        bytes,
        limit,
        ..
    } = error
    else {
        panic!("{error:?}");
    };
    assert_eq!(
        (item, index, bytes, limit),
        (Item::Payload, 2, (1 << 20) + 2, 1 << 20)
    );
    assert_eq!(topic.bounds().await.unwrap().last, 0);
}

#[tokio::test]
async fn topic_011_exactly_the_limit_passes() {
    let (_topics, topic) = topic(Settings::default()).await;
    let x = |count: usize| "x".repeat(count);
    let entry = || Entry::value("v");
    let at = |limit: usize, item: fn(Entry, String) -> Entry, base: Entry| {
        (item(base.clone(), x(limit)), item(base, x(limit + 1)))
    };
    let payload = ((1 << 20) - 2, (1 << 20) - 1);
    for (passes, fails) in [
        (Entry::value(&x(payload.0)), Entry::value(&x(payload.1))),
        at(1024, |entry, text| entry.key(text), entry()),
        at(1024, |entry, text| entry.compact(text), entry()),
        at(1024, |entry, text| entry.dedup(text), entry()),
        at(16 * 1024 - 1, |entry, text| entry.meta("n", text), entry()),
        at(1024, |_, text| Entry::tombstone(text), entry()),
    ] {
        topic.publish(passes).await.unwrap();
        let error = topic.publish(fails).await.unwrap_err();
        assert_eq!(error.code(), "too-large");
    }
}

#[tokio::test]
async fn topic_010_a_topic_is_created_only_if_that_is_allowed() {
    let (topics, _topic) = topic(Settings::default()).await;
    let mut declared = Settings::default();
    declared.auto_create = false;
    let error = topics
        .topic("payments", declared.clone())
        .await
        .unwrap_err();
    assert_eq!(error.code(), "unknown-topic");
    let created = topics.topic("payments", Settings::default()).await.unwrap();
    // It is open with other settings.
    let error = topics
        .topic("payments", declared.clone())
        .await
        .unwrap_err();
    assert_eq!(error.code(), "config-conflict");
    drop(created);
    let payments = topics.topic("payments", declared).await.unwrap();
    payments.publish(text("a")).await.unwrap();
    let error = topics
        .topic("_payments", Settings::default())
        .await
        .unwrap_err();
    assert_eq!(error.code(), "bad-name");
}

#[tokio::test]
async fn topic_005_006_an_id_is_stored_once_within_its_window() {
    let mut settings = Settings::default();
    settings.dedup_window = Duration::from_millis(100);
    let (_topics, topic) = topic(settings).await;
    let publish = || topic.publish(Entry::value("a").dedup("id"));
    let first = publish().await.unwrap();
    let mut again = publish().await.unwrap();
    while again.duplicate {
        assert_eq!((again.position, again.time), (first.position, first.time));
        sleep(Duration::from_millis(20)).await;
        again = publish().await.unwrap();
    }
    assert_eq!(again.offset, 2);
    assert!(again.time >= first.time + 100);
}

#[tokio::test]
async fn topic_008_a_conflict_names_the_last_offset() {
    let (_topics, topic) = topic(Settings::default()).await;
    let producer = topic.producer();
    let entries = || [Entry::value("a"), Entry::value("b")];
    assert_eq!(
        producer.publish_after(0, entries()).await.unwrap()[1].offset,
        2
    );
    let error = producer.publish_after(0, entries()).await.unwrap_err();
    assert!(
        matches!(error, TopicError::Conflict { last: 2, .. }),
        "{error}"
    );
    assert_eq!(topic.bounds().await.unwrap().last, 2);
    topic.publish_after(2, entries()).await.unwrap();
}

#[tokio::test]
async fn topic_013_with_the_store_away_publishing_fails_in_time() {
    let (faulty, store) = Faulty::new().store();
    let topics = Topics::open(store);
    let topic = topics.topic("orders", impatient()).await.unwrap();
    faulty.away.store(true, Ordering::SeqCst);
    let error = topic.publish(text("a")).await.unwrap_err();
    assert_eq!(error.code(), "backend-unavailable");
    let error = topic.bounds().await.unwrap_err();
    assert_eq!(error.code(), "backend-unavailable");
    faulty.away.store(false, Ordering::SeqCst);
    topic.publish(text("a")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn more_than_the_queue_holds_waits_and_is_refused_at_its_deadline() {
    let (faulty, store) = Faulty::new().store();
    let topics = Topics::open(store);
    // Room for one record, by count or by bytes.
    for (records, bytes) in [(1, 1 << 20), (10, 100)] {
        let mut settings = impatient();
        settings.queued_records = records;
        settings.queued_bytes = bytes;
        let topic = topics
            .topic(format!("orders {bytes}"), settings)
            .await
            .unwrap();
        let long = "x".repeat(60);
        faulty.away.store(true, Ordering::SeqCst);
        let mut first = std::pin::pin!(topic.publish(text(&long)));
        tokio::select! {
            biased;
            outcome = &mut first => panic!("the store is away: {outcome:?}"),
            () = std::future::ready(()) => {}
        }
        // Both are at their deadlines together, and the first has its place until then.
        let (second, first) = tokio::join!(biased; topic.publish(text(&long)), first);
        assert_eq!(second.unwrap_err().code(), "busy");
        assert_eq!(first.unwrap_err().code(), "backend-unavailable");
        faulty.away.store(false, Ordering::SeqCst);
        // A batch that is larger than the queue has all of it.
        fill(&topic, 1, 100).await;
    }
}

#[tokio::test]
async fn topic_098_a_publication_that_is_dropped_gives_its_place_back() {
    let (faulty, store) = Faulty::new().store();
    let topics = Topics::open(store);
    let mut settings = Settings::default();
    settings.queued_records = 1;
    let topic = topics.topic("orders", settings).await.unwrap();
    for _ in 0..10 {
        faulty.away.store(true, Ordering::SeqCst);
        // One waits for the store, and one for its place.
        let mut first = std::pin::pin!(topic.publish(text("lost")));
        let mut second = std::pin::pin!(topic.publish(text("lost")));
        tokio::select! {
            biased;
            outcome = &mut first => panic!("the store is away: {outcome:?}"),
            outcome = &mut second => panic!("there is no place: {outcome:?}"),
            () = std::future::ready(()) => {}
        }
        faulty.away.store(false, Ordering::SeqCst);
    }
    fill(&topic, 1, 1).await;
    let mut reader = topic.reader(Start::Earliest, OnLoss::Fail).await.unwrap();
    assert_eq!(numbers(&mut reader, 1).await, [1]);
}

#[tokio::test]
async fn a_deadline_may_be_as_long_as_it_likes() {
    let mut settings = Settings::default();
    settings.deadline = Duration::MAX;
    let (_topics, topic) = topic(settings).await;
    fill(&topic, 1, 3).await;
    assert_eq!(topic.bounds().await.unwrap().last, 3);
}

#[tokio::test]
async fn topic_014_a_publication_has_its_position_and_time() {
    let (_topics, topic) = topic(Settings::default()).await;
    let published = [
        topic.publish(text("a")).await.unwrap(),
        topic.publish(text("b")).await.unwrap(),
    ];
    let mut reader = topic.reader(Start::Earliest, OnLoss::Fail).await.unwrap();
    for published in published {
        let message = message(&mut reader).await;
        assert_eq!(message.position(), published.position);
        assert_eq!(
            (message.offset(), message.time()),
            (published.offset, published.time)
        );
        assert!(!published.duplicate);
    }
    assert!(published[0].time <= published[1].time);
    assert!(published[0].position.to_string() < published[1].position.to_string());
}

#[tokio::test]
async fn topic_021_022_values_bytes_and_metadata_come_back() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Order {
        id: u64,
        at: ejson::Date,
    }
    let (topics, topic) = topic(Settings::default()).await;
    let order = Order {
        id: 7,
        at: ejson::Date::from_millis(3.0),
    };
    let value = ejson!({ "$date": "no date", "n": 1 });
    topic
        .publish(
            Entry::value(&order)
                .key("k")
                .meta("payload", "p")
                .meta("", ""),
        )
        .await
        .unwrap();
    topic.publish(value.clone()).await.unwrap();
    topic
        .publish(Entry::tombstone("id").meta("why", "gone"))
        .await
        .unwrap();
    let mut reader = topic.reader(Start::Earliest, OnLoss::Fail).await.unwrap();
    let first = message(&mut reader).await;
    assert_eq!(first.parse::<Order>().unwrap(), order);
    assert_eq!(first.key(), Some("k"));
    let meta = [("", ""), ("payload", "p")];
    assert!(
        first
            .meta()
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str()))
            .eq(meta)
    );
    assert_eq!(message(&mut reader).await.value().unwrap(), value);
    let tombstone = message(&mut reader).await;
    assert_eq!(
        (tombstone.payload(), tombstone.compact()),
        (None, Some("id"))
    );

    let mut bytes = Settings::default();
    bytes.codec = Codec::Bytes("image/png".into());
    let images = topics.topic("images", bytes).await.unwrap();
    for payload in [&b""[..], &[0, 0xff, 10]] {
        images.publish(Entry::bytes(payload)).await.unwrap();
    }
    let mut reader = images.reader(Start::Earliest, OnLoss::Fail).await.unwrap();
    assert_eq!(message(&mut reader).await.payload().unwrap(), &b""[..]);
    let second = message(&mut reader).await;
    assert_eq!(second.payload().unwrap(), &[0, 0xff, 10][..]);
    assert_eq!(second.content_type(), Some("image/png"));
    // One codec for one topic.
    let error = images.publish(text("a")).await.unwrap_err();
    assert_eq!(error.code(), "wrong-codec");
    let error = topic.publish(Entry::bytes("a")).await.unwrap_err();
    assert_eq!(error.code(), "wrong-codec");
}

#[tokio::test]
async fn what_cannot_be_decoded_is_an_error_with_its_position_and_the_reader_goes_on() {
    let (_topics, topic) = topic(Settings::default()).await;
    for entry in [Entry::value("a"), Entry::tombstone("b"), Entry::value(&3)] {
        topic.publish(entry).await.unwrap();
    }
    let mut reader = topic.reader(Start::Earliest, OnLoss::Fail).await.unwrap();
    for _ in 0..2 {
        let message = message(&mut reader).await;
        let error = message.parse::<u64>().unwrap_err();
        assert_eq!(error.code(), "not-decoded");
        assert!(error.to_string().contains(&message.position().to_string()));
    }
    assert_eq!(numbers(&mut reader, 1).await, [3]);
    // What nobody could decode is not stored.
    let mut deep = text("a");
    for _ in 0..65 {
        deep = ejson!([deep]);
    }
    for value in [deep, ejson::Value::Undefined] {
        let error = topic.publish(value).await.unwrap_err();
        assert_eq!(error.code(), "not-encoded");
    }
}

#[tokio::test]
async fn what_a_store_cannot_do_is_an_error_that_says_so() {
    let mut faulty = Faulty::new();
    faulty.features = updraft_topics::Features::default();
    let topics = Topics::open(faulty.store().1);
    let topic = topics.topic("orders", Settings::default()).await.unwrap();
    let error = topic
        .publish(Entry::value("a").dedup("id"))
        .await
        .unwrap_err();
    assert_eq!(error.code(), "unsupported");
    let error = topic
        .publish_after(0, [Entry::value("a")])
        .await
        .unwrap_err();
    assert_eq!(error.code(), "unsupported");
    let mut compacted = Settings::default();
    compacted.compaction = Some(updraft_topics::Compaction::default());
    let error = topics.topic("states", compacted).await.unwrap_err();
    assert_eq!(error.code(), "unsupported");
    topic.publish(Entry::value("a")).await.unwrap();
}
