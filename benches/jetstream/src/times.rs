//! How long it takes until what a member had is with another one.

use std::time::Instant;

use async_nats::Client;
use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::{AckKind, Message};
use futures_util::{StreamExt, TryStreamExt};
use tokio::task::JoinSet;

use crate::Failure;
use crate::stream::{ack, consumers};

/// A member answers half of what it has, and gives the rest back, as JetStream's clients do by hand.
/// Answers the milliseconds from its last answer until another one has the rest.
pub(crate) async fn leave(client: &Client, count: usize) -> Result<f64, Failure> {
    let consumer = consumer(client).await?;
    let held = gather(&consumer, count).await?;
    let (answered, given_back) = held.split_at(count / 2);
    let rest = given_back.len();
    let mut taking = JoinSet::new();
    let heir = consumer.clone();
    taking.spawn(async move { gather(&heir, rest).await.map(|_| Instant::now()) });
    for message in answered {
        ack(client, message).await?;
    }
    let began = Instant::now();
    for message in given_back {
        message.ack_with(AckKind::Nak(None)).await?;
    }
    let taken = taking.join_next().await.ok_or("nobody takes them")???;
    Ok(millis(began, taken))
}

/// A member goes away with its connection, as soon as it has all. Answers the milliseconds from then
/// until another one has what it had.
pub(crate) async fn crash(client: &Client, url: &str, count: usize) -> Result<f64, Failure> {
    let crashing = async_nats::connect(url).await?;
    gather(&consumer(&crashing).await?, count).await?;
    drop(crashing);
    let began = Instant::now();
    gather(&consumer(client).await?, count).await?;
    Ok(millis(began, Instant::now()))
}

async fn consumer(client: &Client) -> Result<PullConsumer, Failure> {
    let first = consumers(client).await?.into_iter().next();
    first.ok_or_else(|| "there is no consumer".into())
}

/// Waits until it has so many.
async fn gather(consumer: &PullConsumer, count: usize) -> Result<Vec<Message>, Failure> {
    let messages = consumer.stream().max_messages_per_batch(count);
    let messages = messages.messages().await?.take(count);
    Ok(messages.try_collect().await?)
}

fn millis(began: Instant, ended: Instant) -> f64 {
    ended.saturating_duration_since(began).as_secs_f64() * 1e3
}
