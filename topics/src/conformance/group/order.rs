//! In which order records are handed out.

use super::*;
use crate::{OnPoison, Order};

/// Each gets what it can have, and no member more than its limit, nor all together.
pub async fn topic_060_072_records_without_a_key_go_to_whoever_is_free(harness: &impl Harness) {
    let topics = patient(harness).await;
    let orders = orders(&topics).await;
    let settings = settings(&orders).per_member(3).max_in_flight(8);
    let group = topics.group("billing", settings).await.unwrap();
    let entries = (0..40).map(|n| Entry::value(&n));
    orders.publish_many(entries).await.unwrap();
    let mut members: Vec<_> = (0..4).map(|n| group.member(&format!("w{n}"))).collect();
    let (mut finished, mut most) = (0, 0);
    while finished < 40 {
        let [one, two, three, four] = &mut *members else {
            panic!("four members");
        };
        let fetched = tokio::join!(
            one.fetch_now(9),
            two.fetch_now(9),
            three.fetch_now(9),
            four.fetch_now(9)
        );
        let fetched = [fetched.0, fetched.1, fetched.2, fetched.3].map(Result::unwrap);
        assert!(fetched.iter().all(|deliveries| deliveries.len() <= 3));
        let all: Vec<_> = fetched.into_iter().flatten().collect();
        assert!(all.len() <= 8);
        most = most.max(all.len());
        finished += all.len();
        ack_all(&all).await;
    }
    assert!(most > 3, "only one member had any");
    until(&group, "all is finished", is_finished).await;
}

/// Neither now nor when its owner stands still, which is shut out then.
pub async fn topic_063_with_total_order_one_batch_is_out_at_a_time(harness: &impl Harness) {
    let store = harness.open().await;
    let other = second(harness, &store).await;
    let channels = channels();
    let total = |it: GroupSettings| it.order(Order::Total).ack_wait(PATIENCE * 10);
    let one = Process::start(&store, &channels, total).await;
    let two = Process::start(&other, &channels, total).await;
    publish(&one.orders, 3, 3).await;
    let mut member = one.group.member("one");
    let mut held = gather(&mut member, 2).await;
    held.sort_by_key(|delivery| delivery.message().offset());
    let mut heir = two.group.member("two");
    let early = timeout(LEASE / 4, heir.fetch(9)).await;
    // A slow store may have lost the slot already.
    let mut again = early.map_or_else(|_| Vec::new(), Result::unwrap);
    assert!(again.is_empty() || !held[0].is_current());
    one.way.is_cut.store(true, Ordering::SeqCst);
    while again.len() < 3 {
        again.extend(fetch(&mut heir, 9).await);
    }
    one.way.is_cut.store(false, Ordering::SeqCst);
    assert_eq!(offsets(&again)[..2], offsets(&held)[..]);
    assert!(again[0].generation() > held[0].generation());
    for delivery in &held {
        assert_eq!(delivery.ack().await.unwrap_err().code(), "stale");
        assert!(!delivery.is_current());
    }
}

/// Others go on, until there is no more room to look ahead.
pub async fn topic_068_a_stuck_key_holds_no_other_until_there_is_no_more_room(
    harness: &impl Harness,
) {
    let topics = patient(harness).await;
    let orders = orders(&topics).await;
    let settings = settings(&orders).max_open(20);
    let group = topics.group("billing", settings).await.unwrap();
    let publish = async |key: &str, count: usize| {
        let entries = (0..count).map(|n| Entry::value(&n).key(key));
        orders.publish_many(entries).await.unwrap();
    };
    publish("stuck", 1).await;
    let mut stuck = group.member("stuck");
    let held = gather(&mut stuck, 1).await;
    publish("stuck", 40).await;
    // A key of another slot.
    publish("free", 10).await;
    let mut member = group.member("w1");
    for _ in 0..2 {
        let others = gather(&mut member, 5).await;
        assert!(others.iter().all(|it| it.message().key() == Some("free")));
        ack_all(&others).await;
    }
    held[0].nack(Some(PATIENCE)).await.unwrap();
    let is_told = |stats: &GroupStats| stats.stalled_slots == 1;
    until(&group, "the slot is said to stand still", is_told).await;
}

/// In one lane, and with other keys beside it.
pub async fn topic_069_070_what_comes_again_comes_first_however_often(harness: &impl Harness) {
    let topics = patient(harness).await;
    let orders = orders(&topics).await;
    let wait = Duration::from_millis(100);
    let blocking = GroupSettings::on([&orders]).on_poison(OnPoison::Block);
    let blocking = blocking.max_deliveries(2).ack_wait(PATIENCE * 10);
    let blocking = blocking.back_off([wait]);
    let group = topics.group("billing", blocking).await.unwrap();
    let entries = ["a", "a", "b"].map(|key| Entry::value(&key).key(key));
    orders.publish_many(entries).await.unwrap();
    let mut member = group.member("w1");
    let mut held = gather(&mut member, 3).await;
    held.sort_by_key(|delivery| delivery.message().offset());
    let third = Entry::value(&"a").key("a");
    orders.publish(third).await.unwrap();
    held[2].ack().await.unwrap();
    held[0].nack(None).await.unwrap();
    // What is new of the key waits behind what comes again.
    let again = gather(&mut member, 3).await;
    assert_eq!(offsets(&again), [1, 2, 4]);
    again[0].nack(Some(wait)).await.unwrap();
    // It has failed as often as it may, and is not set aside: its key waits.
    let now = timeout(PATIENCE, member.fetch_now(9)).await.unwrap();
    assert!(now.unwrap().is_empty());
    orders.publish(Entry::value(&"b").key("b")).await.unwrap();
    let free = gather(&mut member, 1).await;
    assert_eq!(offsets(&free), [5]);
    ack_all(&free).await;
    assert_eq!(group.dead_letters().count().await.unwrap(), 0);
}
