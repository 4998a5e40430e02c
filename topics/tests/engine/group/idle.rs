//! What groups ask of the store that have nothing to do.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use tokio::task::JoinSet;
use updraft_topics::Interest;

use super::*;
use crate::store::Faulty;

#[tokio::test(start_paused = true)]
async fn groups_that_wait_ask_the_store_at_the_same_moments() {
    const GROUPS: usize = 200;
    let (store, handles) = Faulty::new().store();
    let topics = Topics::open(handles);
    let orders = topics.topic("orders", Settings::default()).await.unwrap();
    let mut members = JoinSet::new();
    for number in 0..GROUPS {
        let name = format!("group {number}");
        let group = topics.group(&name, GroupSettings::on([&orders])).await;
        let mut member = group.unwrap().member("w1");
        members.spawn(async move { member.fetch(1).await.map(drop) });
        // They are not all opened at once.
        tokio::time::sleep(Duration::from_millis(17)).await;
    }
    tokio::time::sleep(SECOND * 120).await;
    store.asked.lock().unwrap().clear();
    tokio::time::sleep(SECOND * 120).await;
    let asked = std::mem::take(&mut *store.asked.lock().unwrap());
    // Each has looked at its registers, and for dead letters that are to be delivered again.
    assert!(asked.len() >= 4 * GROUPS, "{}", asked.len());
    // Once a second, and for the signs of life of the process, three times in its lease time of
    // 10 s, and five times those of others.
    let moments: BTreeSet<_> = asked.into_iter().collect();
    assert!(moments.len() <= 121 + 41 + 61, "{}", moments.len());
    assert!(members.try_join_next().is_none());
}

#[tokio::test(start_paused = true)]
async fn topic_075_only_the_group_that_holds_a_topic_is_looked_at() {
    let (store, handles) = Faulty::new().store();
    let topics = Topics::open(handles);
    let mut kept = Settings::default();
    kept.retention.interest = Some(Interest::default());
    let orders = topics.topic("orders", kept).await.unwrap();
    let mut groups = Vec::new();
    for number in 0..20 {
        let name = format!("group {number}");
        let group = topics.group(&name, GroupSettings::on([&orders])).await;
        groups.push(group.unwrap());
    }
    publish(&orders, &["a"; 3]).await;
    // How many registers a sweep asks for, and the first record afterwards.
    let sweep = async || {
        let before = store.registers.load(Ordering::SeqCst);
        orders.sweep().await.unwrap();
        let asked = store.registers.load(Ordering::SeqCst) - before;
        (asked, orders.bounds().await.unwrap().first)
    };
    // Its options and its slots.
    let alone = 1 + 64;
    assert!(sweep().await.0 >= groups.len() * alone);
    assert_eq!(sweep().await, (alone, 1));
    for (place, group) in groups.iter().enumerate() {
        let mut member = group.member("w1");
        for _ in 0..3 {
            ack_all(&wait(&mut member, 1).await).await;
        }
        member.leave().await.unwrap();
        sweep().await;
        let is_last = place + 1 == groups.len();
        let (asked, first) = sweep().await;
        assert_eq!(first, if is_last { 4 } else { 1 }, "after {place}");
        assert_eq!(asked, if is_last { 0 } else { alone }, "after {place}");
    }
    // All are looked at from time to time, since others may not be active any more.
    publish(&orders, &["a"]).await;
    sweep().await;
    tokio::time::sleep(SECOND * 59).await;
    assert_eq!(sweep().await, (alone, 4));
    let before = store.registers.load(Ordering::SeqCst);
    tokio::time::sleep(SECOND * 2).await;
    let asked = store.registers.load(Ordering::SeqCst) - before;
    assert!(asked >= groups.len() * alone, "{asked}");
}
