//! A registry: which streams a program uses, in which stores they are, and which groups read them,
//! declared in one place and checked as a whole before anything is opened.
//!
//! ```
//! use updraft_topics::registry::{Pool, Registry};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let registry = Registry::new()
//!     .pool("default", Pool::memory()) // or "localhost:6379:0", for a Redis
//!     .stream("stream-a", "default", ["read-group-a", "read-group-ab"])
//!     .stream("stream-b", "default", ["read-group-ab"])
//!     .validate()?;
//! let engine = registry.open().await?;
//! engine.event_broker().publish("stream-a", "hello", &[("version", "1")]).await?;
//! # Ok(()) }
//! ```

mod address;
mod check;
mod engine;
#[cfg(feature = "registry-files")]
mod files;
mod pool;
mod problem;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use self::engine::Engine;
pub(crate) use self::engine::Stream;
pub use self::pool::Pool;
use self::problem::Declared;
pub use self::problem::{Location, Problem, Problems};
#[cfg(feature = "registry-files")]
use crate::Order;
use crate::topics::LEASE;
use crate::{GroupSettings, Settings, TopicError};

/// Declarations of pools, streams and groups, in Rust and, with the feature `registry-files`, in
/// YAML or TOML. They can be in any order, and in several files. [`validate`](Self::validate) says
/// what is wrong with all of them.
#[derive(Clone)]
#[must_use = "a registry is to be validated"]
pub struct Registry {
    pools: Vec<DeclaredPool>,
    streams: Vec<DeclaredStream>,
    stream_settings: Vec<(Declared<String>, ChangeSettings)>,
    group_settings: Vec<(Declared<String>, ChangeGroup)>,
    /// What was found while files were read.
    problems: Vec<Problem>,
    lease: Duration,
}

/// A registry without problems, whose pools are not open yet.
#[derive(Debug)]
#[must_use = "a registry is to be opened"]
pub struct ValidRegistry(Registry);

#[derive(Clone)]
struct DeclaredPool {
    name: Declared<String>,
    store: Declared<Pool>,
}

#[derive(Clone)]
struct DeclaredStream {
    name: Declared<String>,
    pool: Declared<String>,
    /// `None` if the declaration has no list of groups, which is told elsewhere.
    groups: Option<Vec<Declared<String>>>,
}

type ChangeSettings = Arc<dyn Fn(&mut Settings) + Send + Sync>;
type ChangeGroup = Arc<dyn Fn(GroupSettings) -> GroupSettings + Send + Sync>;

impl Registry {
    /// An empty one.
    pub fn new() -> Self {
        Self {
            pools: Vec::new(),
            streams: Vec::new(),
            stream_settings: Vec::new(),
            group_settings: Vec::new(),
            problems: Vec::new(),
            lease: LEASE,
        }
    }

    /// A store under a name. A text is the address of a Redis, see [`Pool::redis`].
    #[track_caller]
    pub fn pool(mut self, name: &str, store: impl Into<Pool>) -> Self {
        let at = Location::caller();
        self.pools.push(DeclaredPool {
            name: Declared::new(name.to_owned(), at.clone()),
            store: Declared::new(store.into(), at),
        });
        self
    }

    /// A stream in a pool, and the groups that read it. Its records are removed when all of its
    /// groups have finished them, unless [`stream_settings`](Self::stream_settings) says otherwise.
    ///
    /// A group can read several streams of a pool.
    #[track_caller]
    pub fn stream<'a>(
        mut self,
        name: &str,
        pool: &str,
        groups: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let at = Location::caller();
        let declared = |name: &str| Declared::new(name.to_owned(), at.clone());
        self.streams.push(DeclaredStream {
            name: declared(name),
            pool: declared(pool),
            groups: Some(groups.into_iter().map(declared).collect()),
        });
        self
    }

    /// Changes the settings of a stream, which must be declared too.
    ///
    /// ```
    /// use std::time::Duration;
    /// use updraft_topics::registry::{Pool, Registry};
    ///
    /// let registry = Registry::new()
    ///     .pool("default", Pool::memory())
    ///     .stream("page-views", "default", ["counter"])
    ///     .stream_settings("page-views", |settings| {
    ///         settings.retention.max_age = Some(Duration::from_secs(24 * 3600));
    ///     });
    /// ```
    #[track_caller]
    pub fn stream_settings(
        mut self,
        stream: &str,
        change: impl Fn(&mut Settings) + Send + Sync + 'static,
    ) -> Self {
        let stream = Declared::new(stream.to_owned(), Location::caller());
        self.stream_settings.push((stream, Arc::new(change)));
        self
    }

    /// Changes the settings of a group, which a stream must name.
    ///
    /// ```
    /// use updraft_topics::Order;
    /// use updraft_topics::registry::{Pool, Registry};
    ///
    /// let registry = Registry::new()
    ///     .pool("default", Pool::memory())
    ///     .stream("payments", "default", ["ledger"])
    ///     .group_settings("ledger", |settings| settings.order(Order::Total));
    /// ```
    #[track_caller]
    pub fn group_settings(
        mut self,
        group: &str,
        change: impl Fn(GroupSettings) -> GroupSettings + Send + Sync + 'static,
    ) -> Self {
        let group = Declared::new(group.to_owned(), Location::caller());
        self.group_settings.push((group, Arc::new(change)));
        self
    }

    /// After how long a process that has stopped is replaced, as
    /// [`Topics::with_lease`](crate::Topics::with_lease): 10 s by default.
    pub fn lease(mut self, time: Duration) -> Self {
        self.lease = time;
        self
    }

    /// Checks all declarations together.
    ///
    /// # Errors
    ///
    /// All problems at once, each with its place.
    pub fn validate(self) -> Result<ValidRegistry, Problems> {
        match Problems::new(check::problems(&self)) {
            None => Ok(ValidRegistry(self)),
            Some(problems) => Err(problems),
        }
    }

    /// The names of the groups, each once, in the order of their first declarations.
    fn groups(&self) -> Vec<&Declared<String>> {
        let mut groups: Vec<&Declared<String>> = Vec::new();
        for group in self.streams.iter().flat_map(DeclaredStream::groups) {
            if !groups.iter().any(|known| known.value == group.value) {
                groups.push(group);
            }
        }
        groups
    }

    #[cfg(feature = "registry-files")]
    fn order(&mut self, group: Declared<String>, order: Order) {
        let change = move |settings: GroupSettings| settings.order(order);
        self.group_settings.push((group, Arc::new(change)));
    }
}

impl ValidRegistry {
    /// Opens the pools, the streams and the groups, which are created if they are not there: from
    /// then on a stream keeps its records for its groups. Must be called in a Tokio runtime with
    /// time.
    ///
    /// # Errors
    ///
    /// [`TopicError::NotOpened`] if a pool cannot be opened, [`TopicError::GroupConflict`] if a group
    /// was created with other streams or settings, or that of a store.
    pub async fn open(&self) -> Result<Engine, TopicError> {
        Engine::open(&self.0).await
    }
}

impl DeclaredStream {
    fn groups(&self) -> impl Iterator<Item = &Declared<String>> {
        self.groups.iter().flatten()
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pools = self.pools.iter().map(|pool| &pool.name.value);
        let streams = self.streams.iter().map(|stream| &stream.name.value);
        f.debug_struct("Registry")
            .field("pools", &pools.collect::<Vec<_>>())
            .field("streams", &streams.collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
