//! Messages that could not be published and are tried again: in order, and bounded in number, bytes
//! and time. There is no task. The caller of `emit` waits, so if it gives up, its message is
//! dropped.

use std::pin::pin;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::sleep;

use crate::{BusFault, EmitError};

/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(100);

/// Which messages that could not be published are kept and tried again.
///
/// Each `emit` still returns only when its message is published or given up. So these limits bound
/// the waiting messages, and dropping the future removes its message from the queue.
///
/// A message is tried again only if it was certainly not published, so none is published twice.
/// Messages wait behind earlier ones. A message that Redis itself refuses is not tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct EmitQueue {
    /// How many messages may wait; 1,000 by default.
    pub messages: usize,
    /// How many bytes they may have together; 1 MiB by default.
    pub bytes: usize,
    /// How long each may wait; 10 s by default.
    pub time: Duration,
}

#[derive(Debug)]
pub(super) struct PendingEmits {
    limits: EmitQueue,
    /// The number and bytes of waiting messages. Changed by the waiting callers, bounded by
    /// `limits`.
    waiting: StdMutex<(usize, usize)>,
    /// Held while a message is tried; the mutex is fair, so the others follow in order.
    turn: Mutex<()>,
}

/// The room that one message takes up in the queue.
struct PendingEmit<'a> {
    queue: &'a PendingEmits,
    bytes: usize,
}

impl PendingEmits {
    pub(super) fn new(limits: EmitQueue) -> Self {
        Self {
            limits,
            waiting: StdMutex::default(),
            turn: Mutex::default(),
        }
    }

    /// Publishes a message of `bytes` bytes: at once if no message waits and publishing succeeds,
    /// else after the waiting ones.
    pub(super) async fn publish<F>(
        &self,
        bytes: usize,
        mut attempt: impl FnMut() -> F,
    ) -> Result<(), EmitError>
    where
        F: Future<Output = Result<(), EmitError>>,
    {
        let is_first = self.lock().0 == 0;
        if is_first {
            match attempt().await {
                Err(error) if is_retryable(&error) => {}
                outcome => return outcome,
            }
        }
        let Some(_reservation) = self.reserve(bytes) else {
            return Err(not_sent("too many messages wait to be published"));
        };
        let mut deadline = pin!(sleep(self.limits.time));
        let _turn = tokio::select! {
            turn = self.turn.lock() => turn,
            () = &mut deadline => {
                return Err(not_sent("earlier messages could not be published in time"));
            }
        };
        loop {
            // An attempt is never cancelled, because its outcome would be unknown.
            let error = match attempt().await {
                Err(error) if is_retryable(&error) => error,
                outcome => return outcome,
            };
            tokio::select! {
                () = sleep(PAUSE) => {}
                () = &mut deadline => return Err(error),
            }
        }
    }

    fn reserve(&self, bytes: usize) -> Option<PendingEmit<'_>> {
        let mut waiting = self.lock();
        let (messages, all_bytes) = (waiting.0 + 1, waiting.1.saturating_add(bytes));
        if messages > self.limits.messages || all_bytes > self.limits.bytes {
            return None;
        }
        *waiting = (messages, all_bytes);
        Some(PendingEmit { queue: self, bytes })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (usize, usize)> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PendingEmit<'_> {
    fn drop(&mut self) {
        let mut waiting = self.queue.lock();
        waiting.0 = waiting.0.saturating_sub(1);
        waiting.1 = waiting.1.saturating_sub(self.bytes);
    }
}

impl Default for EmitQueue {
    fn default() -> Self {
        Self {
            messages: 1000,
            bytes: 1024 * 1024,
            time: Duration::from_secs(10),
        }
    }
}

/// Whether a later attempt may succeed, and this one certainly had no effect.
fn is_retryable(error: &EmitError) -> bool {
    matches!(error, EmitError::NotSent(_))
        && !error.fault().is_some_and(BusFault::concerns_one_request)
}

fn not_sent(why: &'static str) -> EmitError {
    EmitError::NotSent(Arc::new(std::io::Error::other(why)))
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use futures_util::future::join_all;
    use tokio::time::Instant;

    use super::*;

    fn queue(messages: usize, bytes: usize) -> PendingEmits {
        PendingEmits::new(EmitQueue {
            messages,
            bytes,
            ..EmitQueue::default()
        })
    }

    fn away() -> EmitError {
        not_sent("away")
    }

    #[tokio::test(start_paused = true)]
    async fn vent_067_what_was_not_sent_is_tried_again_in_order_and_once() {
        let queue = queue(100, 1000);
        let (published, attempts) = (StdMutex::new(Vec::new()), StdMutex::new(0));
        let emits = (0..10).map(|n| {
            let (published, attempts) = (&published, &attempts);
            queue.publish(1, move || {
                *attempts.lock().unwrap() += 1;
                if *attempts.lock().unwrap() < 15 {
                    return ready(Err(away()));
                }
                published.lock().unwrap().push(n);
                ready(Ok(()))
            })
        });
        assert!(join_all(emits).await.iter().all(Result::is_ok));
        assert_eq!(*published.lock().unwrap(), (0..10).collect::<Vec<_>>());
        assert_eq!(*queue.lock(), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn vent_067_what_may_have_been_published_is_not_tried_again() {
        let mut attempts = 0;
        let outcome = queue(100, 1000)
            .publish(1, || {
                attempts += 1;
                let cause = std::io::Error::other("no answer");
                ready(Err(EmitError::OutcomeUnknown(Arc::new(cause))))
            })
            .await;
        assert!(matches!(outcome, Err(EmitError::OutcomeUnknown(_))));
        assert_eq!(attempts, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn vent_067_more_messages_or_bytes_than_may_wait_are_not_sent_at_once() {
        for (queue, bytes) in [(queue(2, 1000), 1), (queue(100, 20), 10)] {
            let emits = (0..3).map(|_| queue.publish(bytes, || ready(Err(away()))));
            let begun = Instant::now();
            let (waiting, full) = {
                let mut emits: Vec<_> = emits.map(Box::pin).collect();
                let last = emits.pop().unwrap();
                tokio::join!(join_all(emits), async {
                    tokio::task::yield_now().await;
                    (last.await, begun.elapsed())
                })
            };
            let (full, took) = full;
            assert!(matches!(full, Err(EmitError::NotSent(_))), "{full:?}");
            assert!(took < PAUSE, "{took:?}");
            assert!(waiting.iter().all(Result::is_err));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn vent_067_after_ten_seconds_it_is_given_up() {
        let begun = Instant::now();
        let outcome = queue(1, 1).publish(1, || ready(Err(away()))).await;
        assert!(matches!(outcome, Err(EmitError::NotSent(_))), "{outcome:?}");
        assert_eq!(begun.elapsed().as_secs(), 10);
    }
}
