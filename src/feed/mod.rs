//! Topics as this process's clients follow them. A *feed* reads one topic for all of its followers,
//! however many there are: it waits at the end for new records, reads pages for those that are
//! further back, and keeps both in memory for a while.
//!
//! Followers belong to shards. A shard is told that a feed has grown, once until it has looked, and
//! takes the records itself. So nothing is queued for a shard, or for a follower: who is slow falls
//! behind in the log.

mod begin;
mod cache;
mod list;
mod polled;
mod reading;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::runtime::Handle;
use tokio::sync::{Notify, OnceCell, oneshot, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use updraft_topics::{
    Bounds, Epoch, Heads, Message, Offset, OnLoss, Place, Start, Topic, TopicError, TopicName,
};

pub(crate) use begin::{Beginning, Opening, Policies, lost};
use cache::Cache;
pub(crate) use cache::{Look, Next, Room};
use list::List;
pub use list::Window;
pub(crate) use list::{Change, Changes, Document, Watched};
use polled::PolledBounds;

/// The feeds of a server.
pub(crate) struct Feeds {
    runtime: Handle,
    tasks: TaskTracker,
    /// By the names of their topics; topics of several stores may have the same name. Filled by
    /// `open`, which also drops those that are gone, whenever there are twice as many names as the
    /// last time.
    by_name: Mutex<HashMap<TopicName, Vec<Weak<Feed>>>>,
    ids: AtomicU64,
    /// Pages that were read from stores for followers that lag.
    pages: Arc<AtomicU64>,
}

/// The number of a feed, which is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FeedId(u64);

/// Reads one topic for all who follow it in this process. It ends when nobody holds it any more.
pub(crate) struct Feed {
    id: FeedId,
    topic: Topic,
    /// Set when the end of the topic is known, and the tasks have started.
    opened: OnceCell<()>,
    state: Mutex<State>,
    /// Notified when a page is wanted.
    wanted: Arc<Notify>,
    /// Tells the lists of news, as `shards` are told.
    news: watch::Sender<()>,
    /// Those of this topic. Filled by `list`, which also drops those that are gone.
    lists: Mutex<Vec<Weak<List>>>,
    /// What these have found that look from time to time which records are gone.
    polled: PolledBounds,
    closed: CancellationToken,
    _close: DropGuard,
}

struct State {
    cache: Cache,
    /// What the topic held when that was last read. The end is that of the cache.
    bounds: Bounds,
    /// The records of the latest snapshot, shared by those that begin with it at the same time.
    heads: Option<Arc<Heads>>,
    /// The shards that have followers. Filled by `join`, drained by `leave`.
    shards: Vec<Subscriber>,
    /// Places behind which records are to be read, in the order in which they were asked for, and
    /// who waits. Filled by `want`, drained as pages are read; bounded by the followers.
    order: VecDeque<Place>,
    waiting: HashMap<Place, Vec<Waiter>>,
    ended: Option<Ended>,
}

struct Subscriber {
    port: Arc<dyn FeedPort>,
    /// Whether it was told of news and has not looked yet.
    is_told: bool,
}

/// Who waits for a page.
enum Waiter {
    Shard(usize),
    Task(oneshot::Sender<Fetched>),
}

/// Why there will be no more records.
#[derive(Clone, Debug)]
pub(crate) enum Ended {
    /// The topic was closed, and all of it was read.
    Closed,
    Failed(TopicError),
}

/// What became of a page that was wanted.
#[derive(Clone, Debug)]
pub(crate) enum Fetched {
    /// It is in memory.
    InMemory,
    /// There is nothing behind the place.
    End,
    Failed(TopicError),
}

/// What a feed tells a shard.
#[derive(Debug)]
pub(crate) enum FeedNews {
    /// It has new records, or has ended.
    Grew(FeedId),
    /// What became of the page behind this place.
    Fetched(FeedId, Place, Fetched),
}

/// Hears of feeds for the followers of one shard. None of it waits.
pub(crate) trait FeedPort: Send + Sync {
    /// The number of the shard.
    fn shard(&self) -> usize;

    /// Takes the news for the shard.
    fn tell(&self, news: FeedNews);
}

impl Feeds {
    pub(crate) fn new(runtime: Handle) -> Self {
        Self {
            runtime,
            tasks: TaskTracker::new(),
            by_name: Mutex::default(),
            ids: AtomicU64::new(0),
            pages: Arc::default(),
        }
    }

    /// The feed of a topic. The first who asks waits until its end is known, and so do others that
    /// ask meanwhile.
    ///
    /// # Errors
    ///
    /// That of the store.
    pub(crate) async fn open(&self, topic: &Topic) -> Result<Arc<Feed>, TopicError> {
        let feed = self.get(topic);
        let opening = || feed.open(&self.tasks, &self.runtime, self.pages.clone());
        feed.opened.get_or_try_init(opening).await?;
        Ok(feed)
    }

    /// How many topics are read.
    pub(crate) fn count(&self) -> usize {
        let by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        let feeds = by_name.values().flatten();
        feeds.filter(|feed| feed.strong_count() > 0).count()
    }

    /// Pages that were read from stores so far for followers that lagged.
    pub(crate) fn pages(&self) -> u64 {
        self.pages.load(Ordering::Relaxed)
    }

    fn get(&self, topic: &Topic) -> Arc<Feed> {
        let mut by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        if by_name.len() == by_name.capacity() {
            by_name.retain(|_, feeds| feeds.iter().any(|feed| feed.strong_count() > 0));
        }
        let feeds = by_name.entry(topic.name().clone()).or_default();
        feeds.retain(|feed| feed.strong_count() > 0);
        let known = feeds.iter().filter_map(Weak::upgrade);
        let mut known = known.filter(|feed| feed.topic == *topic && !feed.has_failed());
        if let Some(feed) = known.next() {
            return feed;
        }
        let id = FeedId(self.ids.fetch_add(1, Ordering::Relaxed));
        let feed = Arc::new(Feed::new(id, topic.clone()));
        feeds.push(Arc::downgrade(&feed));
        feed
    }
}

impl Feed {
    fn new(id: FeedId, topic: Topic) -> Self {
        let closed = CancellationToken::new();
        // Nobody looks before it is opened.
        let bounds = Bounds::new(Epoch::from_u64(0));
        Self {
            id,
            topic,
            opened: OnceCell::new(),
            state: Mutex::new(State {
                cache: Cache::new(bounds.end()),
                bounds,
                heads: None,
                shards: Vec::new(),
                order: VecDeque::new(),
                waiting: HashMap::new(),
                ended: None,
            }),
            wanted: Arc::default(),
            news: watch::Sender::new(()),
            lists: Mutex::default(),
            polled: PolledBounds::default(),
            _close: closed.clone().drop_guard(),
            closed,
        }
    }

    async fn open(
        self: &Arc<Self>,
        tasks: &TaskTracker,
        runtime: &Handle,
        pages: Arc<AtomicU64>,
    ) -> Result<(), TopicError> {
        let reader = self.topic.reader(Start::Latest, OnLoss::Latest).await?;
        let bounds = self.topic.bounds().await?;
        let end = reader
            .position()
            .map_or_else(|| bounds.end(), |it| it.place());
        {
            let mut state = self.lock();
            state.bounds = bounds;
            state.cache.restart(end);
        }
        let live = reading::live(Arc::downgrade(self), reader);
        let fetch = reading::fetch(Arc::downgrade(self), self.topic.clone(), pages);
        for task in [live, fetch] {
            let closed = self.closed.clone();
            let task = async move { closed.run_until_cancelled(task).await };
            tasks.spawn_on(task, runtime);
        }
        Ok(())
    }

    pub(crate) fn id(&self) -> FeedId {
        self.id
    }

    pub(crate) fn topic(&self) -> &Topic {
        &self.topic
    }

    /// A shard has followers from here on, and hears of news. Returns the end at this moment.
    pub(crate) fn join(&self, port: Arc<dyn FeedPort>) -> Place {
        let mut state = self.lock();
        state.shards.retain(|it| it.port.shard() != port.shard());
        state.shards.push(Subscriber {
            port,
            is_told: false,
        });
        state.cache.end()
    }

    /// A shard has no followers any more.
    pub(crate) fn leave(&self, shard: usize) {
        let mut state = self.lock();
        state.shards.retain(|it| it.port.shard() != shard);
    }

    /// A shard is about to look: what comes after this is told again.
    pub(crate) fn heard(&self, shard: usize) {
        let mut state = self.lock();
        let shards = state.shards.iter_mut();
        let mut of_shard = shards.filter(|it| it.port.shard() == shard);
        if let Some(subscriber) = of_shard.next() {
            subscriber.is_told = false;
        }
    }

    /// What is behind a place.
    pub(crate) fn look(&self, after: Place, horizon: Offset, room: Room) -> Look {
        self.lock().cache.look(after, horizon, room)
    }

    /// Reads what is behind a place, and then tells the shard.
    pub(crate) fn want(&self, after: Place, shard: usize) {
        self.wait_for(after, Waiter::Shard(shard));
    }

    /// The end of the topic, as far as it was read.
    pub(crate) fn end(&self) -> Place {
        self.lock().cache.end()
    }

    /// Why there will be no more records, if there will be none.
    pub(crate) fn ended(&self) -> Option<Ended> {
        self.lock().ended.clone()
    }

    fn has_failed(&self) -> bool {
        matches!(self.lock().ended, Some(Ended::Failed(_)))
    }

    /// Waits for what is behind a place.
    async fn fetch(&self, after: Place) -> Fetched {
        let (fetched, outcome) = oneshot::channel();
        self.wait_for(after, Waiter::Task(fetched));
        let gone = Fetched::Failed(TopicError::ShuttingDown);
        outcome.await.unwrap_or(gone)
    }

    fn wait_for(&self, after: Place, waiter: Waiter) {
        let mut state = self.lock();
        if !state.waiting.contains_key(&after) {
            state.order.push_back(after);
        }
        let waiting = state.waiting.entry(after).or_default();
        let is_same = |other: &Waiter| match (other, &waiter) {
            (Waiter::Shard(other), Waiter::Shard(shard)) => other == shard,
            _ => false,
        };
        if !waiting.iter().any(is_same) {
            waiting.push(waiter);
        }
        drop(state);
        self.wanted.notify_one();
    }

    /// Records have come; `next` is the place behind them.
    fn append(&self, records: Vec<Message>, next: Place) {
        let records = records.into_iter().map(Arc::new).collect();
        self.change(|state| state.cache.append(records, next));
    }

    /// The topic goes on at another place, and what is in memory may be wrong.
    fn restart(&self, end: Place, bounds: Bounds) {
        self.change(|state| {
            state.cache.restart(end);
            state.bounds = bounds;
            state.heads = None;
        });
    }

    fn end_with(&self, ended: Ended) {
        self.change(|state| state.ended = Some(ended));
    }

    /// Changes the state, and tells shards and lists.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        for subscriber in &mut state.shards {
            if !std::mem::replace(&mut subscriber.is_told, true) {
                subscriber.port.tell(FeedNews::Grew(self.id));
            }
        }
        drop(state);
        self.news.send_replace(());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Feeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feeds").finish_non_exhaustive()
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed")
            .field("topic", self.topic.name())
            .finish_non_exhaustive()
    }
}
