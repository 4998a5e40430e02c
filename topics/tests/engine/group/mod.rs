//! Groups over the store in memory, in paused time.

mod answers;
mod dead;
mod faults;
mod idle;
mod interest;
mod options;
mod order;
mod run;
mod stats;

use std::time::Duration;

use tokio::time::timeout;
use updraft_topics::{
    Delivery, Entry, Group, GroupSettings, Member, Memory, Settings, Topic, Topics,
};

const SECOND: Duration = Duration::from_secs(1);

/// How long it is certain that nothing comes any more, in paused time.
const LONG: Duration = Duration::from_secs(3600);

/// Topics in memory, with the topic `orders`.
async fn orders() -> (Topics, Topic) {
    let topics = Topics::open(Memory::new());
    let orders = topics.topic("orders", Settings::default()).await.unwrap();
    (topics, orders)
}

async fn group(topics: &Topics, settings: GroupSettings) -> Group {
    topics.group("billing", settings).await.unwrap()
}

/// Publishes a number for each key.
async fn publish(topic: &Topic, keys: &[&str]) {
    let first = topic.bounds().await.unwrap().last;
    let entries = (first + 1..).zip(keys).map(|(n, key)| {
        let entry = Entry::value(&n);
        if key.is_empty() {
            entry
        } else {
            entry.key(*key)
        }
    });
    topic.publish_many(entries).await.unwrap();
}

/// What is to be had now.
async fn fetch(member: &mut Member, most: usize) -> Vec<Delivery> {
    let fetched = timeout(LONG, member.fetch_now(most)).await;
    fetched.expect("an answer").unwrap()
}

/// What is to be had as soon as there is anything.
async fn wait(member: &mut Member, most: usize) -> Vec<Delivery> {
    let fetched = timeout(LONG, member.fetch(most)).await;
    fetched.expect("something to have").unwrap()
}

async fn ack_all(deliveries: &[Delivery]) {
    for delivery in deliveries {
        delivery.ack().await.unwrap();
    }
}

fn offsets(deliveries: &[Delivery]) -> Vec<u64> {
    deliveries.iter().map(|it| it.message().offset()).collect()
}

fn keys(deliveries: &[Delivery]) -> Vec<&str> {
    let keys = deliveries.iter().map(|it| it.message().key());
    keys.map(Option::unwrap_or_default).collect()
}
