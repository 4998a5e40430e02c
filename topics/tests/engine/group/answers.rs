//! What members answer, and what becomes of a delivery without an answer.

use tokio::time::{Instant, sleep};
use updraft_topics::Token;

use super::*;

#[tokio::test(start_paused = true)]
async fn topic_049_050_what_is_not_answered_comes_again_and_the_late_answer_is_stale() {
    let (topics, orders) = orders().await;
    let group = group(&topics, GroupSettings::on([&orders])).await;
    publish(&orders, &["a"]).await;
    let (mut first, mut second) = (group.member("first"), group.member("second"));
    let before = wait(&mut first, 9).await.remove(0);
    let began = Instant::now();
    assert_eq!(before.deliveries(), 1);
    let after = wait(&mut second, 9).await.remove(0);
    assert!(began.elapsed() >= SECOND * 30 && began.elapsed() < SECOND * 31);
    assert_eq!((after.deliveries(), after.message().offset()), (2, 1));
    assert!(after.generation() > before.generation());
    assert!(!before.is_current() && after.is_current());
    for answered in [
        before.ack().await,
        before.nack(None).await,
        before.extend().await,
        before.reject("late").await,
    ] {
        assert_eq!(answered.unwrap_err().code(), "stale");
    }
    assert!(after.is_current());
    after.ack().await.unwrap();
    assert!(fetch(&mut first, 9).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn topic_051_a_second_ack_is_fine_and_an_unknown_one_is_stale() {
    let (topics, orders) = orders().await;
    let group = group(&topics, GroupSettings::on([&orders])).await;
    publish(&orders, &["a"]).await;
    let mut member = group.member("w1");
    let delivery = wait(&mut member, 9).await.remove(0);
    let token = delivery.token();
    let read_back: Token = token.to_string().parse().unwrap();
    assert_eq!(read_back, token);
    group.ack(&read_back).await.unwrap();
    delivery.ack().await.unwrap();
    group.ack(&token).await.unwrap();
    assert_eq!(delivery.nack(None).await.unwrap_err().code(), "stale");

    let text = token.to_string();
    let mut parts: Vec<_> = text.split('.').collect();
    for (place, other) in [(0, "00000000"), (1, "63"), (2, "7"), (3, "99"), (4, "99")] {
        let was = std::mem::replace(&mut parts[place], other);
        let token: Token = parts.join(".").parse().unwrap();
        assert_eq!(group.ack(&token).await.unwrap_err().code(), "stale");
        parts[place] = was;
    }
    for text in ["", "1.2.3", "x.0.0.1.1", "00000001.+1.0.1.1", "ä"] {
        let error = text.parse::<Token>().unwrap_err();
        assert_eq!(error.code(), "stale", "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn topic_052_a_nack_comes_again_at_once_after_its_delay_or_that_of_the_list() {
    let (topics, orders) = orders().await;
    let plain = topics
        .group("plain", GroupSettings::on([&orders]))
        .await
        .unwrap();
    let list = GroupSettings::on([&orders]).back_off([SECOND, SECOND * 5]);
    let list = topics.group("list", list).await.unwrap();
    publish(&orders, &["a"]).await;
    for (group, delays) in [(plain, [0, 0, 0]), (list, [1, 5, 5])] {
        let mut member = group.member("w1");
        let mut delivery = wait(&mut member, 9).await.remove(0);
        for delay in delays {
            let nacked = Instant::now();
            delivery.nack(None).await.unwrap();
            delivery = wait(&mut member, 9).await.remove(0);
            let waited = nacked.elapsed();
            assert!(waited >= SECOND * delay, "{waited:?} {delay}");
            assert!(waited < SECOND * delay + SECOND / 10, "{waited:?} {delay}");
        }
        let nacked = Instant::now();
        delivery.nack(Some(SECOND * 3)).await.unwrap();
        assert!(fetch(&mut member, 9).await.is_empty());
        delivery = wait(&mut member, 9).await.remove(0);
        assert!(nacked.elapsed() >= SECOND * 3 && nacked.elapsed() < SECOND * 4);
        assert_eq!(delivery.deliveries(), 5);
    }
}

#[tokio::test(start_paused = true)]
async fn topic_053_extending_keeps_a_record_up_to_a_limit() {
    let (topics, orders) = orders().await;
    let settings = GroupSettings::on([&orders]).max_extension(SECOND * 70);
    let group = group(&topics, settings).await;
    publish(&orders, &["a"]).await;
    let (mut first, mut second) = (group.member("first"), group.member("second"));
    let delivery = wait(&mut first, 9).await.remove(0);
    let began = Instant::now();
    let extend = async {
        loop {
            sleep(SECOND * 20).await;
            if delivery.extend().await.is_err() {
                return began.elapsed();
            }
        }
    };
    let (extended, after) = tokio::join!(extend, wait(&mut second, 9));
    assert_eq!(after[0].deliveries(), 2);
    assert!(extended >= SECOND * 70 && extended < SECOND * 90);
    assert_eq!(delivery.ack().await.unwrap_err().code(), "stale");
}

#[tokio::test(start_paused = true)]
async fn topic_054_leaving_gives_back_at_once_and_does_not_count() {
    let (topics, orders) = orders().await;
    let group = group(&topics, GroupSettings::on([&orders])).await;
    publish(&orders, &["a", "b", "a"]).await;
    let mut other = group.member("other");
    for ends_well in [true, false, true] {
        let mut member = group.member("w1");
        let deliveries = wait(&mut member, 9).await;
        assert_eq!(deliveries.len(), 3);
        assert!(fetch(&mut other, 9).await.is_empty());
        let left = Instant::now();
        if ends_well {
            member.leave().await.unwrap();
        } else {
            drop(member);
        }
        let again = wait(&mut other, 9).await;
        assert!(left.elapsed() < SECOND / 5);
        assert!(again.iter().all(|delivery| delivery.deliveries() == 1));
        assert!(deliveries.iter().all(|delivery| !delivery.is_current()));
        assert_eq!(deliveries[0].ack().await.unwrap_err().code(), "stale");
        drop(other);
        other = group.member("other");
    }
}

/// The process is not waited for, as one that has crashed is.
#[tokio::test(start_paused = true)]
async fn topic_054_what_the_last_member_of_a_process_had_is_elsewhere_at_once() {
    let memory = Memory::new();
    let one = Topics::open(memory.clone()).with_lease(SECOND * 60);
    let two = Topics::open(memory).with_lease(SECOND * 60);
    let orders = one.topic("orders", Settings::default()).await.unwrap();
    let group = group(&one, GroupSettings::on([&orders])).await;
    publish(&orders, &["a", "b", "c", "a"]).await;
    let mut member = group.member("one");
    let deliveries = wait(&mut member, 9).await;
    assert_eq!(deliveries.len(), 4);
    deliveries[0].ack().await.unwrap();
    let elsewhere = two.find_group("billing").await.unwrap();
    let mut heir = elsewhere.member("two");
    assert!(timeout(SECOND * 2, heir.fetch(9)).await.is_err());
    let left = Instant::now();
    let leaving = async {
        member.leave().await.unwrap();
        // So the process may end now: nobody counts on it.
        assert_eq!(elsewhere.stats().await.unwrap().processes, 1);
    };
    let taking = async {
        let mut all = Vec::new();
        while all.len() < 3 {
            all.extend(wait(&mut heir, 9).await);
        }
        all
    };
    let ((), again) = tokio::join!(leaving, taking);
    assert!(left.elapsed() < SECOND / 5, "{:?}", left.elapsed());
    assert!(again.iter().all(|delivery| delivery.deliveries() == 1));
    ack_all(&again).await;
}

#[tokio::test(start_paused = true)]
async fn topic_054_a_process_that_shuts_down_leaves_all_to_others_at_once() {
    let memory = Memory::new();
    let (here, there) = (Topics::open(memory.clone()), Topics::open(memory));
    let mut members = Vec::new();
    for topics in [&here, &there] {
        let orders = topics.topic("orders", Settings::default()).await.unwrap();
        let group = group(topics, GroupSettings::on([&orders])).await;
        if members.is_empty() {
            publish(&orders, &["a", "b", "a"]).await;
        }
        members.push(group.member("w"));
    }
    let (mut other, mut member) = (members.pop().unwrap(), members.pop().unwrap());
    let deliveries = wait(&mut member, 9).await;
    assert_eq!(deliveries.len(), 3);
    here.shut_down().await;
    let shut_down = Instant::now();
    let mut again = Vec::new();
    while again.len() < 3 {
        again.extend(wait(&mut other, 9).await);
    }
    // The lease is 10 s.
    assert!(shut_down.elapsed() < SECOND);
    assert!(again.iter().all(|delivery| delivery.deliveries() == 1));
    assert_eq!(
        deliveries[0].ack().await.unwrap_err().code(),
        "shutting-down"
    );
}

#[tokio::test(start_paused = true)]
async fn topic_098_a_fetch_that_is_dropped_anywhere_takes_nothing() {
    let (topics, orders) = orders().await;
    let group = group(&topics, GroupSettings::on([&orders])).await;
    let mut member = group.member("w1");
    assert!(fetch(&mut member, 9).await.is_empty());
    for round in 1..=50 {
        publish(&orders, &["a"]).await;
        let mut dropped = group.member("dropped");
        let mut fetching = Box::pin(dropped.fetch(1));
        for _ in 0..round % 10 {
            let polled = std::future::poll_fn(|context| {
                std::task::Poll::Ready(fetching.as_mut().poll(context))
            });
            if polled.await.is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(fetching);
        drop(dropped);
        let delivery = wait(&mut member, 1).await.remove(0);
        assert_eq!(
            (delivery.message().offset(), delivery.deliveries()),
            (round, 1)
        );
        delivery.ack().await.unwrap();
    }
}
