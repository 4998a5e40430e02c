//! How an emitter is opened.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::cursor::Cursor;
use super::listeners::{Handler, Listeners};
use super::queue::Queue;
use super::seat::{self, Seat};
use super::state::Connection;
use super::{Counts, Emitter, Event, Filter, Handle, Shared};
use crate::random::random;
use crate::{OnLoss, Reader, Start, Topic, TopicError};

/// For how long a cursor is kept that no emitter uses, unless the program says otherwise.
const CURSOR_EXPIRES: Duration = Duration::from_secs(7 * 24 * 3600);

/// What an emitter is to be. See [`Emitter`] for an example.
#[must_use = "it does nothing until it is opened"]
pub struct EmitterBuilder {
    topic: Topic,
    history: History,
    cursor_expires: Duration,
    own_events: bool,
    listeners: Listeners,
}

/// What becomes of events.
enum History {
    /// They stay, as long as the topic's retention says.
    Kept {
        start: Start,
        cursor: Option<String>,
    },
    /// They are removed when they have fired.
    Removed,
}

impl History {
    const NEW: Self = Self::Kept {
        start: Start::Latest,
        cursor: None,
    };

    /// The same, kept.
    fn kept(self) -> (Start, Option<String>) {
        match self {
            Self::Kept { start, cursor } => (start, cursor),
            Self::Removed => (Start::Latest, None),
        }
    }
}

impl EmitterBuilder {
    pub(super) fn new(topic: &Topic) -> Self {
        Self {
            topic: topic.clone(),
            history: History::NEW,
            cursor_expires: CURSOR_EXPIRES,
            own_events: true,
            listeners: Listeners::default(),
        }
    }

    /// Whether listeners of this emitter get the events that it triggers itself. They do by
    /// default.
    pub const fn own_events(mut self, own_events: bool) -> Self {
        self.own_events = own_events;
        self
    }

    /// Whether events stay in the topic, within its retention. They do by default.
    ///
    /// Without this an event is removed, about a second after every emitter has fired it that was
    /// running when it was triggered, and an emitter begins with the next event: what
    /// [`cursor`](Self::cursor) and [`start`](Self::start) have said is forgotten. An emitter that
    /// has not been heard of for 10 s is not waited for. All emitters of a topic must have the
    /// same, until the topic is deleted.
    pub fn persist(mut self, persist: bool) -> Self {
        self.history = match (persist, self.history) {
            (true, History::Removed) => History::NEW,
            (true, kept) => kept,
            (false, _) => History::Removed,
        };
        self
    }

    /// Goes on where the last emitter with a cursor of this name has ended, and remembers up to
    /// where events have fired. The cursor is made if there is none. It stays in the store, also
    /// when the topic is deleted, until it [expires](Self::cursor_expires). It does not keep events
    /// in the topic: those that retention has removed meanwhile are told as a gap.
    ///
    /// It is written while events fire. After a crash those fire again that had fired since it was
    /// written last, and none is left out. Where an effect must not be repeated, have no cursor:
    /// store the event's position with the effect, and [`start`](Self::start) from there.
    ///
    /// Two emitters cannot have the same cursor: the earlier one ends with
    /// [`TopicError::LeaseLost`] when it writes next.
    ///
    /// Add listeners by [`on`](Self::on) before the emitter is opened. One that is added later may
    /// miss what fires before.
    pub fn cursor(mut self, name: impl Into<String>) -> Self {
        let (start, _) = self.history.kept();
        let cursor = Some(name.into());
        self.history = History::Kept { start, cursor };
        self
    }

    /// For how long the cursor is kept when no emitter has it any more: 7 days by default. An emitter
    /// that comes later begins as if there had never been one. While an emitter has the cursor it
    /// does not expire, however long nothing fires; after a crash, up to a third of the time may be
    /// over already.
    pub const fn cursor_expires(mut self, after: Duration) -> Self {
        self.cursor_expires = after;
        self
    }

    /// Where to begin, unless a cursor says so: with the next event, by default.
    pub fn start(mut self, start: impl Into<Start>) -> Self {
        let (_, cursor) = self.history.kept();
        let start = start.into();
        self.history = History::Kept { start, cursor };
        self
    }

    /// Adds a listener, as [`Emitter::on`].
    pub fn on<F>(self, filter: impl Into<Filter>, listener: F) -> Self
    where
        F: Fn(&Event) + Send + Sync + 'static,
    {
        self.listeners.add(filter.into(), Handler::sync(listener));
        self
    }

