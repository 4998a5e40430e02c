//! Where groups begin, what must be the same, and how they are paused and removed.

use updraft_topics::{OnPoison, Order, Start};

use super::*;

#[tokio::test(start_paused = true)]
async fn topic_048_a_group_begins_where_it_says_when_it_is_created() {
    let (topics, orders) = orders().await;
    publish(&orders, &["a", "b", "c"]).await;
    let position = orders.seek(Start::Last(1)).await.unwrap();
    for (name, start) in [
        ("earliest", Start::Earliest),
        ("latest", Start::Latest),
        ("position", Start::Position(position)),
    ] {
        let settings = GroupSettings::on([&orders]).start(start);
        let opened = topics.group(name, settings.clone()).await.unwrap();
        // It counts when the group is created only.
        let again = topics
            .group(name, settings.start(Start::Latest))
            .await
            .unwrap();
        assert_eq!((opened.name(), again.name()), (name, name));
    }
    publish(&orders, &["d"]).await;
    for (name, expected) in [
        ("earliest", vec![1, 2, 3, 4]),
        ("latest", vec![4]),
        ("position", vec![3, 4]),
    ] {
        let group = topics.find_group(name).await.unwrap();
        let mut found = offsets(&fetch(&mut group.member("w1"), 9).await);
        found.sort_unstable();
        assert_eq!(found, expected, "{name}");
    }
    assert_eq!(
        topics.groups().await.unwrap(),
        ["earliest", "latest", "position"]
    );
    assert_eq!(topics.groups_of(orders.name()).await.unwrap().len(), 3);
    let settings = GroupSettings::on([&orders]).start(Start::Snapshot);
    let error = topics.group("snapshot", settings).await.unwrap_err();
    assert_eq!(error.code(), "unsupported");
}

