//! Mapping functions as the shard holds them.

use std::any::Any;
use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::{Semaphore, mpsc};

use super::{Event, IntoEvent, Subscription};
use crate::bus::Message;
use crate::error::{Error, Result};

/// What turns a message into an event.
pub(crate) enum Mapper {
    /// The message as it came.
    Relay,
    /// Called for each message and subscriber.
    Function(MapEach),
    /// Called once for all subscribers with the same one.
    Shared(Box<dyn SharedMapper>),
    /// Runs elsewhere; its events come back as mail.
    Async(AsyncMapper),
}

/// A mapping function of one subscriber.
pub(crate) type MapEach = Box<dyn FnMut(&Message) -> Result<Event> + Send>;

/// What [`Vent::on_gap`](super::Vent::on_gap) was given.
pub(crate) type OnGap = Box<dyn FnMut() + Send>;

/// A function pointer and its argument, of types that only they know.
pub(crate) trait SharedMapper: Any + Send {
    fn map(&self, message: &Message) -> Result<Event>;

    /// Whether the other is the same function with an equal argument.
    fn is_same(&self, other: &dyn SharedMapper) -> bool;

    /// Hashes function and argument, equally for those that are the same.
    fn hash(&self, state: &mut dyn Hasher);
}

pub(super) struct OneShared<A, E> {
    arg: A,
    f: fn(&Message, &A) -> E,
}

impl<A, E> OneShared<A, E> {
    pub(super) fn new(arg: A, f: fn(&Message, &A) -> E) -> Self {
        Self { arg, f }
    }
}

impl<A: Hash + Eq + Send + 'static, E: IntoEvent + 'static> SharedMapper for OneShared<A, E> {
    fn map(&self, message: &Message) -> Result<Event> {
        (self.f)(message, &self.arg).into_event()
    }

    fn is_same(&self, other: &dyn SharedMapper) -> bool {
        let other: &dyn Any = other;
        other.downcast_ref::<Self>().is_some_and(|other| {
            // Functions that the compiler has merged do the same, and may share.
            std::ptr::fn_addr_eq(self.f, other.f)
                // The program's own comparison must not end the shard.
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

/// Bytes of payload that may wait for an asynchronous mapping function. A message that is larger waits alone.
const WAITING_BYTES: usize = 256 * 1024;

/// The way to a task that maps one message after the other.
pub(crate) struct AsyncMapper {
    /// What bounds it is `unmapped`.
    queue: mpsc::Sender<Arc<Message>>,
    /// What the task has not answered yet: the first is in its hands, the others wait. Filled by `queue`, drained as the
    /// answers come; bounded in messages and bytes, but for those that were kept.
    unmapped: VecDeque<Arc<Message>>,
    /// How many of these, the first ones, were kept during a change of the user, which has its own bound.
    kept: usize,
    /// Whether the latest message found no room.
    is_full: bool,
}

/// The other end of an [`AsyncMapper`].
pub(super) type Waiting = mpsc::Receiver<Arc<Message>>;

/// What became of a message for an asynchronous function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queued {
    /// It waits for its turn.
    Waits,
    /// There was no room, and it is lost: the beginning of a gap.
    Lost,
    /// It is lost as the one before it.
    LostToo,
}

impl AsyncMapper {
    pub(super) fn new() -> (Self, Waiting) {
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
            (count + 1, it.payload().len().saturating_add(bytes))
        });
        let size = message.payload().len();
        let fits = count == 0 || bytes.saturating_add(size) <= WAITING_BYTES;
        let was_full = self.is_full;
        self.is_full = count >= WAITING_MESSAGES || !fits || !self.put(message);
        match (self.is_full, was_full) {
            (false, _) => Queued::Waits,
            (true, false) => Queued::Lost,
            (true, true) => Queued::LostToo,
        }
    }

    /// Queues a message that was kept while the user changed.
    pub(crate) fn queue_kept(&mut self, message: &Arc<Message>) -> Queued {
        if self.put(message) {
            self.kept = self.kept.saturating_add(1);
        }
        Queued::Waits
    }

    /// The task has answered with what it made of a message; whether it was this task that had it.
    pub(crate) fn mapped(&mut self, message: &Arc<Message>) -> bool {
        let first = self.unmapped.front();
        let is_mine = first.is_some_and(|first| Arc::ptr_eq(first, message));
        if is_mine {
            self.unmapped.pop_front();
            self.kept = self.kept.saturating_sub(1);
        }
        is_mine
    }

    /// What the task has not answered, and now never will.
    pub(crate) fn into_unmapped(self) -> VecDeque<Arc<Message>> {
        self.unmapped
    }

    fn put(&mut self, message: &Arc<Message>) -> bool {
        let is_queued = self.queue.try_send(message.clone()).is_ok();
        if is_queued {
            self.unmapped.push_back(message.clone());
        }
        is_queued
    }
}

impl Subscription {
    /// A mapping function has failed: counted and logged, and that is all.
    pub(crate) fn mapping_failed(&self, message: &Message, error: &Error) {
        let services = self.connection().services();
        services.channels.mapping_failed(message.channel());
        let failed = &services.gauges.failed_mappings;
        // A function that always fails must not fill the log: the first is said, then each time their number doubles.
        let failed = failed.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if !failed.is_power_of_two() {
            return;
        }
        let (publication, channel) = (self.publication(), message.channel());
        tracing::warn!(
            publication,
            failed,
            ?channel,
            ?error,
            "A mapping function failed; its event is lost."
        );
    }
}
