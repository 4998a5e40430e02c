//! An emitter: events with a name and arguments that cross processes, over a topic. What is
//! triggered in one of them fires in all of them, in the order of the topic.

mod builder;
mod cursor;
mod event;
mod filter;
mod listeners;
mod queue;
mod run;
mod seat;
mod send;
mod state;

pub use self::builder::EmitterBuilder;
pub use self::event::Event;
pub use self::filter::Filter;
pub use self::listeners::ListenerId;
pub use self::queue::Triggered;
pub use self::state::{State, States};

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::event::entry;
use self::listeners::{Handler, Listeners};
use self::queue::Queue;
use self::state::Connection;
use crate::{Topic, TopicError};

/// Triggers events on a topic, and calls listeners for those that are triggered there, in this
/// process and in others, in the order of the topic. Clones are the same emitter. It ends with the
/// last of them, and with [`close`](Self::close): a listener that has a clone keeps it open.
///
/// ```
/// use updraft_topics::{Emitter, Memory, Settings, Topics};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let topics = Topics::open(Memory::new());
/// let events = topics.topic("events", Settings::default()).await?;
///
/// let (tell, mut told) = tokio::sync::mpsc::channel(1);
/// let emitter = Emitter::on_topic(&events)
///     .on("beep", move |event| {
///         let (sound, times): (String, u32) = event.parse().unwrap();
///         tell.try_send(format!("{sound} × {times}")).unwrap();
///     })
///     .open()
///     .await?;
/// emitter.trigger("beep", ("boop", 2))?;
/// assert_eq!(told.recv().await.unwrap(), "boop × 2");
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Emitter(Arc<Handle>);

/// What the clones of an emitter share. Its tasks end when it is dropped.
struct Handle {
    shared: Arc<Shared>,
    tasks: TaskTracker,
}

/// What an emitter and its tasks share.
struct Shared {
    topic: Topic,
    /// Stands in the events that it triggers.
    id: Box<str>,
    own_events: bool,
    listeners: Listeners,
    queue: Queue,
    connection: Connection,
    counts: Counts,
    /// Cancelled when the emitter is to end: no other event fires.
    ended: CancellationToken,
    /// Cancelled when a listener that is still awaited is not awaited any more.
    aborted: CancellationToken,
}

#[derive(Default)]
struct Counts {
    stored: AtomicU64,
    fired: AtomicU64,
    failed: AtomicU64,
    skipped: AtomicU64,
}

/// Numbers of an emitter, since it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EmitterStats {
    /// Events that wait to be stored, now.
    pub queued: usize,
    /// Events that were stored.
    pub stored: u64,
    /// Calls of listeners.
    pub fired: u64,
    /// Those of them that have panicked.
    pub failed: u64,
    /// Records of the topic that are no events.
    pub skipped: u64,
}

impl Emitter {
    /// An emitter on this topic, which must be one of EJSON. It is open when
    /// [`EmitterBuilder::open`] has been awaited.
    pub fn on_topic(topic: &Topic) -> EmitterBuilder {
        EmitterBuilder::new(topic)
    }

    /// Triggers an event. It is in the queue when this returns, and is stored as soon as the store
    /// can do so: in the order of the calls, each once. [`Triggered::stored`] waits for that.
    ///
    /// A tuple, an array and a `Vec` are the arguments; `()` is none; anything else is one. The
    /// name can be any text.
    ///
    /// # Errors
    ///
    /// [`TopicError::Busy`] if the queue is full, which has as much room as
    /// [`Settings::queued_records`](crate::Settings::queued_records) and
    /// [`queued_bytes`](crate::Settings::queued_bytes) say; [`TopicError::NotEncoded`],
    /// [`TopicError::TooLarge`], [`TopicError::WrongCodec`]; [`TopicError::ShuttingDown`] if the
    /// emitter has ended.
    pub fn trigger(&self, name: &str, args: impl Serialize) -> Result<Triggered, TopicError> {
        let none: [(&str, &str); 0] = [];
        self.trigger_with(name, args, none)
    }

