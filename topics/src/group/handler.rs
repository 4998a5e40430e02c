//! Runs a function for the records of a member, and answers them.

use std::any::Any;
use std::error::Error;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, interval_at};

use super::context::{Confirmation, Verdict};
use super::delivery::{Delivery, fail, reject};
use super::member::Member;
use crate::TopicError;

/// Why a handler has failed. If it is a [`TopicError::NotDecoded`], the record becomes a dead letter
/// at once; otherwise it is delivered again.
pub type HandlerError = Box<dyn Error + Send + Sync>;

/// Records that [`Member::run`] fetches at once: few at first, so that others have some too, and
/// more as long as all of them are handled within a moment. Each fetch is a write of the store.
#[derive(Debug)]
struct AtOnce(usize);

/// Records for which a handler was called.
struct HandledBatch {
    /// What is still to be written.
    acks: Vec<Confirmation>,
    /// How long the handlers took.
    time: Duration,
}

const FEWEST: usize = 16;
const MOST: usize = 128;
const MOMENT: Duration = Duration::from_millis(10);

impl AtOnce {
    const fn new() -> Self {
        Self(FEWEST)
    }

    /// So many were handled in this time.
    fn handled(&mut self, count: usize, time: Duration) {
        if time > MOMENT {
            self.0 = FEWEST;
        } else if count == self.0 {
            self.0 = self.0.saturating_mul(2).min(MOST);
        }
    }
}

impl Member {
    /// Calls the handler for each record, one at a time, until the group is deleted or the topics
    /// are closed. A record is acknowledged when the handler succeeds, unless the handler has
    /// answered it. If it fails or panics, the record is delivered again, after the time of the
    /// back-off list, and becomes a dead letter after the most deliveries.
    ///
    /// The time of a record is extended for as long as the handler runs, up to the most that the
    /// group allows. Then the record is another member's, and the handler's future is dropped.
    ///
    /// # Errors
    ///
    /// As [`fetch`](Self::fetch).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, so is the handler's. What was not answered is given to others.
    pub async fn run<H, F>(mut self, mut handler: H) -> Result<(), TopicError>
    where
        H: FnMut(Delivery) -> F,
        F: Future<Output = Result<(), HandlerError>>,
    {
        let mut at_once = AtOnce::new();
        let mut acks = Vec::new();
        loop {
            // They are written together with what is fetched.
            let deliveries = self.fetch(at_once.0).await?;
            until_written(acks).await?;
            let count = deliveries.len();
            let handled = self.handle_each(deliveries, &mut handler).await?;
            at_once.handled(count, handled.time);
            acks = handled.acks;
        }
    }

    /// As [`run`](Self::run), until there is nothing that can be had now.
    ///
    /// # Errors
    ///
    /// As [`fetch_now`](Self::fetch_now).
    pub async fn drain<H, F>(&mut self, mut handler: H) -> Result<(), TopicError>
    where
        H: FnMut(Delivery) -> F,
        F: Future<Output = Result<(), HandlerError>>,
    {
        let mut at_once = AtOnce::new();
        let mut acks = Vec::new();
        loop {
            let fetched = self.fetch_now(at_once.0).await;
            until_written(acks).await?;
            let deliveries = fetched?;
            let count = deliveries.len();
            if count == 0 {
                return Ok(());
            }
            let handled = self.handle_each(deliveries, &mut handler).await?;
            at_once.handled(count, handled.time);
            acks = handled.acks;
        }
    }

    /// Calls the handler for up to `most` records at once. If it fails or panics, it is called again
    /// for each of them that it did not answer, and only those fail that it fails for then.
    ///
    /// # Errors
    ///
    /// As [`fetch`](Self::fetch).
    ///
    /// # Cancel safety
    ///
    /// As [`run`](Self::run).
    pub async fn run_batches<H, F>(mut self, most: usize, mut handler: H) -> Result<(), TopicError>
    where
        H: FnMut(Vec<Delivery>) -> F,
        F: Future<Output = Result<(), HandlerError>>,
    {
        loop {
            let batch = self.fetch(most).await?;
            self.handle_batch(batch, &mut handler).await?;
        }
    }

    /// As [`run_batches`](Self::run_batches), until there is nothing that can be had now.
    ///
    /// # Errors
    ///
    /// As [`fetch_now`](Self::fetch_now).
    pub async fn drain_batches<H, F>(
        &mut self,
        most: usize,
        mut handler: H,
    ) -> Result<(), TopicError>
    where
        H: FnMut(Vec<Delivery>) -> F,
        F: Future<Output = Result<(), HandlerError>>,
    {
        loop {
            let batch = self.fetch_now(most).await?;
            if batch.is_empty() {
                return Ok(());
            }
            self.handle_batch(batch, &mut handler).await?;
        }
    }

    async fn handle_batch<H, F>(
        &self,
        batch: Vec<Delivery>,
        handler: &mut H,
    ) -> Result<(), TopicError>
    where
        H: FnMut(Vec<Delivery>) -> F,
        F: Future<Output = Result<(), HandlerError>>,
    {
        let outcome = self.keep(&batch, &[], || handler(batch.clone())).await;
        if let Some(Ok(())) = outcome {
            return acknowledge(&batch).await;
        }
        if let (Some(Err(error)), [single]) = (&outcome, &*batch) {
            return if single.is_open() {
                refuse(single, error).await
            } else {
                Ok(())
            };
        }
        let handled = self.handle_each(batch, |delivery| handler(vec![delivery]));
        until_written(handled.await?.acks).await
    }

