//! Mapping functions as the shard holds them.

use std::any::Any;
use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};
use updraft_bus::Message;
use updraft_topics as topics;

use super::{Event, IntoEvent};
use crate::base::error::Result;

/// Turns messages into events.
pub(crate) enum Mapper {
    /// Sends the message unchanged.
    Relay,
    /// Called for each message and subscriber.
    Function(MapEach),
    /// Called once for all subscribers with the same function and an equal argument.
    Shared(Box<dyn SharedMapper<Message>>),
    /// Runs on the handlers' runtime; its events come back as mail.
    Async(AsyncMapper),
}

/// A mapping function of one subscriber.
pub(crate) type MapEach = Box<dyn FnMut(&Message) -> Result<Event> + Send>;

/// The function given to [`Vent::on_gap`](crate::Vent::on_gap).
pub(crate) type OnGap = Box<dyn FnMut() -> Result<Event> + Send>;

/// Turns records of a topic into events.
pub(crate) enum RecordMapper {
    /// Called for each record and subscriber.
    Each(MapRecord),
    /// Called once for all subscribers with the same function and an equal argument.
    Shared(Box<dyn SharedMapper<topics::Message>>),
}

/// A function of one subscriber that maps records.
pub(crate) type MapRecord = Box<dyn FnMut(&topics::Message) -> Result<Event> + Send>;

/// The function given to [`Follow::on_gap`](crate::Follow::on_gap).
pub(crate) type OnLost = Box<dyn FnMut(&topics::Lost) -> Result<Event> + Send>;

/// A function pointer and its argument, with their types erased.
pub(crate) trait SharedMapper<M>: Any + Send {
    fn map(&self, message: &M) -> Result<Event>;

    /// Whether `other` is the same function with an equal argument.
    fn is_same(&self, other: &dyn SharedMapper<M>) -> bool;

    /// Hashes function and argument. Equal for mappers that are the same.
    fn hash(&self, state: &mut dyn Hasher);
}

pub(crate) struct OneShared<M, A, E> {
    arg: A,
    f: fn(&M, &A) -> E,
}

impl<M, A, E> OneShared<M, A, E> {
    pub(crate) fn new(arg: A, f: fn(&M, &A) -> E) -> Self {
        Self { arg, f }
    }
}

impl<M, A, E> SharedMapper<M> for OneShared<M, A, E>
where
    M: 'static,
    A: Hash + Eq + Send + 'static,
    E: IntoEvent + 'static,
{
    fn map(&self, message: &M) -> Result<Event> {
        (self.f)(message, &self.arg).into_event()
    }

    fn is_same(&self, other: &dyn SharedMapper<M>) -> bool {
        let other: &dyn Any = other;
        other.downcast_ref::<Self>().is_some_and(|other| {
            // Functions that the compiler has merged do the same, so they may share.
            std::ptr::fn_addr_eq(self.f, other.f)
                // A panic in the program's comparison must not end the shard.
                && catch_unwind(AssertUnwindSafe(|| self.arg == other.arg)).unwrap_or(false)
        })
    }

    fn hash(&self, mut state: &mut dyn Hasher) {
        std::ptr::hash(self.f as *const (), &mut state);
        let hashed = catch_unwind(AssertUnwindSafe(|| self.arg.hash(&mut state)));
        if hashed.is_err() {
            tracing::error!("The hash of an argument of `on_shared` panicked.");
        }
    }
}

/// Messages that may wait for an asynchronous mapping function.
const WAITING_MESSAGES: usize = 64;

/// Bytes of payload that may wait for an asynchronous mapping function. A larger message waits
/// alone.
const WAITING_BYTES: usize = 256 * 1024;

/// The sending side of a task that maps one message after the other.
pub(crate) struct AsyncMapper {
    /// Bounded through `unmapped`.
    queue: mpsc::Sender<Arc<Message>>,
    /// Messages that the task has not answered yet. It works on the first; the others wait. Filled
    /// by `queue`, drained as the answers come; bounded in messages and bytes, except for those
    /// that were kept.
    unmapped: VecDeque<Unmapped>,
    /// How many of these, from the front, were kept during a change of the user, which has a limit
    /// of its own.
    kept: usize,
    /// Whether the latest message found no room.
    is_full: bool,
}

struct Unmapped {
    message: Arc<Message>,
    /// Whether messages after it were lost. The gap is reported when its own event has been sent.
    is_before_gap: bool,
}

/// The receiving side of an [`AsyncMapper`].
pub(crate) type WaitingMessages = mpsc::Receiver<Arc<Message>>;

/// What became of a message for an asynchronous function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queued {
    /// It waits for its turn; or it is lost, and the gap is reported after the messages that wait.
    Waits,
    /// It is lost, and nothing waits before it: the beginning of a gap.
    Lost,
}

impl AsyncMapper {
    pub(crate) fn new() -> (Self, WaitingMessages) {
        let (queue, waiting) = mpsc::channel(Semaphore::MAX_PERMITS);
        let mapper = Self {
            queue,
            unmapped: VecDeque::new(),
            kept: 0,
            is_full: false,
        };
        (mapper, waiting)
    }

    /// Queues a message, if there is room.
    pub(crate) fn queue(&mut self, message: &Arc<Message>) -> Queued {
        let waiting = self.unmapped.iter().skip(self.kept.max(1));
        let (count, bytes) = waiting.fold((0, 0), |(count, bytes), it| {
            (count + 1, it.message.payload().len().saturating_add(bytes))
        });
        let size = message.payload().len();
        let fits = count == 0 || bytes.saturating_add(size) <= WAITING_BYTES;
        let was_full = self.is_full;
        self.is_full = count >= WAITING_MESSAGES || !fits || !self.put(message);
        if !self.is_full || was_full {
            return Queued::Waits;
        }
        if self.gap() {
            Queued::Waits
        } else {
            Queued::Lost
        }
    }

    /// Messages may be missing after those that wait; the gap is reported in its turn. Returns
    /// `false` if none waits.
    pub(crate) fn gap(&mut self) -> bool {
        let last = self.unmapped.back_mut();
        last.map(|last| last.is_before_gap = true).is_some()
    }

    /// Whether the task has not answered a message yet.
    pub(crate) fn is_busy(&self) -> bool {
        !self.unmapped.is_empty()
    }

    /// Queues a message that was kept while the user changed.
    pub(crate) fn queue_kept(&mut self, message: &Arc<Message>) -> Queued {
        if self.put(message) {
            self.kept = self.kept.saturating_add(1);
        }
        Queued::Waits
    }

    /// The task has answered a message. Returns `None` if this task did not have the message, else
    /// whether messages after it were lost.
    pub(crate) fn mapped(&mut self, message: &Arc<Message>) -> Option<bool> {
        let first = self.unmapped.front()?;
        if !Arc::ptr_eq(&first.message, message) {
            return None;
        }
        self.kept = self.kept.saturating_sub(1);
        self.unmapped.pop_front().map(|it| it.is_before_gap)
    }

    /// The messages that the task has not answered and never will, and whether there is a gap among
    /// or after them.
    pub(crate) fn into_unmapped(self) -> (impl Iterator<Item = Arc<Message>>, bool) {
        let has_gap = self.unmapped.iter().any(|it| it.is_before_gap);
        (self.unmapped.into_iter().map(|it| it.message), has_gap)
    }

    fn put(&mut self, message: &Arc<Message>) -> bool {
        let is_queued = self.queue.try_send(message.clone()).is_ok();
        if is_queued {
            self.unmapped.push_back(Unmapped {
                message: message.clone(),
                is_before_gap: false,
            });
        }
        is_queued
    }
}
