//! A Redis that is replaced: by a replica that lacks the tail, and by an older copy of itself.

use super::*;

/// A reader of the tail is told, also when its offsets were given again; others go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_028_a_promoted_replica_that_lacks_the_tail_is_found_out() {
    promote_replicas_that_lack_the_tail(10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "100 failovers: run by cargo xtask soak"]
async fn soak_topic_028_a_promoted_replica_that_lacks_the_tail_is_found_out() {
    promote_replicas_that_lack_the_tail(100).await;
}

async fn promote_replicas_that_lack_the_tail(rounds: u64) {
    for round in 0..rounds {
        promote_a_replica_that_lacks_the_tail(round % 5).await;
    }
}

/// After the promotion so many records are appended before anybody reads, and one afterwards.
async fn promote_a_replica_that_lacks_the_tail(appended: u64) {
    // Where the readers find Redis, whichever that is.
    let (master, replica) = (RedisServer::start_durable(), RedisServer::start_durable());
    let proxy = Proxy::start(master.port());
    let here = topics(&format!("redis://127.0.0.1:{}", proxy.port())).await;
    let read = here.topic("orders", no_poll()).await.unwrap();
    let kept = publish(&read, 1..=2).await;
    replica.follow(&master);
    let mut direct = replica.connection();
    eventually("the replica has the records", || {
        let length: u64 = ask(&mut direct, &format!("XLEN {LOG}"));
        length == 2
    });
    // A replica can be read, and takes nothing.
    let store = open(&replica.url()).await;
    let orders = topic("orders");
    let held = page(&store, &orders, Place::start(kept.epoch())).await;
    assert_eq!(payloads(&held.records), [(1, "1"), (2, "2")]);
    let refused = store.append(&orders, Append::new(vec![text("x")])).await;
    assert_eq!(refused.unwrap_err().code(), "backend-unavailable");

    replica.promote();
    let lost = publish(&read, 3..=4).await;
    let mut live = read
        .reader(Start::Earliest, OnLoss::Earliest)
        .await
        .unwrap();
    for number in 1..=4 {
        expect(&mut live, number).await;
    }
    let waiting = Waiting::at(&master, live);
    proxy.refuse(true);
    proxy.lead_to(replica.port());
    drop(master);
    let there = topics(&replica.url()).await;
    let written = there.topic("orders", no_poll()).await.unwrap();
    if appended > 0 {
        publish(&written, 11..=10 + appended).await;
    }
    let expected = match appended {
        0 | 1 => ResetReason::Ahead,
        _ => ResetReason::Diverged,
    };
    proxy.refuse(false);
    let (received, mut live) = waiting.received().await;
    assert_eq!(reason(&received), expected);
    // Who comes back later is told as well, and who has not seen the tail goes on.
    assert_eq!(reset_of(&written, lost).await, expected);
    let mut behind = written.reader(kept, OnLoss::Fail).await.unwrap();
    publish(&written, 99..=99).await;
    for number in 1..=2 {
        expect(&mut live, number).await;
    }
    for number in (11..=10 + appended).chain([99]) {
        expect(&mut live, number).await;
        expect(&mut behind, number).await;
    }
    if appended > 0 {
        assert_eq!(reset_of(&written, lost).await, ResetReason::Diverged);
    }
}

/// The reader has read what is not there any more, and other records were given those offsets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_028_a_reader_that_was_live_is_told_that_redis_was_set_back() {
    let mut server = RedisServer::start_durable();
    let proxy = Proxy::start(server.port());
    let here = topics(&format!("redis://127.0.0.1:{}", proxy.port())).await;
    let orders = here.topic("orders", no_poll()).await.unwrap();
    publish(&orders, 1..=1).await;
    let copy = server.copy();
    let reader = orders.reader(Start::Earliest, OnLoss::Earliest).await;
    let mut reader = reader.unwrap();
    publish(&orders, 2..=4).await;
    for n in 1..=4 {
        expect(&mut reader, n).await;
    }
    proxy.refuse(true);
    server.set_back(&copy);
    let there = topics(&server.url()).await;
    let written = there.topic("orders", no_poll()).await.unwrap();
    publish(&written, 12..=19).await;
    proxy.refuse(false);
    assert_eq!(reason(&next(&mut reader).await), ResetReason::Diverged);
    for n in [1].into_iter().chain(12..=19) {
        expect(&mut reader, n).await;
    }
}

/// Publishes these numbers, and answers the position of the last.
async fn publish(topic: &Topic, numbers: std::ops::RangeInclusive<u64>) -> Position {
    let entries: Vec<_> = numbers.map(|n| Entry::value(&n)).collect();
    let published = topic.publish_many(entries).await.unwrap();
    published.last().unwrap().position
}

/// Why this position is not one of the topic any more.
async fn reset_of(topic: &Topic, position: Position) -> ResetReason {
    match topic.read(position, Limit::default()).await {
        Err(TopicError::Reset(Reset { reason, .. })) => reason,
        other => panic!("{other:?}"),
    }
}