    async fn handle_each<H, F>(
        &self,
        deliveries: Vec<Delivery>,
        mut handler: H,
    ) -> Result<HandledBatch, TopicError>
    where
        H: FnMut(Delivery) -> F,
        F: Future<Output = Result<(), HandlerError>>,
    {
        let began = Instant::now();
        let mut acks = Vec::new();
        for (index, delivery) in deliveries.iter().enumerate() {
            if !delivery.is_current() {
                // Others may have it. If not, it comes again at once.
                if delivery.is_open() {
                    ignore_late(delivery.give_back().await)?;
                }
                continue;
            }
            let (handled, waiting) = deliveries.split_at(index.saturating_add(1));
            let handled = handled.get(index..).unwrap_or_default();
            let outcome = self
                .keep(handled, waiting, || handler(delivery.clone()))
                .await;
            match outcome {
                Some(Ok(())) if delivery.is_open() => {
                    acks.push(delivery.begin(Verdict::Ack).await?)
                }
                Some(Err(error)) if delivery.is_open() => refuse(delivery, &error).await?,
                _ => {}
            }
        }
        let time = began.elapsed();
        Ok(HandledBatch { acks, time })
    }

    /// Runs a handler's future, and extends the time of what it handles. What waits for its turn is
    /// given to others if that takes long. `None` if all was taken back that the handler has not
    /// answered.
    async fn keep<F>(
        &self,
        handled: &[Delivery],
        waiting: &[Delivery],
        handler: impl FnOnce() -> F,
    ) -> Option<Result<(), HandlerError>>
    where
        F: Future<Output = Result<(), HandlerError>>,
    {
        let handler = match std::panic::catch_unwind(AssertUnwindSafe(handler)) {
            Ok(handler) => handler,
            Err(panic) => return Some(Err(panicked(&*panic))),
        };
        let mut handler = pin!(unwinding(handler));
        let every = Duration::from_millis(self.handle().context.options.ack_wait) / 3;
        let every = every.max(Duration::from_millis(1));
        let begin = Instant::now().checked_add(every)?;
        let mut ticks = interval_at(begin, every);
        loop {
            tokio::select! {
                biased;
                outcome = &mut handler => return Some(outcome),
                () = all_taken_back(handled) => return None,
                _ = ticks.tick() => {
                    // A late one is found out when it is answered.
                    for delivery in handled.iter().filter(|delivery| delivery.is_open()) {
                        drop(delivery.extend().await);
                    }
                    for delivery in waiting.iter().filter(|delivery| delivery.is_open()) {
                        drop(delivery.give_back().await);
                    }
                }
            }
        }
    }
}

/// Resolves when none of them is open any more, and not all of them were answered.
async fn all_taken_back(deliveries: &[Delivery]) {
    for delivery in deliveries {
        delivery.until_closed().await;
    }
    if !deliveries.iter().any(Delivery::is_over) {
        // The handler has answered them, and may still have something to do.
        std::future::pending::<()>().await;
    }
}

/// Acknowledges what a handler has left unanswered, all at once.
async fn acknowledge(batch: &[Delivery]) -> Result<(), TopicError> {
    let mut acks = Vec::new();
    for delivery in batch.iter().filter(|delivery| delivery.is_open()) {
        acks.push(delivery.begin(Verdict::Ack).await?);
    }
    until_written(acks).await
}

async fn until_written(acks: Vec<Confirmation>) -> Result<(), TopicError> {
    for ack in acks {
        ignore_late(ack.written().await)?;
    }
    Ok(())
}

/// Gives a record back, or sets it aside if it can never be handled. Waits until that is known, so
/// that what comes back with it is not handled any more.
async fn refuse(delivery: &Delivery, error: &HandlerError) -> Result<(), TopicError> {
    let reason = error.to_string();
    let verdict = match error.downcast_ref() {
        Some(TopicError::NotDecoded { .. }) => reject(&reason),
        _ => fail(None, &reason),
    };
    ignore_late(delivery.begin(verdict).await?.written().await)
}

/// Who answers late has lost the record: it is another member's, and no fault of this one.
fn ignore_late(answered: Result<(), TopicError>) -> Result<(), TopicError> {
    match answered {
        Err(TopicError::Stale | TopicError::OutOfOrder) => Ok(()),
        answered => answered,
    }
}

/// A future whose panic is an error.
async fn unwinding<F>(future: F) -> Result<(), HandlerError>
where
    F: Future<Output = Result<(), HandlerError>>,
{
    let mut future = pin!(future);
    std::future::poll_fn(|context| {
        let polled = AssertUnwindSafe(|| future.as_mut().poll(context));
        match std::panic::catch_unwind(polled) {
            Ok(poll) => poll,
            Err(panic) => std::task::Poll::Ready(Err(panicked(&*panic))),
        }
    })
    .await
}

fn panicked(panic: &(dyn Any + Send)) -> HandlerError {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!(
        "the handler panicked: {}",
        text.unwrap_or("without a message")
    )
    .into()
}
