//! Lists: the records of a topic that a [`Window`] has, kept up to date for all subscriptions of
//! this process that show it as documents.
//!
//! A list is a state, not a queue. Who shows it asks what has changed since the last time, so a
//! slow client holds up nobody, and what has come and gone meanwhile it is never sent.

mod contents;
mod keeping;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::runtime::Handle;
use tokio::sync::{OnceCell, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use updraft_topics::{Topic, TopicError};

use super::{Feed, Feeds};
use contents::Contents;
pub use contents::Window;
pub(crate) use contents::{Change, Changes, Document};

/// The records of one topic that one window has. It ends when nobody holds it any more.
pub(crate) struct List {
    window: Window,
    feed: Arc<Feed>,
    /// Set when the topic was read, and the task has started.
    opened: OnceCell<()>,
    state: Mutex<State>,
    /// Tells those who show it that it has changed.
    news: watch::Sender<()>,
    closed: CancellationToken,
    _close: DropGuard,
}

struct State {
    contents: Contents,
    /// Why it is not kept up to date any more.
    failed: Option<TopicError>,
}

/// What one subscription has seen of a list.
pub(crate) struct Watched {
    list: Arc<List>,
    news: watch::Receiver<()>,
    /// How many changes it has seen; `None` at the beginning.
    version: Option<u64>,
}

impl Feeds {
    /// The list of a topic and a window. The first who asks waits until the topic was read, and so
    /// do others that ask meanwhile.
    ///
    /// # Errors
    ///
    /// That of the store.
    pub(crate) async fn list(&self, topic: &Topic, window: Window) -> Result<Watched, TopicError> {
        let feed = self.open(topic).await?;
        let list = feed.list(window);
        let opening = || list.open(&self.tasks, &self.runtime);
        list.opened.get_or_try_init(opening).await?;
        Ok(Watched {
            news: list.news.subscribe(),
            list,
            version: None,
        })
    }
}

impl Feed {
    fn list(self: &Arc<Self>, window: Window) -> Arc<List> {
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        lists.retain(|list| list.strong_count() > 0);
        let mut known = lists.iter().filter_map(Weak::upgrade);
        if let Some(list) = known.find(|it| it.window == window && !it.has_failed()) {
            return list;
        }
        let list = Arc::new(List::new(self.clone(), window));
        lists.push(Arc::downgrade(&list));
        list
    }
}

impl List {
    fn new(feed: Arc<Feed>, window: Window) -> Self {
        let closed = CancellationToken::new();
        let contents = Contents::new(window, keeping::reserve(feed.topic(), window));
        Self {
            window,
            feed,
            opened: OnceCell::new(),
            state: Mutex::new(State {
                contents,
                failed: None,
            }),
            news: watch::Sender::new(()),
            _close: closed.clone().drop_guard(),
            closed,
        }
    }

    async fn open(
        self: &Arc<Self>,
        tasks: &TaskTracker,
        runtime: &Handle,
    ) -> Result<(), TopicError> {
        let (contents, at) = keeping::load(self.feed.topic(), self.window).await?;
        self.change(|state| state.contents.replace(contents));
        let keeping = keeping::keep(Arc::downgrade(self), self.feed.clone(), at);
        let closed = self.closed.clone();
        let task = async move { closed.run_until_cancelled(keeping).await };
        tasks.spawn_on(task, runtime);
        Ok(())
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let has_changed = {
            let mut state = self.lock();
            let before = state.contents.version();
            change(&mut state);
            before != state.contents.version() || state.failed.is_some()
        };
        if has_changed {
            self.news.send_replace(());
        }
    }

    fn has_failed(&self) -> bool {
        self.lock().failed.is_some()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watched {
    /// What has changed since the last call; everything at the first. The documents that are shown,
    /// not those of the moments in between.
    pub(crate) fn changes(&mut self) -> Changes {
        let state = self.list.lock();
        let changes = state.contents.since(self.version);
        self.version = Some(state.contents.version());
        changes
    }

    /// Waits until there are changes.
    ///
    /// # Errors
    ///
    /// The list is not kept up to date any more.
    pub(crate) async fn changed(&mut self) -> Result<(), TopicError> {
        loop {
            self.news.mark_unchanged();
            {
                let state = self.list.lock();
                if let Some(error) = &state.failed {
                    return Err(error.clone());
                }
                if self.version != Some(state.contents.version()) {
                    return Ok(());
                }
            }
            // The list is held, and with it the sender.
            self.news.changed().await.ok();
        }
    }
}

impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("List")
            .field("topic", self.feed.topic().name())
            .field("window", &self.window)
            .finish_non_exhaustive()
    }
}
