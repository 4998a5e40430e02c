//! The one thread that writes. The changes of callers that wait at the same time become one
//! transaction, so that they share its sync.

use std::mem;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::change::{Failure, Tables};
use super::database::{Database, Stage};
use crate::TopicError;
use crate::clock::StoreClock;

/// Changes and their bytes that one transaction takes together.
const BATCH: usize = 1024;
const BATCH_BYTES: usize = 1024 * 1024;

/// Changes that were sent, and who writes them.
pub(super) struct Writer {
    /// Filled by callers, who hold room for what they send; drained here.
    pub(super) queue: Receiver<Box<dyn Change>>,
    pub(super) database: Arc<Database>,
    pub(super) clock: StoreClock,
    /// How long a transaction waits for callers that took part in the last one.
    pub(super) patience: Duration,
}

/// What one caller wants changed.
pub(super) trait Change: Send {
    /// Its bytes, about.
    fn bytes(&self) -> usize;

    /// Whether the caller is gone, so that it need not be done.
    fn is_dropped(&self) -> bool;

    /// Does it. May be called again, in another transaction, when this one has failed.
    fn apply(&mut self, tables: &mut Tables<'_>, now: u64) -> Result<(), redb::Error>;

    /// Tells the caller: its own outcome, or why the transaction has failed.
    fn answer(self: Box<Self>, failed: Option<TopicError>);
}

/// A change that is a function.
pub(super) struct Call<F, T> {
    pub(super) change: F,
    pub(super) bytes: usize,
    pub(super) outcome: Option<Result<T, TopicError>>,
    pub(super) caller: oneshot::Sender<Result<T, TopicError>>,
    /// Its share of the queue's room.
    pub(super) _room: OwnedSemaphorePermit,
}

/// Whether a transaction was stored.
enum Outcome {
    Stored,
    Failed(TopicError),
    /// The database has failed before this transaction.
    Again(TopicError),
}

impl Writer {
    /// Writes until nobody can send any more.
    pub(super) fn run(self) {
        // Changes in the last transaction.
        let mut last = 0;
        let mut sweeping = true;
        loop {
            let first = if sweeping {
                match self.queue.try_recv() {
                    Ok(first) => Some(first),
                    Err(TryRecvError::Empty) => None,
                    Err(TryRecvError::Disconnected) => break,
                }
            } else {
                match self.queue.recv() {
                    Ok(first) => Some(first),
                    Err(_) => break,
                }
            };
            let mut batch = Vec::new();
            if let Some(first) = first {
                self.gather(first, last, &mut batch);
                last = batch.len();
            }
            batch.retain(|change| !change.is_dropped());
            sweeping = (sweeping || !batch.is_empty()) && self.commit(batch);
        }
        self.database.close();
    }

    /// Collects what is in the queue. If the last transaction had more changes, their callers may
    /// be about to send again, and are given some time. A caller that is alone never waits.
    fn gather(&self, first: Box<dyn Change>, last: usize, batch: &mut Vec<Box<dyn Change>>) {
        let mut bytes = first.bytes();
        batch.push(first);
        let mut since = None;
        while batch.len() < BATCH && bytes < BATCH_BYTES {
            let next = match self.queue.try_recv() {
                Err(TryRecvError::Empty) if batch.len() < last => {
                    let waited = since.get_or_insert_with(now).elapsed();
                    let left = self.patience.saturating_sub(waited);
                    self.queue.recv_timeout(left).map_err(|error| match error {
                        RecvTimeoutError::Timeout => TryRecvError::Empty,
                        RecvTimeoutError::Disconnected => TryRecvError::Disconnected,
                    })
                }
                next => next,
            };
            let Ok(next) = next else {
                return;
            };
            bytes = bytes.saturating_add(next.bytes());
            batch.push(next);
        }
    }

    /// Writes a batch and answers it. Answers whether there is more to sweep.
    fn commit(&self, mut batch: Vec<Box<dyn Change>>) -> bool {
        let mut sweeping = false;
        let mut outcome = self.attempt(&mut batch, &mut sweeping);
        if matches!(outcome, Outcome::Again(_)) {
            outcome = self.attempt(&mut batch, &mut sweeping);
        }
        let failed = match outcome {
            Outcome::Stored => None,
            Outcome::Failed(error) | Outcome::Again(error) => Some(error),
        };
        // What could not be swept is swept with the next change.
        sweeping &= failed.is_none();
        for change in batch {
            change.answer(failed.clone());
        }
        sweeping
    }

    fn attempt(&self, batch: &mut [Box<dyn Change>], sweeping: &mut bool) -> Outcome {
        if !self.database.is_open()
            && let Err(error) = self.database.reopen()
        {
            return Outcome::Failed(error);
        }
        let now = self.clock.now();
        let mut number = 0;
        let changed = self.database.change(|tables| {
            for change in batch {
                change.apply(tables, now)?;
            }
            *sweeping = tables.sweep()?;
            number = tables.count()?;
            Ok(number)
        });
        let Err(aborted) = changed else {
            return Outcome::Stored;
        };
        // The database does nothing any more after an error of its file.
        let reopened = self.database.reopen();
        if aborted.stage == Stage::Preparing {
            let is_earlier = matches!(aborted.error, redb::Error::PreviousIo);
            let error = self.database.failed(aborted.error);
            return if is_earlier && reopened.is_ok() {
                Outcome::Again(error)
            } else {
                Outcome::Failed(error)
            };
        }
        let commits = reopened.is_ok().then(|| self.database.commits());
        match commits {
            Some(Ok(commits)) if commits == number => Outcome::Stored,
            None | Some(Err(_)) if aborted.stage == Stage::Syncing => {
                Outcome::Failed(TopicError::unavailable(aborted.error))
            }
            _ => Outcome::Failed(self.database.failed(aborted.error)),
        }
    }
}

impl<F, T> Change for Call<F, T>
where
    F: Fn(&mut Tables<'_>, u64) -> Result<T, Failure> + Send,
    T: Send,
{
    fn bytes(&self) -> usize {
        self.bytes
    }

    fn is_dropped(&self) -> bool {
        self.caller.is_closed()
    }

    fn apply(&mut self, tables: &mut Tables<'_>, now: u64) -> Result<(), redb::Error> {
        self.outcome = Some(match (self.change)(tables, now) {
            Ok(outcome) => Ok(outcome),
            Err(Failure::Refused(error)) => Err(error),
            Err(Failure::Storage(error)) => return Err(error),
        });
        Ok(())
    }

    fn answer(mut self: Box<Self>, failed: Option<TopicError>) {
        let outcome = mem::take(&mut self.outcome);
        let outcome = match (failed, outcome) {
            (Some(error), _) => Err(error),
            (None, Some(outcome)) => outcome,
            (None, None) => Err(TopicError::ShuttingDown),
        };
        // The caller may have gone.
        drop(self.caller.send(outcome));
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long a transaction waits is of no concern to anybody else"
)]
fn now() -> Instant {
    Instant::now()
}