#[tokio::test(start_paused = true)]
async fn topic_048_the_same_name_with_other_options_is_a_conflict() {
    let (topics, orders) = orders().await;
    let other = topics.topic("other", Settings::default()).await.unwrap();
    let same = || GroupSettings::on([&orders]);
    topics.group("billing", same()).await.unwrap();
    topics.group("billing", same()).await.unwrap();
    let twice = GroupSettings::on([&orders, &orders]);
    topics.group("billing", twice).await.unwrap();
    for (option, settings) in [
        ("topics", GroupSettings::on([&orders, &other])),
        ("order", same().order(Order::Total)),
        ("ack_wait", same().ack_wait(SECOND)),
        ("max_extension", same().max_extension(SECOND)),
        ("max_deliveries", same().max_deliveries(2)),
        ("back_off", same().back_off([SECOND])),
        ("max_in_flight", same().max_in_flight(2)),
        ("per_member", same().per_member(2)),
        ("max_open", same().max_open(2)),
        ("on_poison", same().on_poison(OnPoison::Block)),
        ("inactive_after", same().inactive_after(SECOND)),
    ] {
        let error = topics.group("billing", settings).await.unwrap_err();
        assert_eq!(error.code(), "group-conflict");
        assert!(
            error.to_string().contains(&format!("`{option}`")),
            "{error}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_group_is_an_error_with_the_nearest_name() {
    let (topics, orders) = orders().await;
    let error = topics.find_group("billing").await.unwrap_err();
    assert_eq!(error.code(), "unknown-group");
    topics
        .group("billing", GroupSettings::on([&orders]))
        .await
        .unwrap();
    topics
        .group("shipping", GroupSettings::on([&orders]))
        .await
        .unwrap();
    let error = topics.find_group("biling").await.unwrap_err();
    assert!(error.to_string().contains("`billing`"), "{error}");
    let error = topics.find_group("nothing like it").await.unwrap_err();
    assert!(!error.to_string().contains('`'), "{error}");

    let none: [&Topic; 0] = [];
    let error = topics
        .group("empty", GroupSettings::on(none))
        .await
        .unwrap_err();
    assert_eq!(error.code(), "unknown-topic");
    for name in ["", "_x", "a\nb", &"x".repeat(252)] {
        let error = topics
            .group(name, GroupSettings::on([&orders]))
            .await
            .unwrap_err();
        assert_eq!(error.code(), "bad-name", "{name}");
    }
    let elsewhere = Topics::open(Memory::new());
    let error = elsewhere
        .group("billing", GroupSettings::on([&orders]))
        .await
        .unwrap_err();
    assert_eq!(error.code(), "unsupported");
}

#[tokio::test(start_paused = true)]
async fn a_paused_group_hands_out_nothing_and_takes_answers() {
    let (topics, orders) = orders().await;
    let group = group(&topics, GroupSettings::on([&orders])).await;
    publish(&orders, &["a", "b"]).await;
    let mut member = group.member("w1");
    let delivery = wait(&mut member, 1).await.remove(0);
    group.pause().await.unwrap();
    group.pause().await.unwrap();
    let mut other = group.member("w2");
    crate::eventually("the members hear of it", async || {
        match other.fetch_now(1).await {
            Ok(fetched) => {
                drop(fetched);
                other = group.member("w2");
                false
            }
            Err(error) => error.code() == "paused",
        }
    })
    .await;
    drop(other);
    assert!(timeout(SECOND, member.fetch(1)).await.is_err());
    delivery.ack().await.unwrap();
    assert!(group.stats().await.unwrap().is_paused);
    group.resume().await.unwrap();
    let other = 3 - delivery.message().offset();
    assert_eq!(offsets(&wait(&mut member, 9).await), [other]);
}

#[tokio::test(start_paused = true)]
async fn a_group_is_resumed_at_once_by_a_process_that_does_nothing_else() {
    let memory = Memory::new();
    let topics = Topics::open(memory.clone());
    let orders = topics.topic("orders", Settings::default()).await.unwrap();
    let paused = group(&topics, GroupSettings::on([&orders])).await;
    paused.pause().await.unwrap();
    publish(&orders, &["a"]).await;
    let mut member = paused.member("w1");
    assert!(timeout(SECOND * 30, member.fetch(1)).await.is_err());
    let command = Topics::open(memory);
    let found = command.find_group("billing").await.unwrap();
    found.resume().await.unwrap();
    command.shut_down().await;
    let fetched = timeout(SECOND * 5, member.fetch(1)).await;
    assert_eq!(fetched.expect("it is told").unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn topic_066_a_group_that_is_removed_ends_its_members() {
    let (topics, orders) = orders().await;
    let group = group(&topics, GroupSettings::on([&orders])).await;
    publish(&orders, &["a", "b"]).await;
    let mut member = group.member("w1");
    let delivery = wait(&mut member, 1).await.remove(0);
    let (deleted, fetched) = tokio::join!(topics.delete_group("billing"), async {
        while let Ok(deliveries) = member.fetch(9).await {
            assert!(deliveries.len() <= 1);
        }
    });
    assert!(deleted.unwrap());
    let () = fetched;
    assert!(!topics.delete_group("billing").await.unwrap());
    assert_eq!(delivery.ack().await.unwrap_err().code(), "stale");
    assert_eq!(group.stats().await.unwrap_err().code(), "unknown-group");
    assert!(topics.groups().await.unwrap().is_empty());
    assert!(topics.groups_of(orders.name()).await.unwrap().is_empty());

    // A new one of the same name begins anew.
    let group = super::group(&topics, GroupSettings::on([&orders])).await;
    assert_eq!(fetch(&mut group.member("w1"), 9).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn topic_066_a_member_that_is_removed_loses_nothing() {
    let (topics, orders) = orders().await;
    let group = group(&topics, GroupSettings::on([&orders])).await;
    publish(&orders, &["a", "a", "b"]).await;
    let mut member = group.member("w1");
    assert_eq!(wait(&mut member, 9).await.len(), 3);
    drop((member, group));
    let group = topics.find_group("billing").await.unwrap();
    let mut found = offsets(&fetch(&mut group.member("w2"), 9).await);
    found.sort_unstable();
    assert_eq!(found, [1, 2, 3]);
}
