//! How fast members work through a stream: each has a stream of messages, of which the client orders
//! more before it has handled what is there.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::Message;
use futures_util::future::try_join_all;
use futures_util::stream::select_all;
use futures_util::{Stream, StreamExt};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::Failure;
use crate::stream::{ack, consumers};

/// How a member acknowledges what it has handled, each record by itself.
#[derive(Clone, Copy)]
pub(crate) enum Acks {
    /// All that it got at once, at the same time, and each is answered.
    Answered,
    /// Each is sent, and nothing is known of it.
    Sent,
}

impl FromStr for Acks {
    type Err = Failure;

    fn from_str(word: &str) -> Result<Self, Failure> {
        match word {
            "answered" => Ok(Self::Answered),
            "sent" => Ok(Self::Sent),
            _ => Err(format!("no way to acknowledge: {word}").into()),
        }
    }
}

/// Works until all is finished, as the server sees it. Answers how many records were handled.
pub(crate) async fn work_off(
    client: &Client,
    count: usize,
    members: usize,
    at_once: usize,
    acks: Acks,
) -> Result<usize, Failure> {
    let consumers = consumers(client).await?;
    let handled = Arc::new(AtomicUsize::new(0));
    let mut working = JoinSet::new();
    for name in 0..members {
        // All read from the only one, or each from its share of many.
        let places = (0..consumers.len().max(members)).filter(|place| place % members == name);
        let mut streams = Vec::new();
        for consumer in places.filter_map(|place| consumers.get(place % consumers.len())) {
            let messages = consumer.stream().max_messages_per_batch(at_once);
            streams.push(messages.messages().await?);
        }
        let pages = select_all(streams).ready_chunks(at_once);
        working.spawn(member(client.clone(), pages, acks, Arc::clone(&handled)));
    }
    while handled.load(Ordering::Relaxed) < count {
        tokio::select! {
            Some(ended) = working.join_next() => ended??,
            () = sleep(Duration::from_millis(1)) => {}
        }
    }
    for mut consumer in consumers {
        loop {
            let info = consumer.info().await?;
            if info.num_pending == 0 && info.num_ack_pending == 0 {
                break;
            }
            sleep(Duration::from_millis(1)).await;
        }
    }
    Ok(handled.load(Ordering::Relaxed))
}

async fn member<E: Into<Failure>>(
    client: Client,
    mut pages: impl Stream<Item = Vec<Result<Message, E>>> + Unpin,
    acks: Acks,
    handled: Arc<AtomicUsize>,
) -> Result<(), Failure> {
    while let Some(page) = pages.next().await {
        let page: Vec<Message> = page
            .into_iter()
            .collect::<Result<_, E>>()
            .map_err(Into::into)?;
        let count = page.len();
        match acks {
            Acks::Answered => {
                try_join_all(page.iter().map(|it| ack(&client, it))).await?;
            }
            Acks::Sent => {
                for message in page {
                    message.ack().await?;
                }
            }
        }
        handled.fetch_add(count, Ordering::Relaxed);
    }
    Ok(())
}
