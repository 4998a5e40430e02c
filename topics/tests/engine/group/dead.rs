//! Dead letters.

use updraft_topics::{Codec, DeadLetter, Order};

use super::*;

async fn letters(group: &Group) -> Vec<DeadLetter> {
    group.dead_letters().list(100).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn topic_055_after_the_most_deliveries_a_record_is_a_dead_letter() {
    let (topics, orders) = orders().await;
    let group = group(&topics, GroupSettings::on([&orders])).await;
    let entry = Entry::value(&"poison")
        .key("a")
        .meta("!dlq", "mine")
        .compact("id");
    let published = orders.publish(entry).await.unwrap();
    publish(&orders, &["a"]).await;
    let mut member = group.member("w1");
    for count in 1..=5 {
        let delivery = wait(&mut member, 1).await.remove(0);
        assert_eq!(
            (delivery.message().offset(), delivery.deliveries()),
            (1, count)
        );
        delivery.nack(None).await.unwrap();
    }
    // The group goes on.
    let next = wait(&mut member, 9).await;
    assert_eq!(offsets(&next), [2]);
    ack_all(&next).await;
    let letters = letters(&group).await;
    let [letter] = &*letters else {
        panic!("{letters:?}");
    };
    assert_eq!((letter.offset, letter.time), (1, published.time));
    assert_eq!((letter.deliveries, letter.topic.as_str()), (5, "orders"));
    assert_eq!(letter.member.as_deref(), Some("w1"));
    assert!(!letter.reason.is_empty() && letter.parked >= letter.time);
    assert_eq!(letter.message.parse::<String>().unwrap(), "poison");
    assert_eq!(letter.message.key(), Some("a"));
    assert_eq!(letter.message.compact(), Some("id"));
    assert_eq!(letter.message.meta().get("!dlq").unwrap(), "mine");
    let stats = group.stats().await.unwrap();
    assert_eq!(
        (stats.parked, stats.topics[0].lag, stats.redeliveries),
        (1, 0, 4)
    );
}

#[tokio::test(start_paused = true)]
async fn topic_055_records_that_are_never_answered_become_dead_letters() {
    let (topics, orders) = orders().await;
    let settings = GroupSettings::on([&orders])
        .order(Order::None)
        .max_deliveries(3);
    let group = group(&topics, settings).await;
    publish(&orders, &[""; 3]).await;
    let mut member = group.member("w1");
    let mut deliveries = 0;
    while letters(&group).await.len() < 3 {
        deliveries += fetch(&mut member, 9).await.len();
        tokio::time::sleep(SECOND).await;
    }
    assert_eq!(deliveries, 9);
    let reasons = letters(&group).await.into_iter().map(|it| it.reason);
    assert!(reasons.into_iter().all(|reason| reason.contains("in time")));
}

#[tokio::test(start_paused = true)]
async fn topic_057_a_dead_letter_is_delivered_anew_or_dropped() {
    let (topics, orders) = orders().await;
    let group = group(&topics, GroupSettings::on([&orders]).max_deliveries(2)).await;
    publish(&orders, &["a", "a", "b"]).await;
    let mut member = group.member("w1");
    for _ in 0..3 {
        let delivery = wait(&mut member, 1).await.remove(0);
        delivery.reject("cannot be").await.unwrap();
    }
    let dead = group.dead_letters();
    let ids: Vec<_> = letters(&group).await.iter().map(|it| it.id).collect();
    assert_eq!(ids.len(), 3);
    assert_eq!(dead.list(2).await.unwrap().len(), 2);
    assert!(
        letters(&group)
            .await
            .iter()
            .all(|it| it.reason == "cannot be")
    );
    assert!(dead.drop("orders", ids[2]).await.unwrap());
    assert!(!dead.drop("orders", ids[2]).await.unwrap());
    assert!(!dead.replay("orders", ids[2]).await.unwrap());
    for id in [0, 99, u64::MAX] {
        assert!(!dead.replay("orders", id).await.unwrap());
    }
    let error = dead.replay("other", ids[0]).await.unwrap_err();
    assert_eq!(error.code(), "unknown-topic");

    let key = letters(&group).await[0].message.key().map(str::to_owned);
    let offset = letters(&group).await[0].offset;
    assert!(dead.replay("orders", ids[0]).await.unwrap());
    let again = wait(&mut member, 9).await.remove(0);
    assert_eq!((again.deliveries(), again.topic()), (1, orders.name()));
    assert_eq!(again.message().key(), key.as_deref());
    assert!(again.message().meta().is_empty());
    // It can fail again, and again be delivered anew.
    again.nack(None).await.unwrap();
    let again = wait(&mut member, 9).await.remove(0);
    again.nack(None).await.unwrap();
    crate::eventually("it is a dead letter again", async || {
        letters(&group).await.len() == 2
    })
    .await;
    let letter = letters(&group).await.remove(1);
    assert_eq!((letter.offset, letter.deliveries), (offset, 2));
    assert!(dead.replay("orders", letter.id).await.unwrap());
    ack_all(&wait(&mut member, 9).await).await;
    assert!(fetch(&mut member, 9).await.is_empty());
    assert_eq!(letters(&group).await.len(), 1);
    assert_eq!(group.stats().await.unwrap().parked, 1);
}

#[tokio::test(start_paused = true)]
async fn topic_057_a_letter_that_is_replayed_waits_for_its_key() {
    let (topics, orders) = orders().await;
    let group = group(&topics, GroupSettings::on([&orders])).await;
    publish(&orders, &["a", "a"]).await;
    let (mut first, mut second) = (group.member("first"), group.member("second"));
    wait(&mut first, 1).await[0].reject("no").await.unwrap();
    let held = wait(&mut first, 1).await;
    assert_eq!(offsets(&held), [2]);
    let id = letters(&group).await[0].id;
    group.dead_letters().replay("orders", id).await.unwrap();
    assert!(fetch(&mut second, 9).await.is_empty());
    ack_all(&held).await;
    let replayed = wait(&mut second, 9).await;
    assert_eq!(replayed[0].message().parse::<u64>().unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn topic_058_what_cannot_be_decoded_is_a_dead_letter_at_once() {
    let topics = Topics::open(Memory::new());
    let mut settings = Settings::default();
    settings.codec = Codec::Bytes("text/plain".into());
    let orders = topics.topic("orders", settings).await.unwrap();
    let group = group(&topics, GroupSettings::on([&orders])).await;
    orders
        .publish(Entry::bytes("not EJSON").key("a"))
        .await
        .unwrap();
    orders
        .publish(Entry::bytes("nor this").key("b"))
        .await
        .unwrap();
    let mut member = group.member("w1");
    let mut calls = 0;
    let handled = member.drain(|delivery| {
        calls += 1;
        async move { Ok(delivery.parse::<u64>().map(drop)?) }
    });
    handled.await.unwrap();
    assert_eq!(calls, 2);
    assert_eq!(letters(&group).await.len(), 2);
    assert!(letters(&group).await.iter().all(|it| it.deliveries == 1));
}

#[tokio::test(start_paused = true)]
async fn dead_letters_of_a_topic_are_read_page_by_page() {
    let topics = Topics::open(Memory::new());
    let settings = || Settings::default();
    let orders = topics.topic("orders", settings()).await.unwrap();
    let returns = topics.topic("returns", settings()).await.unwrap();
    let group = group(&topics, GroupSettings::on([&orders, &returns])).await;
    publish(&orders, &["a"; 5]).await;
    publish(&returns, &["b"; 2]).await;
    let mut member = group.member("w1");
    let rejected = member.drain(async |delivery| Ok(delivery.reject("no").await?));
    rejected.await.unwrap();
    let dead = group.dead_letters();
    let (mut last, mut found) = (0, Vec::new());
    loop {
        let page = dead.page("orders", last, 2).await.unwrap();
        assert!(page.len() <= 2);
        let Some(letter) = page.last() else { break };
        last = letter.id;
        found.extend(page.iter().map(|letter| letter.offset));
    }
    assert_eq!(found, [1, 2, 3, 4, 5]);
    assert_eq!(dead.page("returns", 0, 9).await.unwrap().len(), 2);
    assert!(dead.page("returns", 0, 0).await.unwrap().is_empty());
    let error = dead.page("other", 0, 9).await.unwrap_err();
    assert_eq!(error.code(), "unknown-topic");
}