    /// As [`trigger`](Self::trigger), with metadata: named texts by which listeners can choose, see
    /// [`Filter::meta`].
    ///
    /// # Errors
    ///
    /// As [`trigger`](Self::trigger).
    pub fn trigger_with<N: Into<String>, T: Into<String>>(
        &self,
        name: &str,
        args: impl Serialize,
        meta: impl IntoIterator<Item = (N, T)>,
    ) -> Result<Triggered, TopicError> {
        let shared = &self.0.shared;
        let mut entry = entry(name, args, &shared.id)?;
        for (name, text) in meta {
            entry = entry.meta(name, text);
        }
        shared.queue.push(entry, shared.topic.settings())
    }

    /// Adds a listener, which is called for the events to come. Listeners are called one after the
    /// other, in the order in which they were added, and should not block: what comes later waits.
    /// One that panics is counted and logged, and nothing else happens.
    ///
    /// `filter` is a name, or a [`Filter`].
    pub fn on<F>(&self, filter: impl Into<Filter>, listener: F) -> ListenerId
    where
        F: Fn(&Event) + Send + Sync + 'static,
    {
        let handler = Handler::sync(listener);
        self.0.shared.listeners.add(filter.into(), handler)
    }

    /// Adds a listener that is awaited before the next one is called.
    pub fn on_async<F, R>(&self, filter: impl Into<Filter>, listener: F) -> ListenerId
    where
        F: Fn(Event) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let handler = Handler::future(listener);
        self.0.shared.listeners.add(filter.into(), handler)
    }

    /// Removes a listener. False if there is none with this id.
    pub fn off(&self, id: ListenerId) -> bool {
        self.0.shared.listeners.remove(id)
    }

    /// What becomes of the connection, from now on. No event that somebody triggers comes here,
    /// whatever its name is.
    pub fn states(&self) -> States {
        self.0.shared.connection.states()
    }

    /// Whether the topic could be read when that was last tried.
    pub fn is_connected(&self) -> bool {
        self.0.shared.connection.is_connected()
    }

    /// Numbers of what has happened.
    pub fn stats(&self) -> EmitterStats {
        let Shared { queue, counts, .. } = &*self.0.shared;
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        EmitterStats {
            queued: queue.len(),
            stored: count(&counts.stored),
            fired: count(&counts.fired),
            failed: count(&counts.failed),
            skipped: count(&counts.skipped),
        }
    }

    /// Empties the queue, and returns how many events were in it. Those that are on their way to
    /// the store may be stored nevertheless. Who waits for them is told [`TopicError::Killed`].
    pub fn kill(&self) -> usize {
        self.0.shared.queue.kill()
    }

    /// Ends the emitter, and all its clones, in good order: stores what is in the queue, waits for
    /// the listener that is being called, and remembers up to where events have fired. The first
    /// two may take as long as the deadline of the topic. A listener that takes longer is dropped, and
    /// with a cursor its event fires again.
    ///
    /// # Errors
    ///
    /// [`TopicError::Unavailable`] if events were left in the queue, which are gone then.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the emitter may still be open, and takes no more events.
    pub async fn close(&self) -> Result<(), TopicError> {
        let Handle { shared, tasks } = &*self.0;
        shared.queue.close();
        let patience = shared.topic.settings().deadline;
        let emptied = timeout(patience, shared.queue.until_empty()).await;
        shared.ended.cancel();
        tasks.close();
        if timeout(patience, tasks.wait()).await.is_err() {
            shared.aborted.cancel();
            tasks.wait().await;
        }
        emptied.map_err(|_| TopicError::Unavailable(None))
    }
}

impl Shared {
    /// Ends the emitter because of an error.
    fn fail(&self, error: TopicError) {
        self.connection.error(error);
        self.ended.cancel();
    }
}

impl Counts {
    fn add(count: &AtomicU64, more: usize) {
        let more = u64::try_from(more).unwrap_or(u64::MAX);
        count.fetch_add(more, Ordering::Relaxed);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.ended.cancel();
    }
}

impl fmt::Debug for Emitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emitter")
            .field("topic", self.0.shared.topic.name())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
