//! Where a reader begins.

use updraft_topics::{Limit, Memory, OnLoss, Position, Settings, Start, TopicName, Topics};

use crate::{fill, is_silent, number, numbers, text, topic};

#[tokio::test]
async fn topic_015_017_each_start_is_where_it_should_be() {
    let clock = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let now = clock.clone();
    let memory = Memory::with_clock(move || now.load(std::sync::atomic::Ordering::SeqCst));
    let topics = Topics::open(memory);
    let topic = topics.topic("orders", Settings::default()).await.unwrap();
    let offset = async |start: Start| topic.seek(start).await.unwrap().offset();
    for start in [
        Start::Earliest,
        Start::Latest,
        Start::Last(3),
        Start::Time(0),
        Start::Snapshot,
    ] {
        assert_eq!(offset(start).await, 0, "{start:?} of an empty topic");
    }
    for n in 1..=20 {
        // Two records of each time.
        clock.store(n / 2 * 100, std::sync::atomic::Ordering::SeqCst);
        fill(&topic, n, n).await;
    }
    topic.trim(5).await.unwrap();
    for (start, expected) in [
        (Start::Earliest, 5),
        (Start::Latest, 20),
        (Start::Last(0), 20),
        (Start::Last(3), 17),
        (Start::Last(15), 5),
        (Start::Last(16), 5),
        (Start::Last(u64::MAX), 5),
        (Start::Time(0), 5),
        (Start::Time(300), 5),
        (Start::Time(301), 7),
        (Start::Time(400), 7),
        (Start::Time(1000), 19),
        (Start::Time(1001), 20),
        (Start::Time(u64::MAX), 20),
        (Start::Snapshot, 20),
    ] {
        assert_eq!(offset(start).await, expected, "{start:?}");
        if start != Start::Snapshot {
            let mut reader = topic.reader(start, OnLoss::Fail).await.unwrap();
            let count = usize::try_from(20 - expected).unwrap();
            assert!(
                numbers(&mut reader, count)
                    .await
                    .into_iter()
                    .eq(expected + 1..=20)
            );
            assert!(
                reader
                    .position()
                    .is_some_and(|position| position.offset() == 20)
            );
        }
    }
    // A position that was sought is one to read from.
    let position = topic.seek(Start::Last(3)).await.unwrap();
    let token = position.to_string();
    let position = Position::parse(&token, topic.name()).unwrap();
    assert_eq!(topic.seek(position).await.unwrap(), position);
    let batch = topic.read(position, Limit::new(2, 1000)).await.unwrap();
    assert!(batch.messages.iter().map(number).eq([18, 19]));
    let batch = topic.read(batch.next, Limit::default()).await.unwrap();
    assert!(batch.messages.iter().map(number).eq([20]));
    assert_eq!(batch.next.offset(), batch.bounds.last);
}

#[tokio::test]
async fn topic_015_the_last_few_are_counted_where_records_are_missing() {
    let mut settings = Settings::default();
    settings.compaction = Some(updraft_topics::Compaction::default());
    settings.compaction.as_mut().unwrap().min_lag = std::time::Duration::ZERO;
    let (_topics, topic) = topic(settings).await;
    fill(&topic, 1, 3).await;
    let states = (4..=1000_u64).map(|n| updraft_topics::Entry::value(&n).compact("id"));
    topic.publish_many(states).await.unwrap();
    topic.sweep().await.unwrap();
    for (count, first) in [(1, 999), (2, 2), (3, 1), (4, 0), (5, 0)] {
        let position = topic.seek(Start::Last(count)).await.unwrap();
        let mut reader = topic.reader(position, OnLoss::Fail).await.unwrap();
        let expected: Vec<_> = [1, 2, 3, 1000].into_iter().filter(|n| *n > first).collect();
        assert_eq!(numbers(&mut reader, expected.len()).await, expected);
        assert!(is_silent(&mut reader).await);
    }
}

#[tokio::test]
async fn topic_016_what_is_published_after_latest_was_asked_for_arrives() {
    let (_topics, topic) = topic(Settings::default()).await;
    fill(&topic, 1, 3).await;
    let mut reader = topic.reader(Start::Latest, OnLoss::Fail).await.unwrap();
    let position = topic.seek(Start::Latest).await.unwrap();
    fill(&topic, 4, 4).await;
    assert_eq!(numbers(&mut reader, 1).await, [4]);
    let mut reader = topic.reader(position, OnLoss::Fail).await.unwrap();
    assert_eq!(numbers(&mut reader, 1).await, [4]);
}

#[tokio::test]
async fn topic_018_each_reader_gets_its_own_backlog() {
    let (_topics, topic) = topic(Settings::default()).await;
    fill(&topic, 1, 10).await;
    let mut one = topic.reader(Start::Last(2), OnLoss::Fail).await.unwrap();
    let mut two = topic.reader(Start::Earliest, OnLoss::Fail).await.unwrap();
    assert_eq!(numbers(&mut one, 2).await, [9, 10]);
    assert!(numbers(&mut two, 10).await.into_iter().eq(1..=10));
    fill(&topic, 11, 11).await;
    assert_eq!(numbers(&mut one, 1).await, [11]);
    assert_eq!(numbers(&mut two, 1).await, [11]);
    two.seek(Start::Last(4)).await.unwrap();
    assert_eq!(numbers(&mut two, 4).await, [8, 9, 10, 11]);
}

#[tokio::test]
async fn topic_033_a_foreign_position_is_a_bad_position() {
    let (topics, topic) = topic(Settings::default()).await;
    let payments = topics.topic("payments", Settings::default()).await.unwrap();
    let foreign = payments.publish(text("a")).await.unwrap().position;
    let error = topic.seek(foreign).await.unwrap_err();
    assert_eq!(error.code(), "bad-position");
    let error = topic.read(foreign, Limit::default()).await.unwrap_err();
    assert_eq!(error.code(), "bad-position");
    let error = topic.reader(foreign, OnLoss::Latest).await.unwrap_err();
    assert_eq!(error.code(), "bad-position");
}

#[tokio::test]
async fn topics_are_listed_and_deleted_by_name() {
    let (topics, topic) = topic(Settings::default()).await;
    topics.topic("payments", Settings::default()).await.unwrap();
    let names = async || {
        let names = topics.list("", None, 10).await.unwrap();
        names
            .iter()
            .map(|name| name.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(names().await, ["orders", "payments"]);
    // Names that were listed can be opened.
    for name in topics.list("", None, 10).await.unwrap() {
        let opened = topics
            .topic(name.clone(), Settings::default())
            .await
            .unwrap();
        assert_eq!(*opened.name(), name);
        topics
            .topic(name.to_string(), Settings::default())
            .await
            .unwrap();
    }
    topics
        .delete(&TopicName::new("payments").unwrap())
        .await
        .unwrap();
    topics
        .delete(&TopicName::new("unknown").unwrap())
        .await
        .unwrap();
    assert_eq!(names().await, ["orders"]);
    // One that is open ends.
    topics.delete(topic.name()).await.unwrap();
    assert_eq!(names().await, Vec::<String>::new());
    let error = topic.publish(text("a")).await.unwrap_err();
    assert_eq!(error.code(), "unknown-topic");
    let again = topics.topic("orders", Settings::default()).await.unwrap();
    assert_eq!(again.publish(text("a")).await.unwrap().offset, 1);
}
