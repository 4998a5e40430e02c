//! Topics over the file: what readers are told after a restart.

use updraft_protocol::ejson::Value;

use super::*;
use crate::{
    Compaction, Entry, GroupSettings, Message, OnLoss, Position, Reader, Received, Reset,
    ResetReason, Settings, Topic, Topics,
};

/// The topic, and what must be kept as long as it is used.
async fn orders(store: &FileStore, settings: Settings) -> (Topics, Topic) {
    let topics = Topics::open(store.clone());
    let topic = topics.topic("orders", settings).await.unwrap();
    (topics, topic)
}

async fn publish(orders: &Topic, numbers: std::ops::RangeInclusive<u64>) -> Position {
    let entries = numbers.map(|n| Entry::value(&n));
    let published = orders.publish_many(entries).await.unwrap();
    published.last().unwrap().position
}

async fn message(reader: &mut Reader) -> Message {
    match reader.next().await.unwrap().unwrap() {
        Received::Message(message) => message,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn topic_023_024_a_reader_goes_on_after_a_restart() {
    let folder = Folder::new("topics");
    let path = folder.file("store");
    let (store, _) = open(&path).await;
    let (_topics, topic) = orders(&store, Settings::default()).await;
    let position = publish(&topic, 1..=3).await;
    publish(&topic, 4..=5).await;
    store.close().await;

    let (store, _) = open(&path).await;
    let (_topics, topic) = orders(&store, Settings::default()).await;
    let mut reader = topic.reader(position, OnLoss::Fail).await.unwrap();
    for number in 4..=5 {
        assert_eq!(message(&mut reader).await.parse::<u64>().unwrap(), number);
    }
    let (live, _) = tokio::join!(message(&mut reader), publish(&topic, 6..=6));
    assert_eq!(live.parse::<u64>().unwrap(), 6);
}

/// What its members had and did not answer comes again, and nothing else.
#[tokio::test]
async fn topic_049_085_a_group_goes_on_after_a_restart() {
    let folder = Folder::new("topics");
    let path = folder.file("store");
    let (store, _) = open(&path).await;
    let lease = Duration::from_millis(200);
    {
        let topics = Topics::open(store.clone()).with_lease(lease);
        let topic = topics.topic("orders", Settings::default()).await.unwrap();
        let entries = (1..=20_u64).map(|n| Entry::value(&n).key(format!("key {n}")));
        topic.publish_many(entries).await.unwrap();
        let group = topics
            .group("billing", GroupSettings::on([&topic]))
            .await
            .unwrap();
        let mut member = group.member("w1");
        let mut held = Vec::new();
        while held.len() < 20 {
            held.extend(member.fetch(20).await.unwrap());
        }
        held.sort_by_key(|delivery| delivery.message().offset());
        for delivery in &held[..10] {
            delivery.ack().await.unwrap();
        }
        held[10].reject("no").await.unwrap();
        while group.stats().await.unwrap().topics[0].lag > 0 {
            tokio::task::yield_now().await;
        }
        // The store is gone before the members can say that they go.
        store.close().await;
    }
    let (store, _) = open(&path).await;
    let topics = Topics::open(store.clone()).with_lease(lease);
    let group = topics.find_group("billing").await.unwrap();
    let mut member = group.member("w2");
    let mut left = Vec::new();
    while left.len() < 9 {
        for delivery in member.fetch(20).await.unwrap() {
            left.push(delivery.message().offset());
            delivery.ack().await.unwrap();
        }
    }
    left.sort_unstable();
    assert!(left.into_iter().eq(12..=20));
    let stats = group.stats().await.unwrap();
    assert_eq!(
        (stats.topics[0].lag, stats.pending, stats.parked),
        (0, 0, 1)
    );
}

/// The file was replaced by an older copy of it.
#[tokio::test]
async fn topic_027_028_a_reader_is_told_that_the_store_is_an_older_one() {
    let folder = Folder::new("topics");
    let path = folder.file("store");
    let (store, _) = open(&path).await;
    let (_topics, topic) = orders(&store, Settings::default()).await;
    let kept = publish(&topic, 1..=3).await;
    store.close().await;
    fs::copy(&path, folder.file("copy")).unwrap();
    let (store, _) = open(&path).await;
    let (_topics, topic) = orders(&store, Settings::default()).await;
    let lost = publish(&topic, 4..=5).await;
    store.close().await;
    fs::copy(folder.file("copy"), &path).unwrap();

    let (store, _) = open(&path).await;
    let (_topics, topic) = orders(&store, Settings::default()).await;
    assert_eq!(reset(&topic, lost).await, ResetReason::Ahead);
    publish(&topic, 6..=8).await;
    assert_eq!(reset(&topic, lost).await, ResetReason::Diverged);
    let mut reader = topic.reader(kept, OnLoss::Fail).await.unwrap();
    assert_eq!(message(&mut reader).await.parse::<u64>().unwrap(), 6);
}

async fn reset(topic: &Topic, position: Position) -> ResetReason {
    let error = topic.read(position, Limit::default()).await.unwrap_err();
    match error {
        TopicError::Reset(Reset { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

/// Whatever was removed when the process was killed: the latest record of each id is there.
#[tokio::test]
async fn topic_078_081_a_compaction_that_is_killed_loses_no_latest_record() {
    let folder = Folder::new("topics");
    let path = folder.file("store");
    let settings = || Settings {
        compaction: Some(Compaction {
            min_lag: Duration::ZERO,
            ..Compaction::default()
        }),
        ..Settings::default()
    };
    let mut held = 0;
    for round in 0_u64..10 {
        let (store, disk) = open(&path).await;
        let (_topics, topic) = orders(&store, settings()).await;
        let entries = (0..300).map(|n| {
            let id = format!("id {}", n % 20);
            Entry::value(&Value::from(format!("{round} {n}"))).compact(id)
        });
        topic.publish_many(entries).await.unwrap();
        // After a few more writes the process is as good as dead.
        disk.faults.fill(round * 20_000);
        drop(topic.sweep().await);
        disk.faults.cut();
        store.close().await;

        let (store, _) = open(&path).await;
        let (orders, bounds) = super::topic(&store, "orders").await;
        assert_eq!(bounds.last, (round + 1) * 300);
        let mut latest = std::collections::BTreeMap::new();
        let mut next = 0;
        held = 0;
        while next < bounds.last {
            for record in read(&store, &orders, next).await.unwrap() {
                held += 1;
                next = record.offset;
                latest.insert(record.content.compact, record.offset);
            }
        }
        let latest: Vec<_> = latest.into_values().collect();
        let mut expected: Vec<_> = (bounds.last - 19..=bounds.last).collect();
        expected.sort_by_key(|offset| format!("id {}", (offset - 1) % 300 % 20));
        assert_eq!(latest, expected);
        store.close().await;
    }
    assert!((20..3000).contains(&held), "nothing was compacted: {held}");
}
