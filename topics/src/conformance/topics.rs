//! Topics over the store: where readers begin and go on, and what a topic gives up.

use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

use super::cancel::cut;
use super::{Handles, Harness, channels};
use crate::{
    Compaction, Entry, Limit, Message, OnLoss, Position, Reader, Received, Settings, Start, Topic,
    Topics, WhenFull,
};

/// Settings with which no reader looks for itself.
fn no_poll() -> Settings {
    Settings {
        poll: Duration::from_secs(3600),
        // The machine may be slow.
        deadline: Duration::from_secs(60),
        ..Settings::default()
    }
}

async fn orders(store: Handles, settings: Settings) -> Topic {
    let topics = Topics::open(store.with(&channels()));
    topics.topic("orders", settings).await.unwrap()
}

async fn fill(topic: &Topic, numbers: impl IntoIterator<Item = u64>) {
    let entries = numbers.into_iter().map(|n| Entry::value(&n));
    topic.publish_many(entries).await.unwrap();
}

async fn next(reader: &mut Reader) -> Option<Received> {
    let next = timeout(Duration::from_secs(60), reader.next()).await;
    let next = next.expect("the reader has something to return");
    next.transpose().unwrap()
}

async fn message(reader: &mut Reader) -> Message {
    match next(reader).await {
        Some(Received::Message(message)) => message,
        other => panic!("not a record: {other:?}"),
    }
}

/// So many records, whose values are numbers.
async fn numbers(reader: &mut Reader, count: usize) -> Vec<u64> {
    let mut numbers = Vec::new();
    while numbers.len() < count {
        numbers.push(message(reader).await.parse().unwrap());
    }
    numbers
}

/// The offsets that the topic holds.
async fn held(topic: &Topic) -> Vec<u64> {
    let mut held = Vec::new();
    let mut position = topic.seek(Start::Earliest).await.unwrap();
    loop {
        let batch = topic.read(position, Limit::new(7, 10_000)).await.unwrap();
        held.extend(batch.messages.iter().map(Message::offset));
        position = batch.next;
        if position.offset() == batch.bounds.last {
            return held;
        }
    }
}

/// By the store's own times, and where records are missing.
pub async fn topic_015_017_each_start_is_where_it_should_be(harness: &impl Harness) {
    let topic = orders(harness.open().await, no_poll()).await;
    let offset = async |start: Start| topic.seek(start).await.unwrap().offset();
    for start in [
        Start::Earliest,
        Start::Latest,
        Start::Last(3),
        Start::Time(0),
    ] {
        assert_eq!(offset(start).await, 0, "{start:?} of an empty topic");
    }
    for n in 0..10 {
        fill(&topic, [2 * n + 1, 2 * n + 2]).await;
        sleep(Duration::from_millis(2)).await;
    }
    let earliest = topic.seek(Start::Earliest).await.unwrap();
    let all = topic.read(earliest, Limit::default()).await.unwrap();
    topic.trim(5).await.unwrap();
    for (start, expected) in [
        (Start::Earliest, 5),
        (Start::Latest, 20),
        (Start::Last(0), 20),
        (Start::Last(3), 17),
        (Start::Last(99), 5),
        (Start::Time(0), 5),
        (Start::Time(u64::MAX), 20),
    ] {
        assert_eq!(offset(start).await, expected, "{start:?}");
    }
    for message in &all.messages {
        let time = message.time();
        let older = all.messages.iter().take_while(|it| it.time() < time);
        let older = u64::try_from(older.count()).unwrap();
        assert_eq!(offset(Start::Time(time)).await, older.max(5));
    }
}

