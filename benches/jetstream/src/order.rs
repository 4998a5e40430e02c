//! The work of the bench's test of order: some records fail, and one of the members stands still.
//! What is handled is printed in the order in which it was.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::{AckKind, Message};
use futures_util::TryStreamExt;
use futures_util::stream::select_all;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::Failure;
use crate::stream::{ack, consumers, parts};

/// What happens.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) count: usize,
    pub(crate) members: usize,
    pub(crate) at_once: usize,
    /// Of so many records one fails when it is delivered for the first time.
    pub(crate) fails: usize,
    /// After which time it is to come again, if not at once.
    pub(crate) delay: Option<Duration>,
    /// After how many records the first member stands still.
    pub(crate) stands_still: usize,
}

/// The records that were handled, and those that have failed.
#[derive(Default)]
struct Log {
    done: HashSet<usize>,
    failed: HashSet<usize>,
}

/// Works until all records are handled.
pub(crate) async fn run(client: &Client, plan: Plan) -> Result<(), Failure> {
    let consumers = consumers(client).await?;
    let log = Arc::new(Mutex::new(Log::default()));
    let mut working: JoinSet<Result<(), Failure>> = JoinSet::new();
    for name in 0..plan.members {
        let mut streams = Vec::with_capacity(consumers.len());
        for consumer in &consumers {
            let messages = consumer.stream().max_messages_per_batch(plan.at_once);
            streams.push(messages.messages().await?);
        }
        let (client, log) = (client.clone(), Arc::clone(&log));
        let stands_still = (name == 0).then_some(plan.stands_still);
        working.spawn(async move {
            let mut handled = 0;
            let mut messages = select_all(streams);
            while let Some(message) = messages.try_next().await? {
                handled += 1;
                if stands_still.is_some_and(|most| handled > most) {
                    std::future::pending::<()>().await;
                }
                if handle(&message, plan.fails, &log)? {
                    ack(&client, &message).await?;
                } else {
                    message.ack_with(AckKind::Nak(plan.delay)).await?;
                }
            }
            Ok(())
        });
    }
    while log
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .done
        .len()
        < plan.count
    {
        tokio::select! {
            Some(ended) = working.join_next() => ended??,
            () = sleep(Duration::from_millis(10)) => {}
        }
    }
    Ok(())
}

/// Handles a record and prints that. Returns whether it has not failed.
fn handle(message: &Message, fails: usize, log: &Mutex<Log>) -> Result<bool, Failure> {
    let (key, number) = parts(message)?;
    let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
    if number.is_multiple_of(fails) && log.failed.insert(number) {
        println!("failed {number}");
        return Ok(false);
    }
    log.done.insert(number);
    println!("handled {key} {number}");
    Ok(true)
}
