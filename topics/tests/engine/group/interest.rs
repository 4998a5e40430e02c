//! Topics that are kept for their groups.

use updraft_topics::{Compaction, Interest, Retention, WithoutGroups};

use super::*;

/// A topic that is kept for its groups.
async fn kept(interest: Interest, max_records: Option<u64>) -> (Topics, Topic) {
    let topics = Topics::open(Memory::new());
    let mut settings = Settings::default();
    settings.retention = Retention::default();
    settings.retention.max_records = max_records;
    settings.retention.interest = Some(interest);
    let orders = topics.topic("orders", settings).await.unwrap();
    (topics, orders)
}

async fn first(topic: &Topic) -> u64 {
    topic.sweep().await.unwrap();
    topic.bounds().await.unwrap().first
}

/// Handles so many records.
async fn handle(group: &Group, count: usize) {
    let mut member = group.member("w1");
    let mut done = 0;
    while done < count {
        let deliveries = wait(&mut member, count - done).await;
        done += deliveries.len();
        ack_all(&deliveries).await;
    }
    member.leave().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn topic_075_a_record_goes_when_all_groups_have_finished_it() {
    let (topics, orders) = kept(Interest::default(), Some(2)).await;
    let one = topics
        .group("one", GroupSettings::on([&orders]))
        .await
        .unwrap();
    let two = topics
        .group("two", GroupSettings::on([&orders]))
        .await
        .unwrap();
    publish(&orders, &["a"; 10]).await;
    // The limit on records removes nothing that a group has not finished.
    assert_eq!(first(&orders).await, 1);
    handle(&one, 10).await;
    assert_eq!(first(&orders).await, 1);
    handle(&two, 4).await;
    assert_eq!(first(&orders).await, 5);
    // A group that goes does not hold the topic, and a record is gone without being asked for.
    topics.delete_group("two").await.unwrap();
    crate::eventually("all are gone", async || {
        orders.bounds().await.unwrap().first == 11
    })
    .await;
    assert_eq!(one.stats().await.unwrap().topics[0].lag, 0);
}

#[tokio::test(start_paused = true)]
async fn topic_075_a_record_is_gone_within_two_seconds() {
    let (topics, orders) = kept(Interest::default(), None).await;
    let one = group(&topics, GroupSettings::on([&orders])).await;
    let two = topics.group("shipping", GroupSettings::on([&orders])).await;
    let (mut one, mut two) = (one.member("one"), two.unwrap().member("two"));
    // At any time between two sweeps, and two times that floors are written.
    for round in 1..=20 {
        publish(&orders, &["a", "b"]).await;
        ack_all(&wait(&mut one, 9).await).await;
        ack_all(&wait(&mut two, 9).await).await;
        for member in [&mut one, &mut two] {
            ack_all(&fetch(member, 9).await).await;
        }
        let finished = tokio::time::Instant::now();
        while orders.bounds().await.unwrap().first <= round * 2 {
            assert!(finished.elapsed() <= SECOND * 2, "round {round}");
            tokio::time::sleep(SECOND / 100).await;
        }
        tokio::time::sleep(Duration::from_millis(130)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn topic_075_without_groups_records_are_kept_or_dropped() {
    for (without_groups, expected) in [(WithoutGroups::Keep, 9), (WithoutGroups::Drop, 11)] {
        let mut interest = Interest::default();
        interest.without_groups = without_groups;
        let (_topics, orders) = kept(interest, Some(2)).await;
        publish(&orders, &["a"; 10]).await;
        assert_eq!(first(&orders).await, expected);
    }
}

#[tokio::test]
async fn topic_076_a_group_that_is_long_away_does_not_hold_the_topic() {
    let (topics, orders) = kept(Interest::default(), None).await;
    let time = Duration::from_millis(500);
    let settings = || GroupSettings::on([&orders]);
    let away = topics
        .group("away", settings().inactive_after(time))
        .await
        .unwrap();
    let busy = topics
        .group("busy", settings().inactive_after(time))
        .await
        .unwrap();
    publish(&orders, &["a"; 10]).await;
    let mut member = busy.member("w1");
    ack_all(&wait(&mut member, 9).await).await;
    crate::eventually("the first group is away for too long", async || {
        first(&orders).await == 10
    })
    .await;
    // One that has members holds it, however long they take.
    tokio::time::sleep(time * 2).await;
    assert_eq!(first(&orders).await, 10);
    assert!(busy.stats().await.unwrap().holds_log);
    assert!(!away.stats().await.unwrap().holds_log);
    // When it is back, it is told what it has lost.
    let mut member = away.member("w1");
    assert_eq!(offsets(&wait(&mut member, 9).await), [10]);
    let stats = away.stats().await.unwrap();
    assert_eq!((stats.topics[0].lost, stats.holds_log), (9, true));
}

#[tokio::test(start_paused = true)]
async fn topic_077_a_hard_limit_of_bytes_removes_what_a_group_has_not_finished() {
    let mut interest = Interest::default();
    interest.hard_bytes = Some(500);
    let (topics, orders) = kept(interest, None).await;
    let group = group(&topics, GroupSettings::on([&orders])).await;
    for _ in 0..10 {
        orders.publish(Entry::value(&"x".repeat(98))).await.unwrap();
    }
    assert_eq!(first(&orders).await, 6);
    let mut member = group.member("w1");
    assert_eq!(wait(&mut member, 9).await.len(), 5);
    assert_eq!(group.stats().await.unwrap().topics[0].lost, 5);
}

#[tokio::test(start_paused = true)]
async fn topic_079_what_a_group_has_not_finished_survives_compaction() {
    let topics = Topics::open(Memory::new());
    let mut settings = Settings::default();
    let mut compaction = Compaction::default();
    compaction.min_lag = Duration::ZERO;
    settings.compaction = Some(compaction);
    let orders = topics.topic("orders", settings).await.unwrap();
    let group = group(&topics, GroupSettings::on([&orders])).await;
    for n in 0..6 {
        orders
            .publish(Entry::value(&n).compact("id"))
            .await
            .unwrap();
    }
    orders.sweep().await.unwrap();
    let mut member = group.member("w1");
    let mut deliveries = wait(&mut member, 9).await;
    deliveries.sort_by_key(|it| it.message().offset());
    assert_eq!(offsets(&deliveries), [1, 2, 3, 4, 5, 6]);
    ack_all(&deliveries[..3]).await;
    member.leave().await.unwrap();
    orders.sweep().await.unwrap();
    let mut member = group.member("w1");
    let mut left = offsets(&wait(&mut member, 9).await);
    left.sort_unstable();
    assert_eq!(left, [4, 5, 6]);
    drop(member);
    topics.delete_group("billing").await.unwrap();
    orders.sweep().await.unwrap();
    let read = orders.reader(updraft_topics::Start::Earliest, Default::default());
    let mut reader = read.await.unwrap();
    assert_eq!(crate::message(&mut reader).await.offset(), 6);
}
