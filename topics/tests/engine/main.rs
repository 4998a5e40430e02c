//! Topics over the store in memory, and over one that fails as it is told.

mod broker;
mod emitter;
mod group;
mod lease;
mod live;
mod lookup;
mod loss;
mod publish;
mod retention;
mod seeds;
mod store;

use std::time::Duration;

use tokio::time::{sleep, timeout};
use updraft_protocol::ejson::Value;
use updraft_topics::{
    Entry, Memory, Message, Reader, Received, Settings, Topic, TopicError, Topics,
};

/// A topic in memory.
async fn topic(settings: Settings) -> (Topics, Topic) {
    let topics = Topics::open(Memory::new());
    let topic = topics.topic("orders", settings).await.unwrap();
    (topics, topic)
}

/// Publishes the numbers from `first` to `last`.
async fn fill(topic: &Topic, first: u64, last: u64) {
    let entries = (first..=last).map(|n| Entry::value(&n));
    topic.publish_many(entries).await.unwrap();
}

fn number(message: &Message) -> u64 {
    message.parse().unwrap()
}

/// The next item, which must come.
async fn next(reader: &mut Reader) -> Received {
    item(reader).await.unwrap().unwrap()
}

async fn item(reader: &mut Reader) -> Option<Result<Received, TopicError>> {
    let next = timeout(Duration::from_secs(30), reader.next());
    next.await.expect("the reader has something to return")
}

async fn message(reader: &mut Reader) -> Message {
    match next(reader).await {
        Received::Message(message) => message,
        other => panic!("not a record: {other:?}"),
    }
}

/// So many records, which must come.
async fn numbers(reader: &mut Reader, count: usize) -> Vec<u64> {
    let mut numbers = Vec::new();
    while numbers.len() < count {
        numbers.push(number(&message(reader).await));
    }
    numbers
}

/// Whether nothing comes, as far as one can see without waiting long.
async fn is_silent(reader: &mut Reader) -> bool {
    timeout(Duration::from_millis(20), reader.next())
        .await
        .is_err()
}

/// Waits until something holds.
async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..3000 {
        if holds().await {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("never happened: {what}");
}

fn text(text: &str) -> Value {
    Value::from(text)
}
