//! Mapping functions as the shard holds them.

use std::any::Any;
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;

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
}

/// Messages that may wait for an asynchronous mapping function.
const WAITING_MESSAGES: usize = 64;

/// Bytes of payload that may wait for an asynchronous mapping function. A message that is larger waits alone.
const WAITING_BYTES: usize = 256 * 1024;

/// The way to a task that maps one message after the other.
pub(crate) struct AsyncMapper {
    queue: mpsc::Sender<Arc<Message>>,
    /// Bytes of payload in the queue.
    waiting: Arc<AtomicUsize>,
    /// Whether the latest message found no room.
    is_full: bool,
}

/// The other end of an [`AsyncMapper`].
pub(super) struct Waiting {
    queue: mpsc::Receiver<Arc<Message>>,
    bytes: Arc<AtomicUsize>,
}

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
        let (sender, receiver) = mpsc::channel(WAITING_MESSAGES);
        let bytes = Arc::new(AtomicUsize::new(0));
        let mapper = Self {
            queue: sender,
            waiting: bytes.clone(),
            is_full: false,
        };
        let waiting = Waiting {
            queue: receiver,
            bytes,
        };
        (mapper, waiting)
    }

    /// Queues a message, if there is room.
    pub(crate) fn queue(&mut self, message: &Arc<Message>) -> Queued {
        let size = message.payload().len();
        let before = self.waiting.fetch_add(size, Ordering::Relaxed);
        let fits = before == 0 || before.saturating_add(size) <= WAITING_BYTES;
        if fits && self.queue.try_send(message.clone()).is_ok() {
            self.is_full = false;
            return Queued::Waits;
        }
        self.waiting.fetch_sub(size, Ordering::Relaxed);
        if std::mem::replace(&mut self.is_full, true) {
            Queued::LostToo
        } else {
            Queued::Lost
        }
    }
}

impl Waiting {
    pub(super) async fn next(&mut self) -> Option<Arc<Message>> {
        let message = self.queue.recv().await?;
        self.bytes
            .fetch_sub(message.payload().len(), Ordering::Relaxed);
        Some(message)
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
