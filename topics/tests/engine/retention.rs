//! What a topic gives up: by count, bytes and age, and by compaction. And snapshots.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::sleep;
use updraft_topics::{
    Compaction, Entry, Limit, Memory, OnLoss, Received, Registers, Settings, Start, Topic, Topics,
    WhenFull,
};

use crate::store::Faulty;
use crate::{eventually, fill, item, message, next, number, numbers, text, topic};

/// The numbers that a topic holds, tombstones left out.
async fn held(topic: &Topic) -> Vec<u64> {
    let mut held = Vec::new();
    let mut position = topic.seek(Start::Earliest).await.unwrap();
    loop {
        let batch = topic.read(position, Limit::default()).await.unwrap();
        if batch.messages.is_empty() {
            return held;
        }
        let values = batch
            .messages
            .iter()
            .filter(|message| message.payload().is_some());
        held.extend(values.map(number));
        position = batch.next;
    }
}

#[tokio::test]
async fn topic_073_count_and_bytes_bound_a_topic() {
    let mut settings = Settings::default();
    settings.retention.max_records = Some(10);
    let (_topics, by_count) = topic(settings).await;
    fill(&by_count, 1, 25).await;
    by_count.sweep().await.unwrap();
    assert!(held(&by_count).await.into_iter().eq(16..=25));

    let mut settings = Settings::default();
    settings.retention.max_bytes = Some(100);
    let (_topics, by_bytes) = topic(settings).await;
    // Each has ten bytes, beside its number.
    let entry = |n: u64| Entry::value(&n).key("12345678");
    by_bytes.publish_many((10..=30).map(entry)).await.unwrap();
    by_bytes.sweep().await.unwrap();
    assert!(held(&by_bytes).await.into_iter().eq(21..=30));
    by_bytes.publish(entry(31)).await.unwrap();
    // By itself, too.
    eventually("the topic was swept", async || {
        by_bytes.bounds().await.unwrap().first == 13
    })
    .await;
}

#[tokio::test]
async fn topic_073_age_bounds_a_topic() {
    let mut settings = Settings::default();
    settings.retention.max_age = Some(Duration::from_millis(200));
    let (_topics, topic) = topic(settings).await;
    fill(&topic, 1, 3).await;
    sleep(Duration::from_millis(250)).await;
    fill(&topic, 4, 5).await;
    topic.sweep().await.unwrap();
    assert!(topic.bounds().await.unwrap().first > 3);
    eventually("all are too old", async || {
        topic.bounds().await.unwrap().first == 6
    })
    .await;
}

#[tokio::test]
async fn topic_074_a_full_topic_refuses_until_it_is_trimmed() {
    for by_bytes in [false, true] {
        let mut settings = Settings::default();
        settings.retention.when_full = WhenFull::Refuse;
        if by_bytes {
            settings.retention.max_bytes = Some(30);
        } else {
            settings.retention.max_records = Some(3);
        }
        let (_topics, topic) = topic(settings).await;
        let entry = || Entry::value("12345678");
        for _ in 0..3 {
            topic.publish(entry()).await.unwrap();
        }
        topic.sweep().await.unwrap();
        assert_eq!(
            topic.publish(entry()).await.unwrap_err().code(),
            "topic-full"
        );
        topic.trim(1).await.unwrap();
        assert_eq!(
            topic
                .publish_many([entry(), entry()])
                .await
                .unwrap_err()
                .code(),
            "topic-full"
        );
        assert_eq!(topic.publish(entry()).await.unwrap().offset, 4);
    }
}

/// The others look on, and one of them goes on when it is gone.
#[tokio::test(start_paused = true)]
async fn topic_073_one_of_the_processes_that_share_a_store_sweeps_a_topic() {
    let memory = Memory::new();
    let start = async |max_records| {
        let mut faulty = Faulty::over(&memory);
        faulty.features.shared = true;
        let (faulty, store) = faulty.store();
        let topics = Topics::open(store);
        let mut settings = Settings::default();
        settings.retention.max_records = Some(max_records);
        let topic = topics.topic("orders", settings).await.unwrap();
        // Whoever comes first has the lease.
        sleep(Duration::from_secs(1)).await;
        (faulty, topics, topic)
    };
    // By what is left one sees who has swept.
    let (first, first_topics, topic) = start(20).await;
    let (_second, second_topics, second_topic) = start(10).await;
    let (_third, _third_topics, third_topic) = start(5).await;
    let held = async || {
        let bounds = third_topic.bounds().await.unwrap();
        bounds.last + 1 - bounds.first
    };
    fill(&topic, 1, 100).await;
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(held().await, 20);
    // One that is cut off is replaced after the time of the lease, and one that ends at once.
    first.away.store(true, Ordering::SeqCst);
    sleep(Duration::from_secs(8)).await;
    assert_eq!(held().await, 20);
    sleep(Duration::from_secs(8)).await;
    assert!(matches!(held().await, 10 | 5));
    first.away.store(false, Ordering::SeqCst);
    drop((first_topics, topic, second_topics, second_topic));
    sleep(Duration::from_secs(4)).await;
    assert_eq!(held().await, 5);
    // Nothing is left of a topic that was deleted.
    let leases = async || memory.scan("updraft/sweeper", "", None, 9).await.unwrap();
    assert_eq!(leases().await.len(), 1);
    third_topic.delete().await.unwrap();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(leases().await.len(), 0);
}

