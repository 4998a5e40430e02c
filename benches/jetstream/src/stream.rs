//! The stream and its durable consumers. A subject is `orders.PARTITION.KEY`.

use std::str::FromStr;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::stream::{Config, StorageType};
use async_nats::jetstream::{self, Context};
use async_nats::{Client, Message};
use futures_util::TryStreamExt;
use futures_util::future::try_join_all;

use crate::Failure;

const STREAM: &str = "orders";

/// What the server takes if nothing is said.
const MAX_ACK_PENDING: i64 = 1000;

/// Parts of the keys, where each has a consumer of its own.
const PARTITIONS: usize = 16;

/// Records that are published before one waits for the answers.
const PAGE: usize = 1000;

/// Where the stream and the state of its consumers are.
pub(crate) struct Storage(StorageType);

/// What is kept of the order of a key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Nothing: one consumer, of which all members get their records.
    None,
    /// All of it, as far as JetStream can: a consumer for each part of the keys, which hands out one
    /// record at a time.
    Key,
}

impl FromStr for Storage {
    type Err = Failure;

    fn from_str(word: &str) -> Result<Self, Failure> {
        match word {
            "memory" => Ok(Self(StorageType::Memory)),
            "file" => Ok(Self(StorageType::File)),
            _ => Err(format!("no storage: {word}").into()),
        }
    }
}

impl FromStr for Order {
    type Err = Failure;

    fn from_str(word: &str) -> Result<Self, Failure> {
        match word {
            "none" => Ok(Self::None),
            "key" => Ok(Self::Key),
            _ => Err(format!("no order: {word}").into()),
        }
    }
}

/// Makes an empty stream with its consumers, in the place of an earlier one.
pub(crate) async fn create(
    client: &Client,
    storage: Storage,
    order: Order,
    ack_wait: Duration,
) -> Result<(), Failure> {
    let context = context(client);
    // There is none at first.
    drop(context.delete_stream(STREAM).await);
    let config = Config {
        name: STREAM.into(),
        subjects: vec![format!("{STREAM}.>")],
        storage: storage.0,
        ..Config::default()
    };
    let stream = context.create_stream(config).await?;
    let consumer = |name: String, filter_subject: String, max_ack_pending| pull::Config {
        durable_name: Some(name),
        filter_subject,
        ack_policy: AckPolicy::Explicit,
        ack_wait,
        max_ack_pending,
        ..pull::Config::default()
    };
    let configs = match order {
        Order::None => vec![consumer("workers".into(), String::new(), MAX_ACK_PENDING)],
        Order::Key => (0..PARTITIONS)
            .map(|it| consumer(format!("workers-{it}"), format!("{STREAM}.{it}.*"), 1))
            .collect(),
    };
    for config in configs {
        stream.create_consumer(config).await?;
    }
    Ok(())
}

/// Publishes records with ascending numbers, from 1, as text of this size.
pub(crate) async fn fill(
    client: &Client,
    count: usize,
    keys: usize,
    size: usize,
) -> Result<(), Failure> {
    let context = context(client);
    let numbers: Vec<usize> = (1..=count).collect();
    for numbers in numbers.chunks(PAGE) {
        let mut answers = Vec::with_capacity(PAGE);
        for number in numbers {
            let key = number % keys;
            let subject = format!("{STREAM}.{}.{key}", key % PARTITIONS);
            let payload = format!("{number:0size$}");
            answers.push(context.publish(subject, payload.into()).await?);
        }
        try_join_all(answers.into_iter().map(IntoFuture::into_future)).await?;
    }
    Ok(())
}

/// The consumers that were made.
pub(crate) async fn consumers(client: &Client) -> Result<Vec<PullConsumer>, Failure> {
    let stream = context(client).get_stream(STREAM).await?;
    let mut names: Vec<String> = stream.consumer_names().try_collect().await?;
    names.sort();
    let consumers = names.iter().map(|name| stream.get_consumer(name));
    Ok(try_join_all(consumers).await?)
}

/// Acknowledges a record, and waits until the server has said that it knows. The client's own
/// `double_ack` opens a subscription for each, which costs both sides more.
pub(crate) async fn ack(client: &Client, message: &Message) -> Result<(), Failure> {
    let reply = message
        .reply
        .clone()
        .ok_or("a record that nobody waits for")?;
    client.request(reply, "+ACK".into()).await?;
    Ok(())
}

/// The key of a record, and its number.
pub(crate) fn parts(message: &Message) -> Result<(&str, usize), Failure> {
    let (_, key) = message.subject.rsplit_once('.').ok_or("no key")?;
    Ok((key, std::str::from_utf8(&message.payload)?.parse()?))
}

fn context(client: &Client) -> Context {
    jetstream::new(client.clone())
}
