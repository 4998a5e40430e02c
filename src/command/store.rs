//! Which store a command uses, and how its topics and groups are found there.

use std::path::Path;
use std::sync::Arc;

use clap::Args;
use updraft::Redis;
use updraft::topics::{
    FileStore, Group, RedisSettings, RedisStore, Settings, Store, Topic, TopicError, TopicName,
    Topics,
};
#[cfg(feature = "mongo")]
use updraft::topics::{MongoSettings, MongoStore};
use updraft_bus::{ChannelSettings, Channels};

use super::end::{Ended, Exit};
use super::nearest::nearest;
use super::with_option;

/// Names that are read at once, and among which a mistyped one is looked for.
const PAGE: usize = 1000;
const MOST_NAMES: usize = 10_000;

#[derive(Debug, Args)]
pub(super) struct StoreOptions {
    /// The store: file:orders.redb, redis://HOST:6379/0, rediss://… or mongodb://…
    // It may have a password, which the help must not show.
    #[arg(
        long,
        env = "UPDRAFT_STORE",
        hide_env_values = true,
        value_name = "URL"
    )]
    store: String,
    /// What the names of the store's keys or collections begin with, if its programs have set it:
    /// `RedisSettings::prefix`, `MongoSettings::prefix`.
    #[arg(long, env = "UPDRAFT_STORE_PREFIX", value_name = "TEXT")]
    store_prefix: Option<String>,
    /// For a store in MongoDB: the Redis over which its programs wake readers. Without it, what is
    /// published is found elsewhere within some seconds.
    #[arg(
        long,
        env = "UPDRAFT_STORE_BUS",
        hide_env_values = true,
        value_name = "URL"
    )]
    store_bus: Option<String>,
    /// What the names of channels begin with on that Redis, or on the one of the store, if its
    /// programs have set it.
    #[arg(long, env = "UPDRAFT_STORE_BUS_PREFIX", value_name = "TEXT")]
    store_bus_prefix: Option<String>,
}

/// What a command may do to a store that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Existing,
    /// A file is made.
    Creating,
}

/// A store that is open.
#[derive(Debug)]
pub(super) struct OpenStore {
    pub(super) topics: Topics,
    /// It is closed in order, so that the next one need not look what has happened.
    file: Option<FileStore>,
}

impl StoreOptions {
    pub(super) async fn open(&self, access: Access) -> Result<OpenStore, Ended> {
        // No error repeats the URL, which may have a password.
        match self.store.split_once(':') {
            Some(("file", path)) => self.open_file(path, access).await,
            Some(("redis" | "rediss" | "redis+unix" | "unix", _)) => self.open_redis().await,
            Some(("mongodb" | "mongodb+srv", _)) => self.open_mongo().await,
            _ => Err(misused(
                "--store has no form that is known; it is file:orders.redb, \
                 redis://HOST:6379/0 or mongodb://HOST/DATABASE",
            )),
        }
    }

    async fn open_file(&self, path: &str, access: Access) -> Result<OpenStore, Ended> {
        if self.store_prefix.is_some() || self.has_bus() {
            return Err(misused(
                "a store in a file has no prefix and no bus; leave out --store-prefix, \
                 --store-bus and --store-bus-prefix",
            ));
        }
        // Both forms are in use: file:orders.redb, and file:///var/lib/orders.redb.
        let path = Path::new(path.strip_prefix("//").unwrap_or(path));
        if path.as_os_str().is_empty() {
            return Err(misused("--store names no file behind file:"));
        }
        if access == Access::Existing && !path.exists() {
            let why = format!("there is no store {path:?}; publish --create makes one");
            return Err(Ended::failed(why));
        }
        let opened = FileStore::open(path).await;
        let file = opened.map_err(not_opened)?;
        Ok(OpenStore {
            topics: Topics::open(file.clone()),
            file: Some(file),
        })
    }

    async fn open_redis(&self) -> Result<OpenStore, Ended> {
        if self.store_bus.is_some() {
            return Err(misused(
                "a store in Redis is its own bus; leave out --store-bus",
            ));
        }
        let mut settings = RedisSettings::default();
        if let Some(prefix) = &self.store_prefix {
            settings.prefix.clone_from(prefix);
        }
        if let Some(prefix) = &self.store_bus_prefix {
            settings.bus_prefix.clone_from(prefix);
        }
        let bus = self.open_bus(&self.store, "--store").await?;
        let redis = Arc::new(RedisStore::open(&self.store, settings).await?);
        Ok(Store::new(redis.clone(), redis, bus).into())
    }

