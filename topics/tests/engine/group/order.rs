//! Who gets what, and in which order.

use std::collections::BTreeMap;

use updraft_topics::{OnPoison, Order};

use super::*;

#[tokio::test(start_paused = true)]
async fn topic_047_without_order_each_record_goes_to_one_member() {
    let (topics, orders) = orders().await;
    let group = group(&topics, GroupSettings::on([&orders]).order(Order::None)).await;
    publish(&orders, &["same"; 200]).await;
    let (mut first, mut second) = (group.member("first"), group.member("second"));
    let mut seen = Vec::new();
    while seen.len() < 200 {
        let (one, two) = (fetch(&mut first, 7).await, fetch(&mut second, 7).await);
        assert!(!one.is_empty());
        seen.extend(offsets(&one).into_iter().chain(offsets(&two)));
        ack_all(&two).await;
        ack_all(&one).await;
    }
    seen.sort_unstable();
    assert!(seen.into_iter().eq(1..=200));
    let stats = group.stats().await.unwrap();
    assert_eq!((stats.topics[0].lag, stats.pending), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn topic_059_of_two_topics_a_fetch_gets_in_turns_and_no_more_than_its_limit() {
    let (topics, orders) = orders().await;
    let other = topics.topic("other", Settings::default()).await.unwrap();
    let group = group(&topics, GroupSettings::on([&orders, &other])).await;
    publish(&orders, &[""; 40]).await;
    publish(&other, &[""; 40]).await;
    let mut member = group.member("w1");
    // When it has read both.
    fetch(&mut member, 1).await[0].nack(None).await.unwrap();
    tokio::time::sleep(SECOND).await;
    let mut seen: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for _ in 0..10 {
        let deliveries = wait(&mut member, 8).await;
        assert_eq!(deliveries.len(), 8);
        let of_orders = deliveries.iter().filter(|it| it.topic() == orders.name());
        assert_eq!(of_orders.count(), 4);
        for delivery in &deliveries {
            let topic = delivery.topic().to_string();
            seen.entry(topic)
                .or_default()
                .push(delivery.message().offset());
        }
        ack_all(&deliveries).await;
    }
    for offsets in seen.values_mut() {
        offsets.sort_unstable();
        assert!(offsets.iter().copied().eq(1..=40));
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_is_with_one_member_in_all_topics() {
    let (topics, orders) = orders().await;
    let other = topics.topic("other", Settings::default()).await.unwrap();
    let group = group(&topics, GroupSettings::on([&orders, &other])).await;
    publish(&orders, &["a"]).await;
    let (mut first, mut second) = (group.member("first"), group.member("second"));
    let deliveries = wait(&mut first, 1).await;
    publish(&other, &["a", "b"]).await;
    assert_eq!(keys(&fetch(&mut second, 9).await), ["b"]);
    ack_all(&deliveries).await;
    assert_eq!(keys(&fetch(&mut second, 9).await), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn topic_060_limits_hold_when_fetches_race() {
    let (topics, orders) = orders().await;
    let settings = GroupSettings::on([&orders]).max_in_flight(20).per_member(6);
    let group = group(&topics, settings).await;
    publish(&orders, &[""; 100]).await;
    let mut members: Vec<_> = (0..5).map(|n| group.member(&n.to_string())).collect();
    let mut has = Vec::new();
    for _ in 0..4 {
        let fetches = members.iter_mut().map(|member| Box::pin(fetch(member, 4)));
        let mut fetches: Vec<_> = fetches.collect();
        for fetch in &mut fetches {
            has.push(fetch.await);
        }
    }
    let counts: Vec<usize> = (0..5)
        .map(|member| has.iter().skip(member).step_by(5).map(Vec::len).sum())
        .collect();
    assert_eq!(counts.iter().sum::<usize>(), 20);
    assert!(counts.iter().all(|count| *count <= 6), "{counts:?}");
    assert_eq!(group.stats().await.unwrap().pending, 20);
    ack_all(&has.concat()).await;
    assert_eq!(fetch(&mut members[0], 100).await.len(), 6);
}

#[tokio::test(start_paused = true)]
async fn topic_063_with_total_order_one_batch_is_out_at_a_time() {
    let (topics, orders) = orders().await;
    let group = group(&topics, GroupSettings::on([&orders]).order(Order::Total)).await;
    publish(&orders, &["a", "b", "", "a", "c"]).await;
    let (mut first, mut second) = (group.member("first"), group.member("second"));
    let batch = wait(&mut first, 3).await;
    assert_eq!(offsets(&batch), [1, 2, 3]);
    assert!(fetch(&mut second, 9).await.is_empty());
    assert_eq!(batch[1].ack().await.unwrap_err().code(), "out-of-order");
    ack_all(&batch[..2]).await;
    assert!(fetch(&mut second, 9).await.is_empty());
    // The first member pauses for too long.
    let rest = wait(&mut second, 9).await;
    assert_eq!(offsets(&rest), [3, 4, 5]);
    assert_eq!(batch[2].ack().await.unwrap_err().code(), "stale");
    ack_all(&rest).await;
}

#[tokio::test(start_paused = true)]
async fn topic_068_a_stuck_key_holds_no_other_until_there_is_no_more_room() {
    let (topics, orders) = orders().await;
    let settings = GroupSettings::on([&orders])
        .max_open(50)
        .ack_wait(LONG * 24);
    let group = group(&topics, settings).await;
    publish(&orders, &["stuck"]).await;
    let mut stuck = group.member("stuck");
    let held = wait(&mut stuck, 1).await;
    publish(&orders, &["free"; 10]).await;
    let mut member = group.member("w1");
    let others = wait(&mut member, 99).await;
    assert_eq!(keys(&others), ["free"; 10]);
    ack_all(&others).await;
    // What is behind the stuck one of its key fills its slot. Keys of other slots go on.
    publish(&orders, &["stuck"; 60]).await;
    publish(&orders, &["free"; 10]).await;
    let others = wait(&mut member, 99).await;
    assert_eq!(keys(&others), ["free"; 10]);
    ack_all(&others).await;
    assert!(fetch(&mut member, 99).await.is_empty());
    held[0].nack(Some(LONG)).await.unwrap();
    crate::eventually("the slot is said to stand still", async || {
        group.stats().await.unwrap().stalled_slots == 1
    })
    .await;
    let mut seen = 0;
    while seen < 61 {
        let deliveries = wait(&mut member, 99).await;
        seen += deliveries.len();
        ack_all(&deliveries).await;
    }
}

#[tokio::test(start_paused = true)]
async fn topic_069_what_comes_again_comes_before_what_is_new_of_its_key() {
    let (topics, orders) = orders().await;
    let group = group(&topics, GroupSettings::on([&orders])).await;
    publish(&orders, &["a", "a"]).await;
    let (mut first, mut second) = (group.member("first"), group.member("second"));
    let lost = wait(&mut first, 9).await;
    assert_eq!(offsets(&lost), [1, 2]);
    publish(&orders, &["a", "a"]).await;
    assert!(fetch(&mut second, 9).await.is_empty());
    drop(first);
    let again = wait(&mut second, 9).await;
    assert_eq!(offsets(&again), [1, 2, 3, 4]);
    // The first fails: the others wait for it, and theirs do not count.
    again[0].nack(Some(SECOND * 5)).await.unwrap();
    assert!(again.iter().all(|delivery| !delivery.is_current()));
    assert_eq!(again[1].ack().await.unwrap_err().code(), "stale");
    assert!(fetch(&mut second, 9).await.is_empty());
    let again = wait(&mut second, 9).await;
    assert_eq!(offsets(&again), [1, 2, 3, 4]);
    let counts: Vec<_> = again.iter().map(Delivery::deliveries).collect();
    assert_eq!(counts, [2, 1, 1, 1]);
    // One in the middle fails: those before it can still be answered.
    again[2].nack(None).await.unwrap();
    assert!(fetch(&mut second, 9).await.is_empty());
    ack_all(&again[..2]).await;
    let again = wait(&mut second, 9).await;
    assert_eq!(offsets(&again), [3, 4]);
}

#[tokio::test(start_paused = true)]
async fn topic_069_what_comes_again_comes_first_and_in_the_order_of_its_offsets() {
    let (topics, orders) = orders().await;
    let group = group(&topics, GroupSettings::on([&orders]).order(Order::None)).await;
    publish(&orders, &[""; 10]).await;
    let mut member = group.member("w1");
    let deliveries = wait(&mut member, 5).await;
    let mut nacked = offsets(&deliveries);
    nacked.sort_unstable();
    for delivery in deliveries {
        delivery.nack(Some(SECOND)).await.unwrap();
    }
    let others = wait(&mut member, 2).await;
    tokio::time::sleep(SECOND * 2).await;
    let again = wait(&mut member, 8).await;
    assert_eq!(offsets(&again[..5]), nacked);
    assert_eq!((others.len(), again.len()), (2, 8));
}

#[tokio::test(start_paused = true)]
async fn topic_070_a_poisoned_record_holds_its_key_or_is_set_aside() {
    let (topics, orders) = orders().await;
    for (name, what) in [("park", OnPoison::Park), ("block", OnPoison::Block)] {
        let settings = GroupSettings::on([&orders])
            .max_deliveries(2)
            .on_poison(what);
        topics.group(name, settings).await.unwrap();
    }
    publish(&orders, &["a", "a", "b"]).await;
    for (name, next) in [("park", vec![2]), ("block", vec![1])] {
        let group = topics.find_group(name).await.unwrap();
        let mut member = group.member("w1");
        for _ in 0..2 {
            let mut deliveries = wait(&mut member, 9).await;
            deliveries.sort_by_key(|it| it.message().offset());
            if deliveries.len() == 3 {
                deliveries[2].ack().await.unwrap();
            }
            deliveries[0].nack(None).await.unwrap();
        }
        let deliveries = wait(&mut member, 1).await;
        assert_eq!(offsets(&deliveries), next, "{name}");
        assert_eq!(
            deliveries[0].deliveries(),
            if name == "park" { 1 } else { 3 }
        );
        ack_all(&deliveries).await;
    }
}

#[tokio::test(start_paused = true)]
async fn topic_071_a_later_record_of_a_key_cannot_be_acknowledged_first() {
    let (topics, orders) = orders().await;
    let group = group(&topics, GroupSettings::on([&orders])).await;
    publish(&orders, &["a", "b", "a", "a"]).await;
    let mut member = group.member("w1");
    let mut all = wait(&mut member, 9).await;
    all.sort_by_key(|it| it.message().offset());
    assert_eq!(all[3].ack().await.unwrap_err().code(), "out-of-order");
    assert_eq!(all[2].ack().await.unwrap_err().code(), "out-of-order");
    assert!(all.iter().all(Delivery::is_current));
    for index in [1, 0, 2, 3] {
        all[index].ack().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn topic_072_records_without_a_key_go_to_whoever_is_free() {
    let (topics, orders) = orders().await;
    let group = group(&topics, GroupSettings::on([&orders])).await;
    let mut members: Vec<_> = (0..4).map(|n| group.member(&n.to_string())).collect();
    publish(&orders, &[""; 8]).await;
    let mut held = Vec::new();
    for member in &mut members {
        held.push(wait(member, 2).await);
    }
    assert!(held.iter().all(|deliveries| deliveries.len() == 2));
    // One that comes or leaves makes nobody wait.
    publish(&orders, &[""; 2]).await;
    let mut newcomer = group.member("newcomer");
    assert_eq!(wait(&mut newcomer, 9).await.len(), 2);
    newcomer.leave().await.unwrap();
    for deliveries in &held {
        ack_all(deliveries).await;
    }
    assert_eq!(wait(&mut members[0], 9).await.len(), 2);
}
