//! Events that were triggered and are not stored yet.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use crate::random::random;
use crate::{Entry, Features, Published, Settings, TopicError};

/// An event that was triggered. Dropping this changes nothing.
pub struct Triggered(oneshot::Receiver<Result<Published, TopicError>>);

/// The queue of an emitter.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    /// How many events there are. Changed together with them.
    len: watch::Sender<usize>,
    has_dedup: bool,
}

#[derive(Default)]
struct Waiting {
    /// Filled by `trigger`; drained when they are stored or refused, and by `kill`. Bounded by the
    /// topic's settings.
    events: VecDeque<Queued>,
    bytes: usize,
    /// Grows each time that the queue is emptied.
    generation: u64,
    is_closed: bool,
}

struct Queued {
    entry: Entry,
    bytes: usize,
    /// When it was first given to the store.
    sent: Option<Instant>,
    answer: oneshot::Sender<Result<Published, TopicError>>,
}

/// The first events of a queue, which stay there until they are answered.
pub(super) struct Batch {
    pub(super) entries: Vec<Entry>,
    /// When the first of them was first given to the store.
    pub(super) sent: Instant,
    generation: u64,
}

impl Triggered {
    /// Waits until the event is stored.
    ///
    /// # Errors
    ///
    /// Those of [`Topic::publish`](crate::Topic::publish) that no later attempt can mend,
    /// [`TopicError::Unavailable`] if the store was away for so long that another attempt might
    /// store the event twice, or [`TopicError::Killed`].
    pub async fn stored(self) -> Result<Published, TopicError> {
        self.0.await.unwrap_or(Err(TopicError::Killed))
    }
}

impl Queue {
    pub(super) fn new(features: Features) -> Self {
        Self {
            waiting: Mutex::default(),
            len: watch::Sender::new(0),
            has_dedup: features.dedup,
        }
    }

    /// Puts an event behind the others.
    pub(super) fn push(&self, entry: Entry, settings: &Settings) -> Result<Triggered, TopicError> {
        let record = entry.clone().into_record(0, settings)?;
        let bytes = record.content.size();
        let entry = match self.has_dedup {
            true => entry.dedup(format!("{:016x}{:016x}", random(), random())),
            false => entry,
        };
        let mut waiting = self.lock();
        if waiting.is_closed {
            return Err(TopicError::ShuttingDown);
        }
        let total = waiting.bytes.saturating_add(bytes);
        let is_full = waiting.events.len() >= settings.queued_records.max(1);
        if is_full || (total > settings.queued_bytes && !waiting.events.is_empty()) {
            return Err(TopicError::Busy);
        }
        let (answer, answered) = oneshot::channel();
        waiting.bytes = total;
        waiting.events.push_back(Queued {
            entry,
            bytes,
            sent: None,
            answer,
        });
        self.publish_len(&waiting);
        Ok(Triggered(answered))
    }

    /// Waits for events, and answers with the first ones: at most so many records and bytes.
    pub(super) async fn front(&self, count: usize, bytes: usize) -> Batch {
        let mut len = self.len.subscribe();
        loop {
            // The sender lives as long as this.
            drop(len.wait_for(|len| *len > 0).await);
            if let Some(batch) = self.lock().front(count, bytes) {
                return batch;
            }
        }
    }

    /// Answers the first events, which are those of a batch, unless the queue was emptied.
    pub(super) fn answer(&self, batch: &Batch, outcomes: Vec<Result<Published, TopicError>>) {
        let mut waiting = self.lock();
        if waiting.generation != batch.generation {
            return;
        }
        for outcome in outcomes {
            let Some(event) = waiting.events.pop_front() else {
                break;
            };
            waiting.bytes = waiting.bytes.saturating_sub(event.bytes);
            // Nobody may wait for it.
            drop(event.answer.send(outcome));
        }
        self.publish_len(&waiting);
    }

    pub(super) fn kill(&self) -> usize {
        let mut waiting = self.lock();
        let killed = std::mem::take(&mut waiting.events);
        waiting.bytes = 0;
        waiting.generation = waiting.generation.saturating_add(1);
        self.publish_len(&waiting);
        killed.len()
    }

    /// Takes no more events.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
    }

    pub(super) async fn until_empty(&self) {
        let mut len = self.len.subscribe();
        drop(len.wait_for(|len| *len == 0).await);
    }

    pub(super) fn len(&self) -> usize {
        *self.len.borrow()
    }

    /// Whether storing an event again under its id stores it once.
    pub(super) const fn has_dedup(&self) -> bool {
        self.has_dedup
    }

    fn publish_len(&self, waiting: &Waiting) {
        self.len.send_replace(waiting.events.len());
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn front(&mut self, count: usize, most: usize) -> Option<Batch> {
        let now = Instant::now();
        let sent = self.events.front()?.sent.unwrap_or(now);
        let mut entries = Vec::new();
        let mut bytes: usize = 0;
        for event in self.events.iter_mut().take(count) {
            bytes = bytes.saturating_add(event.bytes);
            if bytes > most && !entries.is_empty() {
                break;
            }
            event.sent.get_or_insert(now);
            entries.push(event.entry.clone());
        }
        Some(Batch {
            entries,
            sent,
            generation: self.generation,
        })
    }
}

impl fmt::Debug for Triggered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Triggered").finish_non_exhaustive()
    }
}