    #[cfg(feature = "mongo")]
    async fn open_mongo(&self) -> Result<OpenStore, Ended> {
        let mut settings = MongoSettings::default();
        if let Some(prefix) = &self.store_prefix {
            settings.prefix.clone_from(prefix);
        }
        if self.store_bus.is_none() && self.has_bus() {
            return Err(misused(
                "--store-bus-prefix is of a bus; --store-bus says which",
            ));
        }
        let mut store = Store::from(MongoStore::open(&self.store, settings).await?);
        if let Some(url) = &self.store_bus {
            store.channels = self.open_bus(url, "--store-bus").await?;
        }
        Ok(store.into())
    }

    #[cfg(not(feature = "mongo"))]
    async fn open_mongo(&self) -> Result<OpenStore, Ended> {
        Err(misused(
            "this program was built without topics in MongoDB; its feature `mongo` has them",
        ))
    }

    fn has_bus(&self) -> bool {
        self.store_bus.is_some() || self.store_bus_prefix.is_some()
    }

    /// The bus over which readers are woken. `option` has its URL.
    async fn open_bus(&self, url: &str, option: &str) -> Result<Arc<Channels>, Ended> {
        let bus = Redis::connect(url).await;
        let mut bus = bus.map_err(|error| Ended::failed(with_option(error, option).to_string()))?;
        if let Some(prefix) = &self.store_bus_prefix {
            let prefixed = bus.prefix(prefix);
            bus = prefixed.map_err(|error| misused(&error.to_string()))?;
        }
        let channels = Channels::open(bus, ChannelSettings::default());
        let channels = channels
            .map_err(|error| Ended::failed(format!("Redis cannot be listened to: {error}")))?;
        Ok(Arc::new(channels))
    }
}

/// Options that do not go together.
fn misused(why: &str) -> Ended {
    Ended::new(Exit::Usage, why)
}

/// Why a file cannot be opened.
fn not_opened(error: TopicError) -> Ended {
    match &error {
        TopicError::StoreInUse { .. } => {
            let hint = "a server holds its file while it runs, and several can use one Redis";
            Ended::new(Exit::InUse, format!("{error}; {hint}"))
        }
        _ => error.into(),
    }
}

/// One that needs no closing.
impl From<Store> for OpenStore {
    fn from(store: Store) -> Self {
        Self {
            topics: Topics::open(store),
            file: None,
        }
    }
}

impl OpenStore {
    /// Opens a topic.
    ///
    /// # Errors
    ///
    /// If there is none and it may not be created, with the known names that are like its.
    pub(super) async fn topic(&self, name: &TopicName, settings: Settings) -> Result<Topic, Ended> {
        match self.topics.topic(name.clone(), settings).await {
            Err(TopicError::UnknownTopic) => Err(self.unknown(name).await?),
            topic => Ok(topic?),
        }
    }

    /// Opens a topic that is there.
    pub(super) async fn existing(&self, name: &TopicName) -> Result<Topic, Ended> {
        let mut settings = Settings::default();
        settings.auto_create = false;
        self.topic(name, settings).await
    }

    /// Names that begin so, in order, behind this one; none at the end.
    pub(super) async fn names(
        &self,
        prefix: &str,
        after: Option<&TopicName>,
    ) -> Result<Vec<TopicName>, TopicError> {
        self.topics.list(prefix, after, PAGE).await
    }

    /// Opens a group that is there.
    ///
    /// # Errors
    ///
    /// If there is none, with the known names that are like its.
    pub(super) async fn group(&self, name: &str) -> Result<Group, Ended> {
        match self.topics.find_group(name).await {
            Err(TopicError::UnknownGroup { .. }) => {
                let known = self.topics.groups().await?;
                let known = known.iter().map(String::as_str);
                Err(unknown("group", name, known))
            }
            group => Ok(group?),
        }
    }

    async fn unknown(&self, wanted: &TopicName) -> Result<Ended, TopicError> {
        let mut known: Vec<TopicName> = Vec::new();
        while known.len() < MOST_NAMES {
            let names = self.names("", known.last()).await?;
            if names.is_empty() {
                break;
            }
            known.extend(names);
        }
        let known = known.iter().map(TopicName::as_str);
        Ok(unknown("topic", wanted.as_str(), known))
    }

    /// Gives the store back. What was begun is finished.
    pub(super) async fn close(self) {
        // What was changed is announced before the process ends.
        self.topics.shut_down().await;
        if let Some(file) = self.file {
            file.close().await;
        }
    }
}

/// What is said of a name that is not there. `kind` is what it would be the name of.
fn unknown<'a>(kind: &str, wanted: &str, known: impl Iterator<Item = &'a str> + Clone) -> Ended {
    let like = nearest(wanted, known.clone());
    let like: Vec<String> = like.into_iter().map(|name| format!("{name:?}")).collect();
    let hint = match (like.is_empty(), known.count()) {
        (false, _) => format!("did you mean {}?", like.join(" or ")),
        (true, 0) => "the store has none".to_owned(),
        (true, _) => format!("`updraft {kind} list` prints those that there are"),
    };
    Ended::failed(format!("there is no {kind} {wanted:?}; {hint}"))
}
