//! The one thread that writes. The changes of callers that wait at the same time become one
//! transaction, so that they share its sync.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::change::{Failure, Tables};
use super::database::{Database, Stage};
use super::queue::{Change, Receiver};
use crate::TopicError;
use crate::clock::StoreClock;

/// Changes that were sent, and who writes them.
pub(super) struct Writer {
    pub(super) queue: Receiver,
    pub(super) database: Arc<Database>,
    pub(super) clock: StoreClock,
    /// How long a transaction waits for callers that took part in the last one: they may be about
    /// to send again. A caller that is alone never waits.
    pub(super) patience: Duration,
}

/// A change that is a function.
pub(super) struct Call<F, T> {
    pub(super) change: F,
    pub(super) bytes: usize,
    pub(super) outcome: Option<Result<T, TopicError>>,
    /// `None` when it was answered.
    pub(super) caller: Option<oneshot::Sender<Result<T, TopicError>>>,
    pub(super) runtime: Option<Handle>,
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
            let taken = if sweeping {
                self.queue.try_take()
            } else {
                self.queue.take(last, self.patience)
            };
            let Some(mut batch) = taken else {
                break;
            };
            if !batch.is_empty() {
                last = batch.len();
            }
            batch.retain(|change| !change.is_dropped());
            sweeping = (sweeping || !batch.is_empty()) && self.commit(batch);
        }
        self.database.close();
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
        answer(batch, failed.as_ref());
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

/// Callers that are answered when this is dropped.
struct Answers {
    changes: Vec<Box<dyn Change>>,
    failed: Option<TopicError>,
}

/// Answers callers, those of one runtime in a task there. Each that is woken from another thread
/// wakes its runtime once more, and that costs more than its record.
fn answer(mut batch: Vec<Box<dyn Change>>, failed: Option<&TopicError>) {
    while let Some(first) = batch.first() {
        let runtime = first.runtime().cloned();
        let id = runtime.as_ref().map(Handle::id);
        let same = batch.extract_if(.., |change| change.runtime().map(Handle::id) == id);
        let answers = Answers {
            changes: same.collect(),
            failed: failed.cloned(),
        };
        match runtime {
            // The task waits for nothing. If the runtime has ended, it is dropped here.
            Some(runtime) if answers.changes.len() > 1 => {
                drop(runtime.spawn(async move { drop(answers) }));
            }
            _ => drop(answers),
        }
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        for change in &mut self.changes {
            change.answer(self.failed.clone());
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
        self.caller.as_ref().is_none_or(oneshot::Sender::is_closed)
    }

    fn apply(&mut self, tables: &mut Tables<'_>, now: u64) -> Result<(), redb::Error> {
        self.outcome = Some(match (self.change)(tables, now) {
            Ok(outcome) => Ok(outcome),
            Err(Failure::Refused(error)) => Err(error),
            Err(Failure::Storage(error)) => return Err(error),
        });
        Ok(())
    }

    fn runtime(&self) -> Option<&Handle> {
        self.runtime.as_ref()
    }

    fn answer(&mut self, failed: Option<TopicError>) {
        let outcome = match (failed, self.outcome.take()) {
            (Some(error), _) => Err(error),
            (None, Some(outcome)) => outcome,
            (None, None) => Err(TopicError::ShuttingDown),
        };
        if let Some(caller) = self.caller.take() {
            // It may have gone.
            drop(caller.send(outcome));
        }
    }
}
