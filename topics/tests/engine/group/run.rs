//! Functions that handle records.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::*;

#[tokio::test(start_paused = true)]
async fn topic_064_of_a_batch_that_fails_only_the_bad_record_fails() {
    let (topics, orders) = orders().await;
    let settings = GroupSettings::on([&orders])
        .max_deliveries(2)
        .max_in_flight(10_000);
    let group = group(&topics, settings).await;
    let keys: Vec<_> = (0..10).map(|n| n.to_string()).collect();
    let keys: Vec<_> = keys.iter().map(String::as_str).collect();
    publish(&orders, &keys).await;
    let calls = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&calls);
    let run = group.member("w1").run_batches(100, move |batch| {
        seen.lock().unwrap().push(offsets(&batch));
        let has = |n| offsets(&batch).contains(&n);
        let outcome = if has(3) { Err("three".into()) } else { Ok(()) };
        assert!(!has(7), "seven");
        async move { outcome }
    });
    let mut tasks = JoinSet::new();
    tasks.spawn(run);
    crate::eventually("two dead letters", async || {
        group.dead_letters().count().await.unwrap() == 2
    })
    .await;
    tasks.abort_all();
    let mut letters = group.dead_letters().list(9).await.unwrap();
    letters.sort_by_key(|letter| letter.offset);
    let reasons: Vec<_> = letters.iter().map(|it| (it.offset, &*it.reason)).collect();
    assert_eq!(reasons, [(3, "three"), (7, "the handler panicked: seven")]);
    let calls = calls.lock().unwrap().clone();
    for offset in 1..=10 {
        let alone = calls.iter().filter(|call| **call == [offset]).count();
        let expected = if [3, 7].contains(&offset) { 2 } else { 1 };
        assert!(alone >= 1 && alone <= expected, "{offset} {calls:?}");
    }
    assert_eq!(group.stats().await.unwrap().topics[0].lag, 0);
}

#[tokio::test(start_paused = true)]
async fn topic_065_draining_returns_when_nothing_is_left_and_running_ends_when_it_is_dropped() {
    let (topics, orders) = orders().await;
    let group = group(&topics, GroupSettings::on([&orders])).await;
    let mut member = group.member("w1");
    let none = async |_: Delivery| panic!("there is nothing");
    timeout(SECOND, member.drain(none)).await.unwrap().unwrap();
    publish(&orders, &["a"; 100]).await;
    let mut seen = Vec::new();
    let drained = member.drain(|delivery| {
        seen.push(delivery.message().offset());
        async { Ok(()) }
    });
    drained.await.unwrap();
    assert!(seen.into_iter().eq(1..=100));
    drop(member);

    let handled = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&handled);
    let run = group.member("w2").run(move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
        async { Ok(()) }
    });
    publish(&orders, &["a"; 10]).await;
    assert!(timeout(SECOND, run).await.is_err());
    assert_eq!(handled.load(Ordering::SeqCst), 10);
    assert_eq!(group.stats().await.unwrap().topics[0].lag, 0);

    // So it does when the topics are closed, and what was fetched comes back.
    publish(&orders, &["a"]).await;
    let mut tasks = JoinSet::new();
    tasks.spawn(group.member("w3").run(|_| std::future::pending()));
    sleep(SECOND).await;
    assert_eq!(group.stats().await.unwrap().pending, 1);
    let mut waiting = group.member("w4");
    let closing = Instant::now();
    let (fetched, ()) = tokio::join!(waiting.fetch(1), async { topics.close() });
    assert_eq!(fetched.unwrap_err().code(), "shutting-down");
    assert!(closing.elapsed() < SECOND);
    tasks.abort_all();
}

