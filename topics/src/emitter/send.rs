//! Stores what is in the queue, in its order. While the store is away it tries again, under ids by
//! which the store knows what it has.

use std::time::Duration;

use tokio::time::sleep;

use super::queue::Batch;
use super::{Counts, Shared};
use crate::{Limit, Published, TopicError};

/// The pauses between attempts: the first one, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

impl Shared {
    /// Never resolves.
    pub(super) async fn send(&self) {
        let mut pause = None;
        // So many of the first events are stored one by one, because not all of them can be.
        let mut singly = 0_usize;
        loop {
            let Limit { count, bytes } = Limit::default();
            let count = if singly > 0 { 1 } else { count };
            let batch = self.queue.front(count, bytes).await;
            let entries = batch.entries.iter().cloned();
            match self.topic.publish_many(entries).await {
                Ok(published) => {
                    Counts::add(&self.counts.stored, published.len());
                    singly = singly.saturating_sub(published.len());
                    pause = None;
                    let outcomes = published.into_iter().map(Ok).collect();
                    self.queue.answer(&batch, outcomes);
                }
                Err(error) if self.may_try_again(&batch, &error) => {
                    // Once for each time that the store is away.
                    let now = pause.unwrap_or_else(|| {
                        self.connection.error(error);
                        FIRST_PAUSE
                    });
                    sleep(now.mul_f64(0.8 + fastrand::f64() * 0.4)).await;
                    pause = Some(now.saturating_mul(2).min(LONGEST_PAUSE));
                }
                // Which of them it is about is not known.
                Err(_) if batch.entries.len() > 1 => singly = batch.entries.len(),
                Err(error) => {
                    singly = singly.saturating_sub(1);
                    self.connection.error(error.clone());
                    let outcome: Result<Published, TopicError> = Err(error);
                    self.queue.answer(&batch, vec![outcome]);
                }
            }
        }
    }

    /// Whether a later attempt may do better, and stores nothing twice.
    fn may_try_again(&self, batch: &Batch, error: &TopicError) -> bool {
        let settings = self.topic.settings();
        match error {
            TopicError::Busy => true,
            TopicError::Unavailable(_) => {
                let next = settings.deadline.saturating_add(LONGEST_PAUSE);
                let until = batch.sent.elapsed().saturating_add(next);
                self.queue.has_dedup() && until < settings.dedup_window
            }
            _ => false,
        }
    }
}
