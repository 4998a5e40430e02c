//! What a group is, where it begins, and what it says of itself.

use super::*;
use crate::Start;

/// Whoever creates it, whoever looks at it, and also when it is removed.
pub async fn topic_048_061_066_106_a_group_begins_where_it_says_and_counts_what_is_left(
    harness: &impl Harness,
) {
    let topics = patient(harness).await;
    let orders = orders(&topics).await;
    publish(&orders, 5, 10).await;
    let all = topics.group("all", settings(&orders)).await.unwrap();
    let late = settings(&orders).start(Start::Latest);
    let late = topics.group("late", late).await.unwrap();
    publish(&orders, 5, 5).await;
    // Nobody has fetched from them.
    let lag = async |group: &Group| {
        let stats = group.stats().await.unwrap();
        (stats.topics[0].lag, stats.pending, stats.parked)
    };
    assert_eq!(lag(&all).await, (15, 0, 0));
    assert_eq!(lag(&late).await, (5, 0, 0));
    let stats = late.stats().await.unwrap();
    assert!(stats.topics[0].oldest_undelivered.is_some() && stats.oldest_pending.is_none());
    let other = settings(&orders).max_in_flight(7);
    let error = topics.group("all", other).await.unwrap_err();
    assert_eq!(error.code(), "group-conflict");
    assert!(error.to_string().contains("max_in_flight"), "{error}");
    assert_eq!(topics.groups().await.unwrap(), ["all", "late"]);
    let error = topics.find_group("lats").await.unwrap_err();
    assert!(error.to_string().contains("`late`"), "{error}");

    let mut member = late.member("w1");
    let mut held = gather(&mut member, 5).await;
    held.sort_by_key(|delivery| delivery.message().offset());
    assert_eq!(offsets(&held), [11, 12, 13, 14, 15]);
    assert_eq!(lag(&late).await, (0, 5, 0));
    assert!(late.stats().await.unwrap().oldest_pending.is_some());
    held[0].ack().await.unwrap();
    held[1].nack(Some(PATIENCE)).await.unwrap();
    held[2].reject("no").await.unwrap();
    // The letter is written before the record is finished.
    until(&late, "one is parked", |stats| {
        (stats.topics[0].lag, stats.pending, stats.parked) == (1, 2, 1)
    })
    .await;
    until(&late, "the member is known", |stats| {
        let mut members = stats.members.iter();
        members.any(|member| member.name == "w1" && member.pending == 2)
    })
    .await;
    // What was removed from the topic is not waited for.
    orders.trim(10).await.unwrap();
    let mut member = all.member("w1");
    let left = gather(&mut member, 5).await;
    assert_eq!(left.len(), 5);
    ack_all(&left).await;
    until(&all, "what is left is finished", is_finished).await;

    assert!(topics.delete_group("late").await.unwrap());
    assert!(!topics.delete_group("late").await.unwrap());
    assert_eq!(held[3].ack().await.unwrap_err().code(), "stale");
    assert_eq!(late.stats().await.unwrap_err().code(), "unknown-group");
    assert_eq!(topics.groups_of(orders.name()).await.unwrap(), ["all"]);
}

/// And has no more than its limit of both together.
pub async fn topic_059_060_two_topics_are_read_in_turns(harness: &impl Harness) {
    let topics = patient(harness).await;
    let orders = orders(&topics).await;
    let returns = topics.topic("returns", Settings::default()).await.unwrap();
    for topic in [&orders, &returns] {
        let entries = (0..60).map(|n| Entry::value(&n));
        topic.publish_many(entries).await.unwrap();
    }
    let settings = GroupSettings::on([&orders, &returns]);
    let settings = settings.ack_wait(PATIENCE * 10).max_in_flight(8);
    let group = topics.group("billing", settings).await.unwrap();
    let (mut member, mut other) = (group.member("w1"), group.member("w2"));
    let (mut finished, mut in_turns) = (0, 0);
    while finished < 120 {
        let deliveries = fetch(&mut member, 99).await;
        assert!(deliveries.len() <= 8);
        if deliveries.len() == 8 {
            let others = timeout(PATIENCE, other.fetch_now(99)).await.unwrap();
            assert!(others.unwrap().is_empty());
            let of_orders = deliveries.iter().filter(|it| it.topic() == orders.name());
            in_turns += usize::from(of_orders.count() == 4);
        }
        finished += deliveries.len();
        ack_all(&deliveries).await;
    }
    assert!(in_turns > 0);
    until(&group, "all is finished", is_finished).await;
}