/// Cut off anywhere, with nothing but its position, while others publish; and it ends with the
/// topic.
pub async fn topic_012_023_034_a_reader_gets_each_record_once_up_to_the_end(
    harness: &impl Harness,
) {
    let topic = orders(harness.open().await, no_poll()).await;
    let reading = async {
        let mut seen = Vec::new();
        let mut token = topic.seek(Start::Earliest).await.unwrap().to_string();
        for polls in (0..20).cycle() {
            let position = Position::parse(&token, topic.name()).unwrap();
            let reader = topic.reader(position, OnLoss::Fail).await.unwrap();
            let mut reader = reader.page(Limit::new(5, 10_000));
            // What was returned is kept; what was not is read again.
            while let Some(next) = cut(reader.next(), polls).await {
                match next.transpose().unwrap() {
                    Some(Received::Message(message)) => seen.push(message.parse::<u64>().unwrap()),
                    Some(other) => panic!("{other:?}"),
                    None => return seen,
                }
            }
            // So that it gets on, and ends, if every read takes longer.
            if polls == 19 {
                let Some(page) = reader.next_batch(5).await.transpose().unwrap() else {
                    return seen;
                };
                for received in page {
                    match received {
                        Received::Message(message) => seen.push(message.parse::<u64>().unwrap()),
                        other => panic!("{other:?}"),
                    }
                }
            }
            token = reader.position().unwrap().to_string();
            yield_now().await;
        }
        seen
    };
    let publishing = async {
        for n in (0..60).step_by(4) {
            fill(&topic, n..n + 4).await;
            yield_now().await;
        }
        topic.close().await.unwrap();
    };
    let (seen, ()) = tokio::join!(reading, publishing);
    assert!(seen.into_iter().eq(0..60));
}

/// With nothing but its position.
pub async fn topic_023_a_reader_goes_on_after_a_kill(harness: &impl Harness) {
    let store = harness.open().await;
    if !store.log.features().durable {
        return;
    }
    let topic = orders(store, no_poll()).await;
    fill(&topic, 1..=9).await;
    let mut reader = topic.reader(Start::Earliest, OnLoss::Fail).await.unwrap();
    assert!(numbers(&mut reader, 5).await.into_iter().eq(1..=5));
    let token = reader.position().unwrap().to_string();
    drop((topic, reader));
    harness.kill().await;
    let topic = orders(harness.open().await, no_poll()).await;
    let position = Position::parse(&token, topic.name()).unwrap();
    let mut reader = topic.reader(position, OnLoss::Fail).await.unwrap();
    let (read, ()) = tokio::join!(numbers(&mut reader, 6), fill(&topic, 10..=11));
    assert!(read.into_iter().eq(6..=11));
}

/// With the count, and before any record.
pub async fn topic_025_084_a_reader_that_is_overtaken_by_a_trim_is_told(harness: &impl Harness) {
    let topic = orders(harness.open().await, no_poll()).await;
    fill(&topic, 1..=50).await;
    let reader = topic.reader(Start::Earliest, OnLoss::Earliest).await;
    let mut reader = reader.unwrap().page(Limit::new(10, 10_000));
    assert!(numbers(&mut reader, 5).await.into_iter().eq(1..=5));
    topic.trim(30).await.unwrap();
    // What it has read already is still there.
    assert!(numbers(&mut reader, 5).await.into_iter().eq(6..=10));
    let Some(Received::Gap(gap)) = next(&mut reader).await else {
        panic!("not told");
    };
    assert_eq!((gap.requested, gap.first, gap.lost), (10, 31, 20));
    assert!(numbers(&mut reader, 20).await.into_iter().eq(31..=50));
}

/// The oldest go, or the newest are refused.
pub async fn topic_073_074_count_and_bytes_bound_a_topic(harness: &impl Harness) {
    let store = harness.open().await;
    // A digit, and a key of nine bytes.
    let entry = || Entry::value(&1).key("123456789");
    for by_bytes in [false, true] {
        let name = if by_bytes { "bytes" } else { "count" };
        let mut settings = no_poll();
        settings.retention.max_records = (!by_bytes).then_some(10);
        settings.retention.max_bytes = by_bytes.then_some(100);
        let topics = Topics::open(store.with(&channels()));
        let topic = topics.topic(name, settings.clone()).await.unwrap();
        topic.publish_many((0..25).map(|_| entry())).await.unwrap();
        topic.sweep().await.unwrap();
        assert!(held(&topic).await.into_iter().eq(16..=25));
        drop(topic);

        settings.retention.when_full = WhenFull::Refuse;
        let full = topics.topic(name, settings).await.unwrap();
        let error = full.publish(entry()).await.unwrap_err();
        assert_eq!(error.code(), "topic-full");
        full.trim(16).await.unwrap();
        assert_eq!(full.publish(entry()).await.unwrap().offset, 26);
        assert!(full.publish(entry()).await.is_err());
    }
}

