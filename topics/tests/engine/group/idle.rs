//! What groups ask of the store that have nothing to do.

use std::collections::BTreeSet;

use tokio::task::JoinSet;

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