fn compacted(min_lag: Duration, tombstone_retention: Duration) -> Settings {
    let mut settings = Settings::default();
    let mut compaction = Compaction::default();
    compaction.min_lag = min_lag;
    compaction.tombstone_retention = tombstone_retention;
    settings.compaction = Some(compaction);
    settings
}

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn topic_078_079_the_newest_of_each_id_and_all_without_one_survive() {
    let (_topics, topic) = topic(compacted(Duration::ZERO, HOUR)).await;
    for n in 1..=50_u64 {
        let entry = Entry::value(&n);
        let entry = if n % 10 == 0 {
            entry
        } else {
            entry.compact((n % 3).to_string())
        };
        topic.publish(entry).await.unwrap();
    }
    let swept = topic.sweep().await.unwrap();
    assert_eq!((swept.compacted, swept.is_complete), (42, true));
    assert_eq!(held(&topic).await, [10, 20, 30, 40, 47, 48, 49, 50]);
    let bounds = topic.bounds().await.unwrap();
    assert_eq!((bounds.first, bounds.last, bounds.horizon), (1, 50, 0));

    let (_topics, young) = crate::topic(compacted(HOUR, HOUR)).await;
    for n in 1..=5_u64 {
        young.publish(Entry::value(&n).compact("id")).await.unwrap();
    }
    young.sweep().await.unwrap();
    assert_eq!(held(&young).await, [1, 2, 3, 4, 5]);
}

// While time stands still, no other sweep runs.
#[tokio::test(start_paused = true)]
async fn topic_078_a_long_topic_is_compacted_in_several_sweeps_which_say_so() {
    let (_topics, topic) = topic(compacted(Duration::ZERO, HOUR)).await;
    for _ in 0..30 {
        let entries = (0..1000).map(|n: u64| Entry::value(&n).compact("id"));
        topic.publish_many(entries).await.unwrap();
    }
    let mut sweeps = 0;
    let compacted = loop {
        let swept = topic.sweep().await.unwrap();
        sweeps += 1;
        if swept.is_complete {
            break swept.compacted;
        }
    };
    assert_eq!(held(&topic).await, [999]);
    assert!(compacted == 29_999 && sweeps > 1, "{compacted} {sweeps}");
}

#[tokio::test]
async fn topic_031_holes_are_no_gap_but_removed_ends_are() {
    let (_topics, topic) = topic(compacted(Duration::ZERO, Duration::ZERO)).await;
    let early = topic
        .publish(Entry::value(&1).compact("a"))
        .await
        .unwrap()
        .position;
    for n in 2..=9_u64 {
        topic.publish(Entry::value(&n).compact("b")).await.unwrap();
    }
    topic.sweep().await.unwrap();
    assert_eq!(held(&topic).await, [1, 9]);
    // Nothing that somebody who has read the first needs is missing.
    let mut reader = topic.reader(early, OnLoss::Fail).await.unwrap();
    assert_eq!(numbers(&mut reader, 1).await, [9]);
    topic.publish(Entry::tombstone("a")).await.unwrap();
    topic.publish(Entry::value(&11)).await.unwrap();
    topic.sweep().await.unwrap();
    assert_eq!(topic.bounds().await.unwrap().horizon, 10);
    assert_eq!(held(&topic).await, [9, 11]);
    // That one holds `a` for live.
    for position in [early, reader.position().unwrap()] {
        let mut reader = topic.reader(position, OnLoss::Earliest).await.unwrap();
        let Received::Gap(gap) = next(&mut reader).await else {
            panic!("not told of the end");
        };
        assert_eq!(gap.lost, 10 - position.offset());
        assert_eq!(numbers(&mut reader, 2).await, [9, 11]);
    }
    // One that is live when it happens is told as well.
    let Some(Err(error)) = item(&mut reader).await else {
        panic!("not told of the end");
    };
    assert_eq!(error.code(), "gap");
    // Who begins now has missed nothing.
    let mut fresh = topic
        .reader(Start::Earliest, OnLoss::Fail)
        .await
        .unwrap()
        .page(Limit::new(1, 1));
    assert_eq!(numbers(&mut fresh, 2).await, [9, 11]);
}