fn compacted(min_lag: Duration, tombstone_retention: Duration) -> Settings {
    Settings {
        compaction: Some(Compaction {
            min_lag,
            tombstone_retention,
        }),
        ..no_poll()
    }
}

const HOUR: Duration = Duration::from_secs(3600);

/// Young ones too, and tombstones until their time is over.
pub async fn topic_031_078_079_080_the_newest_of_each_id_and_all_without_one_survive(
    harness: &impl Harness,
) {
    let store = harness.open().await;
    if !store.log.features().remove {
        return;
    }
    let topic = orders(store.clone(), compacted(HOUR, HOUR)).await;
    for n in 1..=30_u64 {
        let entry = match n {
            10 | 20 | 30 => Entry::value(&n),
            29 => Entry::tombstone("2"),
            n => Entry::value(&n).compact((n % 3).to_string()),
        };
        topic.publish(entry).await.unwrap();
    }
    topic.sweep().await.unwrap();
    assert!(held(&topic).await.into_iter().eq(1..=30));
    let mut snapshot = topic.reader(Start::Snapshot, OnLoss::Fail).await.unwrap();
    assert_eq!(numbers(&mut snapshot, 2).await, [27, 28]);
    drop(topic);

    let topic = orders(store.clone(), compacted(Duration::ZERO, HOUR)).await;
    let early = topic.seek(Start::Last(29)).await.unwrap();
    topic.sweep().await.unwrap();
    assert_eq!(held(&topic).await, [10, 20, 27, 28, 29, 30]);
    let bounds = topic.bounds().await.unwrap();
    assert_eq!((bounds.first, bounds.last, bounds.horizon), (1, 30, 0));
    // Nothing that somebody who has read the first needs is missing.
    let mut reader = topic.reader(early, OnLoss::Fail).await.unwrap();
    assert_eq!(message(&mut reader).await.offset(), 10);
    drop(topic);

    let topic = orders(store, compacted(Duration::ZERO, Duration::ZERO)).await;
    topic.sweep().await.unwrap();
    assert_eq!(held(&topic).await, [10, 20, 27, 28, 30]);
    assert_eq!(topic.bounds().await.unwrap().horizon, 29);
    let mut reader = topic.reader(early, OnLoss::Earliest).await.unwrap();
    assert!(matches!(next(&mut reader).await, Some(Received::Gap(_))));
    assert_eq!(message(&mut reader).await.offset(), 10);
}

/// At any await: each id is as before or as after, and a snapshot has each once.
pub async fn topic_081_082_a_compaction_may_stop_anywhere(harness: &impl Harness) {
    let store = harness.open().await;
    if !store.log.features().remove {
        return;
    }
    let settings = compacted(Duration::ZERO, Duration::ZERO);
    for round in 0..20_u64 {
        let topic = orders(store.clone(), settings.clone()).await;
        let states = (0..5).map(|id: u64| Entry::value(&round).compact(id.to_string()));
        let end = [Entry::tombstone("4")];
        topic.publish_many(states.chain(end)).await.unwrap();
        let polls = usize::try_from(round).unwrap();
        cut(topic.sweep(), polls).await;
        let mut snapshot = topic.reader(Start::Snapshot, OnLoss::Fail).await.unwrap();
        let (read, ()) = tokio::join!(numbers(&mut snapshot, 5), fill(&topic, [99]));
        assert_eq!(read, [round, round, round, round, 99]);
    }
}
