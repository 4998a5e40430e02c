//! Topics that are kept for their groups.

use super::*;
use crate::{Compaction, OnLoss, Received, Start};

/// It is told what it has lost when it is back.
pub async fn topic_076_a_group_that_is_long_away_does_not_hold_the_topic(harness: &impl Harness) {
    let topics = patient(harness).await;
    let mut kept = Settings::default();
    kept.retention.interest = Some(Interest::default());
    let orders = topics.topic("orders", kept).await.unwrap();
    let settings = settings(&orders).inactive_after(Duration::from_millis(500));
    let group = topics.group("billing", settings).await.unwrap();
    publish(&orders, 5, 10).await;
    let began = Instant::now();
    // The default is to keep what no group holds; another one that is done holds nothing.
    let done = GroupSettings::on([&orders]).start(Start::Latest);
    topics.group("done", done).await.unwrap();
    loop {
        orders.sweep().await.unwrap();
        if orders.bounds().await.unwrap().first == 11 {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "the records are still there");
        sleep(Duration::from_millis(50)).await;
    }
    assert!(!group.stats().await.unwrap().holds_log);
    let mut member = group.member("w1");
    publish(&orders, 1, 1).await;
    assert_eq!(offsets(&gather(&mut member, 1).await), [11]);
    // A slow machine may take longer than the time after which it is inactive again.
    until(&group, "it holds the topic again", |stats| {
        stats.topics[0].lost == 10 && stats.holds_log
    })
    .await;
}

/// The group is told what it has lost.
pub async fn topic_077_a_hard_limit_of_bytes_removes_what_a_group_has_not_finished(
    harness: &impl Harness,
) {
    let topics = patient(harness).await;
    let mut kept = Settings::default();
    let interest = Interest {
        hard_bytes: Some(500),
        ..Interest::default()
    };
    kept.retention.interest = Some(interest);
    let orders = topics.topic("orders", kept).await.unwrap();
    let group = topics.group("billing", settings(&orders)).await.unwrap();
    for _ in 0..10 {
        let entry = Entry::value(&"x".repeat(98));
        orders.publish(entry).await.unwrap();
    }
    orders.sweep().await.unwrap();
    assert_eq!(orders.bounds().await.unwrap().first, 6);
    let mut member = group.member("w1");
    ack_all(&gather(&mut member, 5).await).await;
    let stats = group.stats().await.unwrap();
    assert!(
        is_finished(&stats) && stats.topics[0].lost == 5,
        "{stats:?}"
    );
}

/// Whatever a later record of the same id makes redundant.
pub async fn topic_079_what_a_group_has_not_finished_survives_compaction(harness: &impl Harness) {
    let topics = patient(harness).await;
    let mut compacted = Settings::default();
    let compaction = Compaction {
        min_lag: Duration::ZERO,
        ..Compaction::default()
    };
    compacted.compaction = Some(compaction);
    let Ok(orders) = topics.topic("orders", compacted).await else {
        assert!(!topics.store().log.features().remove);
        return;
    };
    let group = topics.group("billing", settings(&orders)).await.unwrap();
    for n in 0..4 {
        let entry = Entry::value(&n).compact("id").key("a");
        orders.publish(entry).await.unwrap();
    }
    orders.sweep().await.unwrap();
    let mut member = group.member("w1");
    let held = gather(&mut member, 4).await;
    assert_eq!(offsets(&held), [1, 2, 3, 4]);
    ack_all(&held[..2]).await;
    // Leaving writes up to where all is finished.
    member.leave().await.unwrap();
    orders.sweep().await.unwrap();
    let reader = orders.reader(Start::Earliest, OnLoss::Fail).await;
    let mut reader = reader.unwrap();
    let mut left = Vec::new();
    while let Some(received) = reader.next_held().await {
        if let Received::Message(message) = received.unwrap() {
            left.push(message.offset());
        }
    }
    assert_eq!(left, [3, 4]);
    let mut member = group.member("w2");
    let rest = gather(&mut member, 2).await;
    assert_eq!(offsets(&rest), [3, 4]);
    ack_all(&rest).await;
    until(&group, "all is finished", is_finished).await;
}