    /// Adds a listener that is awaited, as [`Emitter::on_async`].
    pub fn on_async<F, R>(self, filter: impl Into<Filter>, listener: F) -> Self
    where
        F: Fn(Event) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        self.listeners.add(filter.into(), Handler::future(listener));
        self
    }

    /// Opens the emitter. What is triggered from now on, here and elsewhere, fires. Must be called
    /// in a Tokio runtime with time.
    ///
    /// # Errors
    ///
    /// [`TopicError::ConfigConflict`] if other emitters of the topic have said otherwise by
    /// [`persist`](Self::persist), [`TopicError::BadPosition`], [`TopicError::BadRegisterKey`] if
    /// the name of the cursor cannot be one, or that of the store.
    pub async fn open(self) -> Result<Emitter, TopicError> {
        let topic = self.topic;
        let id = format!("{:016x}", random());
        let features = topic.core().log.features();
        let persist = matches!(self.history, History::Kept { .. });
        seat::agree(&topic, persist).await?;
        let reader = EmitterReader::open(&topic, self.history, self.cursor_expires, &id).await?;
        let shared = Arc::new(Shared {
            id: id.into(),
            own_events: self.own_events,
            listeners: self.listeners,
            queue: Queue::new(features),
            connection: Connection::new(),
            counts: Counts::default(),
            ended: topic.core().ended().child_token(),
            aborted: CancellationToken::new(),
            topic,
        });
        let tasks = TaskTracker::new();
        reader.start(&shared, &tasks);
        let sending = Arc::clone(&shared);
        tasks.spawn(async move {
            sending.ended.run_until_cancelled(sending.send()).await;
            sending.queue.close();
            sending.queue.kill();
        });
        Ok(Emitter(Arc::new(Handle { shared, tasks })))
    }
}

/// What an emitter reads, and what remembers up to where it has fired.
struct EmitterReader {
    reader: Reader,
    progress: Progress,
}

enum Progress {
    NotKept,
    Cursor(Cursor),
    Seat(Seat),
}

impl EmitterReader {
    async fn open(
        topic: &Topic,
        history: History,
        cursor_expires: Duration,
        id: &str,
    ) -> Result<Self, TopicError> {
        let (start, progress) = match history {
            History::Removed => {
                let seat = Seat::take(topic, id).await?;
                (Start::Latest, Progress::Seat(seat))
            }
            History::Kept {
                start,
                cursor: None,
            } => (start, Progress::NotKept),
            History::Kept {
                start,
                cursor: Some(name),
            } => {
                let (mut cursor, position) = Cursor::open(topic, &name, cursor_expires).await?;
                let start = position.map_or(start, Start::Position);
                let reader = topic.reader(start, OnLoss::Earliest).await?;
                if let (None, Some(begin)) = (position, reader.position()) {
                    cursor.write(begin).await?;
                }
                let progress = Progress::Cursor(cursor);
                return Ok(Self { reader, progress });
            }
        };
        let reader = topic.reader(start, OnLoss::Earliest).await?;
        Ok(Self { reader, progress })
    }

    fn start(self, shared: &Arc<Shared>, tasks: &TaskTracker) {
        let Self { reader, progress } = self;
        let (fired, seen) = watch::channel(reader.position());
        shared.connection.connected();
        let running = Arc::clone(shared);
        tasks.spawn(async move {
            // What remembers the progress ends when `fired` is dropped.
            let run = running.run(reader, fired);
            running.aborted.run_until_cancelled(run).await;
            running.connection.end();
            running.listeners.clear();
        });
        match progress {
            Progress::NotKept => {}
            Progress::Cursor(cursor) => {
                let shared = Arc::clone(shared);
                tasks.spawn(async move {
                    if let Err(error) = cursor.keep(seen).await {
                        shared.fail(error);
                    }
                });
            }
            Progress::Seat(seat) => {
                tasks.spawn(seat.report(seen));
                let removing = Arc::clone(shared);
                tasks.spawn(async move {
                    let remove = seat::remove_fired(&removing.topic);
                    let ended = removing.ended.run_until_cancelled(remove).await;
                    if let Some(Err(error)) = ended {
                        removing.fail(error);
                    }
                });
            }
        }
    }
}

impl fmt::Debug for EmitterBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmitterBuilder")
            .field("topic", self.topic.name())
            .finish_non_exhaustive()
    }
}