#[tokio::test(start_paused = true)]
async fn a_handler_has_more_time_than_the_ack_wait_and_not_for_ever() {
    let (topics, orders) = orders().await;
    let settings = GroupSettings::on([&orders]).max_extension(SECOND * 100);
    let group = group(&topics, settings).await;
    publish(&orders, &["a", "a"]).await;
    let calls = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&calls);
    let began = Instant::now();
    let run = group.member("w1").run(move |delivery| {
        let call = (delivery.message().offset(), delivery.deliveries());
        seen.lock().unwrap().push((call, began.elapsed().as_secs()));
        async move {
            match call {
                // Longer than the ack wait.
                (1, 1) => sleep(SECOND * 80).await,
                // For ever, the first time.
                (2, 1) => std::future::pending().await,
                _ => {}
            }
            Ok(())
        }
    });
    assert!(timeout(SECOND * 300, run).await.is_err());
    let calls = calls.lock().unwrap().clone();
    let order: Vec<_> = calls.iter().map(|(call, _)| *call).collect();
    assert_eq!(order, [(1, 1), (2, 1), (2, 2)], "{calls:?}");
    assert_eq!(group.stats().await.unwrap().topics[0].lag, 0);
}

#[tokio::test(start_paused = true)]
async fn what_waits_behind_a_slow_record_is_given_to_others() {
    let (topics, orders) = orders().await;
    let group = group(
        &topics,
        GroupSettings::on([&orders]).max_extension(SECOND * 60),
    )
    .await;
    publish(&orders, &["a", "b", "c", "a"]).await;
    let mut slow = group.member("slow");
    let mut seen = Vec::new();
    let slow = slow.drain(|delivery| {
        seen.push((delivery.message().offset(), delivery.deliveries()));
        async {
            sleep(SECOND * 50).await;
            Ok(())
        }
    });
    let mut quick = group.member("quick");
    let others = async {
        sleep(SECOND).await;
        assert!(fetch(&mut quick, 9).await.is_empty());
        let others = wait(&mut quick, 9).await;
        ack_all(&others).await;
        others
    };
    let (drained, others) = tokio::join!(slow, others);
    drained.unwrap();
    assert!(!others.is_empty() && others.iter().all(|it| it.deliveries() == 1));
    assert_eq!(seen.len() + others.len(), 4);
    assert!(seen.iter().all(|(_, deliveries)| *deliveries == 1));
}

#[tokio::test(start_paused = true)]
async fn what_a_handler_has_answered_is_not_answered_again() {
    let (topics, orders) = orders().await;
    let group = group(&topics, GroupSettings::on([&orders])).await;
    publish(&orders, &["a", "b", "c"]).await;
    let mut member = group.member("w1");
    let ended = AtomicUsize::new(0);
    let drained = member.drain(async |delivery| {
        match delivery.message().key() {
            Some("a") => delivery.ack().await?,
            Some("b") => delivery.nack(Some(SECOND)).await?,
            _ => delivery.reject("no").await?,
        }
        // What it does then is not cut off.
        sleep(SECOND / 2).await;
        ended.fetch_add(1, Ordering::SeqCst);
        Ok(())
    });
    drained.await.unwrap();
    assert!(ended.load(Ordering::SeqCst) >= 3);
    assert_eq!(keys(&wait(&mut member, 9).await), ["b"]);
    assert_eq!(group.dead_letters().count().await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn topic_065_draining_goes_on_behind_what_is_being_set_aside() {
    let (topics, orders) = orders().await;
    let group = group(&topics, GroupSettings::on([&orders])).await;
    publish(&orders, &["a"; 5]).await;
    let mut member = group.member("w1");
    let mut seen = Vec::new();
    let drained = member.drain(|delivery| {
        seen.push(delivery.message().offset());
        async move {
            if delivery.message().offset() % 2 == 0 {
                delivery.reject("even").await?;
            }
            Ok(())
        }
    });
    drained.await.unwrap();
    assert_eq!(seen, [1, 2, 3, 4, 5]);
    assert_eq!(group.dead_letters().count().await.unwrap(), 2);
}
