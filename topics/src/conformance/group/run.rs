//! Functions that handle records.

use super::*;

/// What it fails at is set aside, what it cannot read at once.
pub async fn topic_058_064_065_functions_handle_what_there_is(harness: &impl Harness) {
    let topics = patient(harness).await;
    let orders = orders(&topics).await;
    let settings = settings(&orders).max_deliveries(2);
    let group = topics.group("billing", settings).await.unwrap();
    publish(&orders, 10, 10).await;
    orders.publish(Entry::value(&"no number")).await.unwrap();
    let mut member = group.member("w1");
    let mut numbers = Vec::new();
    let drained = member.drain(|delivery| {
        let parsed = delivery.parse::<u64>();
        if let Ok(number) = &parsed {
            numbers.push(*number);
        }
        async move { Ok(parsed.map(drop)?) }
    });
    timeout(PATIENCE, drained).await.unwrap().unwrap();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..10));
    let letters = group.dead_letters().list(9).await.unwrap();
    let told: Vec<_> = letters
        .iter()
        .map(|it| (it.offset, it.deliveries))
        .collect();
    assert_eq!(told, [(11, 1)]);
    until(&group, "all is finished", is_finished).await;

    // Of a batch that fails only the bad record does.
    publish(&orders, 5, 5).await;
    let mut tasks = JoinSet::new();
    tasks.spawn(member.run_batches(10, |batch| {
        let has_bad = offsets(&batch).contains(&14);
        async move { if has_bad { Err("bad".into()) } else { Ok(()) } }
    }));
    until(&group, "all others are finished", |stats| {
        stats.parked == 2 && is_finished(stats)
    })
    .await;
    let letters = group.dead_letters().list(9).await.unwrap();
    assert_eq!((letters[1].offset, &*letters[1].reason), (14, "bad"));
    topics.close();
    let ended = timeout(PATIENCE, tasks.join_next()).await.unwrap();
    assert_eq!(ended.unwrap().unwrap().unwrap_err().code(), "shutting-down");
}
