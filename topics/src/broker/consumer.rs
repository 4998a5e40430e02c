//! A consumer of a group: one process at a time is the one of its number.

use std::time::Duration;

use tokio::time::timeout;

use crate::registry::Engine;
use crate::{Delivery, HandlerError, Held, TopicError};

/// Consumes the streams of a group, see [`EventBroker::consumer`](super::EventBroker::consumer).
#[derive(Clone, Debug)]
#[must_use = "a consumer does nothing until it consumes"]
pub struct EventConsumer {
    engine: Engine,
    group: String,
    wait: Duration,
    blocks: bool,
}

/// How consuming has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "nothing was consumed if another process is this consumer"]
#[non_exhaustive]
pub enum Consumed {
    /// There is nothing left that can be had now.
    Drained,
    /// Another process is this consumer: nothing was consumed.
    NotOwner,
    /// Another process may be this consumer by now, since the store was away for too long. The
    /// handler was stopped.
    Lost,
}

impl EventConsumer {
    pub(super) fn new(engine: Engine, group: &str) -> Self {
        Self {
            engine,
            group: group.to_owned(),
            wait: Duration::ZERO,
            blocks: true,
        }
    }

    /// How long [`consume`](Self::consume) waits until it may be this consumer, before it answers
    /// [`Consumed::NotOwner`]. By default it answers at once; [`Duration::MAX`] is for ever.
    ///
    /// A consumer whose process was killed is replaced after the
    /// [lease time](crate::registry::Registry::lease): a program that is started anew, and asks once,
    /// waits for longer than that.
    pub fn wait(mut self, time: Duration) -> Self {
        self.wait = time;
        self
    }

    /// Consumes what there is and ends, where it would otherwise wait for more.
    pub fn non_blocking(mut self) -> Self {
        self.blocks = false;
        self
    }

    /// As [`consume_many`](Self::consume_many), as consumer number 1: where all use this, one
    /// process at a time consumes the group.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn consume<H, F>(&self, limit: usize, handler: H) -> Result<Consumed, TopicError>
    where
        H: FnMut(Vec<Delivery>) -> F,
        F: Future<Output = Result<(), HandlerError>>,
    {
        self.consume_many(1, limit, handler).await
    }

    /// Calls the handler for at most `limit` events at a time, of all streams of the group together,
    /// as the consumer of this number: one process at a time is that one, others can have other
    /// numbers. In each call the events are in the order in which they were published.
    ///
    /// The events are acknowledged when the handler succeeds, unless it has answered them. If it
    /// fails or panics, it is called again for each of them alone, and only those that it fails for
    /// then come again; what has failed too often is set aside as a dead letter.
    ///
    /// This goes on until the future is dropped, or, if it is [non-blocking](Self::non_blocking),
    /// until nothing is left. No events are lost with a consumer that ends, whatever its number: what
    /// it had is given to the others.
    ///
    /// # Errors
    ///
    /// [`TopicError::UnknownGroup`] if the group was deleted, [`TopicError::Paused`] if it is paused
    /// and this does not wait, or that of the store.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, so is the handler's. What was not answered is given to others, and
    /// another process may be this consumer at once.
    pub async fn consume_many<H, F>(
        &self,
        number: u32,
        limit: usize,
        mut handler: H,
    ) -> Result<Consumed, TopicError>
    where
        H: FnMut(Vec<Delivery>) -> F,
        F: Future<Output = Result<(), HandlerError>>,
    {
        let Some(held) = self.take_lease(number).await? else {
            return Ok(Consumed::NotOwner);
        };
        let group = self.engine.group(&self.group)?;
        let mut member = group.member(&format!("consumer-{number}"));
        let handler = |mut events: Vec<Delivery>| {
            events.sort_by_cached_key(publication_order);
            handler(events)
        };
        let consuming = async {
            if self.blocks {
                return member.run_batches(limit, handler).await;
            }
            let drained = member.drain_batches(limit, handler).await;
            member.leave().await.and(drained)
        };
        let ended = held.run(consuming).await;
        held.release().await;
        match ended {
            Some(ended) => ended.map(|()| Consumed::Drained),
            None => Ok(Consumed::Lost),
        }
    }

    /// The right to be the consumer of this number.
    async fn take_lease(&self, number: u32) -> Result<Option<Held>, TopicError> {
        let lease = self.engine.consumer_lease(&self.group, number)?;
        match lease.try_take().await {
            Ok(None) | Err(_) if !self.wait.is_zero() => {
                Ok(timeout(self.wait, lease.take()).await.ok())
            }
            taken => taken,
        }
    }
}

/// What sorts events as they were published.
fn publication_order(event: &Delivery) -> (u64, String, u64) {
    let message = event.message();
    let stream = event.topic().as_str().to_owned();
    (message.time(), stream, message.offset())
}