#[tokio::test]
async fn topic_080_a_tombstone_hides_its_id_at_once_and_goes_after_its_time() {
    let (_topics, topic) = topic(compacted(Duration::ZERO, Duration::from_millis(100))).await;
    topic.publish(Entry::value(&1).compact("a")).await.unwrap();
    topic.publish(Entry::value(&2).compact("b")).await.unwrap();
    let end = topic.publish(Entry::tombstone("a")).await.unwrap();
    let mut snapshot = topic.reader(Start::Snapshot, OnLoss::Fail).await.unwrap();
    assert_eq!(numbers(&mut snapshot, 1).await, [2]);
    fill(&topic, 4, 4).await;
    assert_eq!(numbers(&mut snapshot, 1).await, [4]);
    eventually("the tombstone has gone", async || {
        topic.sweep().await.unwrap();
        topic.bounds().await.unwrap().horizon == end.offset
    })
    .await;
    let mut reader = topic.reader(Start::Earliest, OnLoss::Fail).await.unwrap();
    assert_eq!(numbers(&mut reader, 2).await, [2, 4]);
}

#[tokio::test]
async fn topic_081_compaction_can_stop_and_begin_again_anywhere() {
    let settings = compacted(Duration::ZERO, Duration::ZERO);
    let memory = Memory::new();
    for n in 0..20_u64 {
        // Each time the process has just started, and is stopped in the middle.
        let topics = Topics::open(memory.clone());
        let topic = topics.topic("states", settings.clone()).await.unwrap();
        for id in 0..5 {
            topic
                .publish(Entry::value(&n).compact(id.to_string()))
                .await
                .unwrap();
        }
        topic.publish(Entry::tombstone("4")).await.unwrap();
        tokio::select! {
            biased;
            swept = topic.sweep() => assert!(swept.is_ok()),
            () = async {
                for _ in 0..n % 5 {
                    tokio::task::yield_now().await;
                }
            } => {}
        }
        let mut snapshot = topic.reader(Start::Snapshot, OnLoss::Fail).await.unwrap();
        assert_eq!(numbers(&mut snapshot, 4).await, [n; 4]);
    }
}

#[tokio::test]
async fn topic_082_a_snapshot_is_one_record_of_each_id_and_then_every_change() {
    let (_topics, topic) = topic(compacted(Duration::ZERO, HOUR)).await;
    let id = |n: u64| (n % 100).to_string();
    for n in 0..1000 {
        topic
            .publish(Entry::value(&n).compact(id(n)))
            .await
            .unwrap();
    }
    topic.publish(text("no id")).await.unwrap();
    let limit = Limit::new(7, 10_000);
    let reader = topic.reader(Start::Snapshot, OnLoss::Fail).await.unwrap();
    let mut reader = reader.page(limit);
    let (snapshot, ()) = tokio::join!(numbers(&mut reader, 150), async {
        for n in 1000..1050 {
            topic
                .publish(Entry::value(&n).compact(id(n)))
                .await
                .unwrap();
            tokio::task::yield_now().await;
        }
    });
    assert!(snapshot.iter().copied().eq(900..1050));
    // A position in the middle of a snapshot is one to go on from.
    let mut reader = topic.reader(Start::Snapshot, OnLoss::Fail).await.unwrap();
    assert!(reader.position().is_none());
    let tenth = {
        numbers(&mut reader, 9).await;
        message(&mut reader).await
    };
    let mut reader = topic.reader(tenth.position(), OnLoss::Fail).await.unwrap();
    let mut rest = Vec::new();
    while rest.last() != Some(&1049) {
        if let Ok(number) = message(&mut reader).await.parse::<u64>() {
            rest.push(number);
        }
    }
    assert!(rest.iter().all(|n| *n > number(&tenth)));
    topic.sweep().await.unwrap();
    let mut reader = topic.reader(Start::Snapshot, OnLoss::Fail).await.unwrap();
    assert!(numbers(&mut reader, 100).await.into_iter().eq(950..1050));
}

#[tokio::test]
async fn topic_045_084_a_reader_that_is_overtaken_by_a_trim_is_told() {
    let (_topics, topic) = topic(Settings::default()).await;
    fill(&topic, 1, 100).await;
    let reader = topic
        .reader(Start::Earliest, OnLoss::Earliest)
        .await
        .unwrap();
    let mut reader = reader.page(Limit::new(10, 10_000));
    assert_eq!(numbers(&mut reader, 5).await, [1, 2, 3, 4, 5]);
    topic.trim(50).await.unwrap();
    // What it has read already is still there.
    assert_eq!(numbers(&mut reader, 5).await, [6, 7, 8, 9, 10]);
    let Received::Gap(gap) = next(&mut reader).await else {
        panic!("not told");
    };
    assert_eq!((gap.requested, gap.first, gap.lost), (10, 51, 40));
    assert!(numbers(&mut reader, 50).await.into_iter().eq(51..=100));
}
