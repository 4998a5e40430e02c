//! Gaps and resets, and what a reader does then.

use updraft_topics::{
    Create, End, Entry, Epoch, Limit, Log, Memory, OnLoss, Position, Received, ResetReason,
    Settings, Start, TopicError, Topics,
};

use crate::{fill, item, next, numbers, topic};

const LIMIT: Limit = Limit::new(256, 256 * 1024);

#[tokio::test]
async fn topic_025_a_gap_has_the_count_and_comes_before_any_record() {
    let (_topics, topic) = topic(Settings::default()).await;
    fill(&topic, 1, 10).await;
    let second = topic.read(
        topic.seek(Start::Earliest).await.unwrap(),
        Limit::new(2, 1000),
    );
    let second = second.await.unwrap().next;
    topic.trim(2).await.unwrap();
    assert_eq!(topic.read(second, LIMIT).await.unwrap().messages.len(), 8);
    topic.trim(7).await.unwrap();
    let error = topic.read(second, LIMIT).await.unwrap_err();
    assert_eq!(error.code(), "gap");
    let TopicError::Gap(gap) = error else {
        panic!("{error:?}");
    };
    assert_eq!((gap.requested, gap.first, gap.lost), (2, 8, 5));
    let mut reader = topic.reader(second, OnLoss::Fail).await.unwrap();
    assert_eq!(item(&mut reader).await.unwrap().unwrap_err().code(), "gap");
    assert!(item(&mut reader).await.is_none());
}

#[tokio::test]
async fn topic_026_a_topic_that_was_created_again_resets_old_positions() {
    let memory = Memory::new();
    let topics = Topics::open(memory.clone());
    let topic = topics.topic("orders", Settings::default()).await.unwrap();
    fill(&topic, 1, 3).await;
    let old = topic.seek(Start::Latest).await.unwrap();
    let mut live = topic.reader(old, OnLoss::Earliest).await.unwrap();
    // By somebody else.
    memory.end(topic.name(), End::Delete).await.unwrap();
    fill(&topic, 4, 5).await;
    let error = topic.read(old, LIMIT).await.unwrap_err();
    assert_eq!(error.code(), "reset");
    let TopicError::Reset(reset) = error else {
        panic!("{error:?}");
    };
    assert_eq!(reset.reason.as_str(), "unknown-epoch");
    assert_eq!(
        (reset.first, reset.last),
        (1, topic.seek(Start::Latest).await.unwrap())
    );
    let Received::Reset(told) = next(&mut live).await else {
        panic!("the reader was not told");
    };
    assert_eq!(told, reset);
    assert_eq!(numbers(&mut live, 2).await, [4, 5]);
}

#[tokio::test]
async fn topic_026_an_open_topic_that_vanished_is_created_again() {
    let memory = Memory::new();
    let topics = Topics::open(memory.clone());
    let mut declared = Settings::default();
    memory
        .open(&"orders".parse().unwrap(), Create::IfMissing)
        .await
        .unwrap();
    declared.auto_create = false;
    let topic = topics.topic("orders", declared).await.unwrap();
    fill(&topic, 1, 3).await;
    let mut live = topic.reader(Start::Latest, OnLoss::Fail).await.unwrap();
    memory.end(topic.name(), End::Delete).await.unwrap();
    let error = item(&mut live).await.unwrap().unwrap_err();
    assert_eq!(error.code(), "reset");
    assert_eq!(topic.bounds().await.unwrap().last, 0);
}

#[tokio::test]
async fn topic_027_028_lost_records_reset_the_positions_behind_them() {
    let (_topics, topic) = topic(Settings::default()).await;
    fill(&topic, 1, 5).await;
    let epoch = topic.bounds().await.unwrap().epoch;
    let last = topic.seek(Start::Latest).await.unwrap();
    let reset = async |epoch: Epoch, offset, mark| {
        let position = Position::new(topic.name(), epoch, offset, mark);
        match topic.read(position, LIMIT).await {
            Err(TopicError::Reset(reset)) => {
                assert_eq!(reset.last, last);
                reset.reason
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(reset(epoch, 6, 1).await, ResetReason::Ahead);
    assert_eq!(reset(epoch, 3, 1).await, ResetReason::Diverged);
    assert_eq!(reset(epoch, 5, 1).await, ResetReason::Diverged);
    assert_eq!(reset(Epoch::draw(), 3, 1).await, ResetReason::UnknownEpoch);
    assert_eq!(reset(Epoch::draw(), 0, 0).await, ResetReason::UnknownEpoch);
}

#[tokio::test]
async fn topic_030_a_reader_is_told_first_and_then_does_as_it_was_asked() {
    let (_topics, topic) = topic(Settings::default()).await;
    let first = topic.publish(Entry::value(&1)).await.unwrap().position;
    let states = [(2_u64, "a"), (3, "b"), (4, "a"), (5, "c")];
    let states = states.map(|(n, id)| Entry::value(&n).compact(id));
    topic.publish_many(states).await.unwrap();
    topic.publish(Entry::tombstone("c")).await.unwrap();
    topic.trim(2).await.unwrap();
    let epoch = topic.bounds().await.unwrap().epoch;
    let lost = Position::new(topic.name(), epoch, 99, 1);
    for (position, told) in [(first, "gap"), (lost, "reset")] {
        for (on_loss, expected) in [
            (OnLoss::Earliest, vec![3, 4, 5]),
            (OnLoss::Latest, vec![]),
            (OnLoss::Snapshot, vec![3, 4]),
        ] {
            let mut reader = topic.reader(position, on_loss).await.unwrap();
            match (next(&mut reader).await, told) {
                (Received::Gap(gap), "gap") => assert_eq!(gap.lost, 1),
                (Received::Reset(_), "reset") => {}
                (other, _) => panic!("{other:?}"),
            }
            let read = numbers(&mut reader, expected.len()).await;
            assert_eq!(read, expected, "{on_loss:?} after a {told}");
        }
        let mut reader = topic.reader(position, OnLoss::Fail).await.unwrap();
        assert_eq!(item(&mut reader).await.unwrap().unwrap_err().code(), told);
        assert!(item(&mut reader).await.is_none());
    }
}
