//! Statistics.

use updraft_topics::{Compaction, Registers, Retention, Swap};

use super::*;

async fn lag(group: &Group) -> (u64, u64) {
    let stats = group.stats().await.unwrap();
    (stats.topics[0].lag, stats.pending)
}

#[tokio::test(start_paused = true)]
async fn topic_061_106_lag_and_pending_are_exact() {
    let (topics, orders) = orders().await;
    let group = group(&topics, GroupSettings::on([&orders])).await;
    let stats = group.stats().await.unwrap();
    assert_eq!(
        (stats.pending, stats.parked, stats.topics[0].lag),
        (0, 0, 0)
    );
    assert_eq!((stats.oldest_pending, stats.processes), (None, 0));
    publish(&orders, &["a", "b", "c", "a"]).await;
    // Nobody has ever fetched from it.
    let stats = group.stats().await.unwrap();
    assert_eq!(stats.topics[0].lag, 4);
    assert!(stats.topics[0].oldest_undelivered.is_some());
    assert!(stats.members.is_empty());

    let mut member = group.member("w1");
    let mut all = wait(&mut member, 3).await;
    assert_eq!(lag(&group).await, (1, 3));
    assert!(group.stats().await.unwrap().oldest_pending.is_some());
    crate::eventually("the member is known", async || {
        let members = group.stats().await.unwrap().members;
        members.iter().any(|it| it.name == "w1" && it.pending == 3)
    })
    .await;
    all.sort_by_key(|it| it.message().offset());
    all[0].ack().await.unwrap();
    assert_eq!(lag(&group).await, (1, 2));
    all[1].nack(Some(SECOND)).await.unwrap();
    assert_eq!(lag(&group).await, (2, 1));
    all[2].reject("no").await.unwrap();
    crate::eventually("it is parked", async || lag(&group).await == (2, 0)).await;
    publish(&orders, &["d"]).await;
    assert_eq!(lag(&group).await, (3, 0));
    while lag(&group).await != (0, 0) {
        ack_all(&wait(&mut member, 9).await).await;
    }
    let stats = group.stats().await.unwrap();
    assert_eq!((stats.parked, stats.redeliveries), (1, 1));
    assert_eq!(
        (stats.topics[0].oldest_undelivered, stats.topics[0].last),
        (None, 5)
    );
    crate::eventually("the floor rises", async || {
        group.stats().await.unwrap().topics[0].floor == 5
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn topic_061_lag_is_exact_after_trims_and_what_is_lost_is_told() {
    let (topics, orders) = orders().await;
    let group = group(&topics, GroupSettings::on([&orders])).await;
    publish(&orders, &["a", "b", "c", "d", "e"]).await;
    // Before anybody has read.
    orders.trim(2).await.unwrap();
    let mut member = group.member("w1");
    let first = wait(&mut member, 1).await;
    let stats = group.stats().await.unwrap();
    assert_eq!(
        (stats.topics[0].lost, stats.topics[0].lag, stats.pending),
        (2, 2, 1)
    );
    // What was read can be handled after it was trimmed.
    orders.trim(4).await.unwrap();
    ack_all(&first).await;
    let rest = wait(&mut member, 9).await;
    assert_eq!(rest.len(), 2);
    ack_all(&rest).await;
    assert_eq!(lag(&group).await, (0, 0));
}

#[tokio::test(start_paused = true)]
async fn topic_061_holes_of_compaction_do_not_count() {
    let topics = Topics::open(Memory::new());
    let mut settings = Settings::default();
    let mut compaction = Compaction::default();
    compaction.min_lag = Duration::ZERO;
    settings.compaction = Some(compaction);
    settings.retention = Retention::default();
    let orders = topics.topic("orders", settings).await.unwrap();
    for n in 0..10 {
        let id = if n % 2 == 0 { "even" } else { "odd" };
        orders.publish(Entry::value(&n).compact(id)).await.unwrap();
    }
    orders.sweep().await.unwrap();
    let group = group(&topics, GroupSettings::on([&orders])).await;
    assert_eq!(lag(&group).await, (2, 0));
    let mut member = group.member("w1");
    ack_all(&wait(&mut member, 9).await).await;
    assert_eq!(lag(&group).await, (0, 0));
}

#[tokio::test(start_paused = true)]
async fn topic_106_statistics_make_no_topic_that_is_not_there() {
    let (topics, orders) = orders().await;
    let group = group(&topics, GroupSettings::on([&orders])).await;
    publish(&orders, &["a", "b"]).await;
    let name = orders.name().clone();
    drop(orders);
    topics.delete(&name).await.unwrap();
    let stats = group.stats().await.unwrap();
    assert_eq!((stats.topics[0].lag, stats.topics[0].last), (0, 0));
    assert!(topics.list("", None, 9).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn topic_106_who_has_crashed_is_not_counted_when_nobody_is_left() {
    let memory = Memory::new();
    let topics = Topics::open(memory.clone());
    let orders = topics.topic("orders", Settings::default()).await.unwrap();
    let group = group(&topics, GroupSettings::on([&orders])).await;
    let mut member = group.member("w1");
    assert!(fetch(&mut member, 1).await.is_empty());
    let stats = group.stats().await.unwrap();
    assert_eq!((stats.processes, stats.members.len()), (1, 1));
    // It was last heard of long ago.
    for (key, register) in memory.scan("processes", "", None, 9).await.unwrap() {
        let swap = Swap::write(key, Some(register.version), "10000 1").unwrap();
        memory.swap(vec![swap]).await.unwrap();
    }
    let stats = group.stats().await.unwrap();
    assert_eq!((stats.processes, stats.members.len()), (0, 0));
}
