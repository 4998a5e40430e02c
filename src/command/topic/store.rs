//! Which store a command uses, and how its topics are found there.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use updraft::Redis;
use updraft::topics::{
    FileStore, RedisSettings, RedisStore, Settings, Store, Topic, TopicError, TopicName, Topics,
};
use updraft_bus::{ChannelSettings, Channels};

use super::end::{Ended, Exit, explain};
use super::nearest::nearest;
use crate::command::with_option;

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
    /// What the names of the store's keys begin with, if its programs have set it:
    /// `RedisSettings::prefix`.
    #[arg(long, env = "UPDRAFT_STORE_PREFIX", value_name = "TEXT")]
    store_prefix: Option<String>,
    /// What the names of channels begin with on the same Redis, if its programs have set it:
    /// `RedisSettings::bus_prefix`.
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
            Some(("mongodb" | "mongodb+srv", _)) => Err(Ended::new(
                Exit::Usage,
                "this program was built without topics in MongoDB; use a file or Redis",
            )),
            _ => Err(Ended::new(
                Exit::Usage,
                "--store has no form that is known; it is file:orders.redb, \
                 redis://HOST:6379/0 or mongodb://HOST/DATABASE",
            )),
        }
    }

    async fn open_file(&self, path: &str, access: Access) -> Result<OpenStore, Ended> {
        if self.store_prefix.is_some() || self.store_bus_prefix.is_some() {
            let why = "a store in a file has no prefix; leave out --store-prefix and \
                       --store-bus-prefix";
            return Err(Ended::new(Exit::Usage, why));
        }
        // Both forms are in use: file:orders.redb, and file:///var/lib/orders.redb.
        let path = PathBuf::from(path.strip_prefix("//").unwrap_or(path));
        if path.as_os_str().is_empty() {
            return Err(Ended::new(
                Exit::Usage,
                "--store names no file behind file:",
            ));
        }
        if access == Access::Existing && !path.exists() {
            let why = format!("there is no store {path:?}; publish --create makes one");
            return Err(Ended::failed(why));
        }
        let file = FileStore::open(&path).await.map_err(|error| match error {
            TopicError::StoreInUse { process } => {
                let process = process.map_or("another process".to_owned(), |process| {
                    format!("process {process}")
                });
                let why = format!(
                    "{path:?} is in use by {process}, as a server holds its file while it runs: \
                     stop it first; a store in Redis can be used by several at a time"
                );
                Ended::new(Exit::InUse, why)
            }
            error => Ended::failed(format!("{path:?} cannot be opened: {}", explain(&error))),
        })?;
        Ok(OpenStore {
            topics: Topics::open(file.clone()),
            file: Some(file),
        })
    }

    async fn open_redis(&self) -> Result<OpenStore, Ended> {
        let mut settings = RedisSettings::default();
        if let Some(prefix) = &self.store_prefix {
            settings.prefix.clone_from(prefix);
        }
        let connect = Redis::connect(&self.store).await;
        let mut bus =
            connect.map_err(|error| Ended::failed(with_option(error, "--store").to_string()))?;
        if let Some(prefix) = &self.store_bus_prefix {
            bus = bus
                .prefix(prefix)
                .map_err(|error| Ended::new(Exit::Usage, error.to_string()))?;
            settings.bus_prefix.clone_from(prefix);
        }
        let redis = Arc::new(RedisStore::open(&self.store, settings).await?);
        let channels = Channels::open(bus, ChannelSettings::default());
        let channels = channels
            .map_err(|error| Ended::failed(format!("Redis cannot be listened to: {error}")))?;
        Ok(OpenStore {
            topics: Topics::open(Store::new(redis.clone(), redis, Arc::new(channels))),
            file: None,
        })
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

    async fn unknown(&self, wanted: &TopicName) -> Result<Ended, TopicError> {
        let mut known: Vec<TopicName> = Vec::new();
        while known.len() < MOST_NAMES {
            let names = self.names("", known.last()).await?;
            if names.is_empty() {
                break;
            }
            known.extend(names);
        }
        let like = nearest(wanted.as_str(), known.iter().map(TopicName::as_str));
        let like: Vec<String> = like.into_iter().map(|name| format!("{name:?}")).collect();
        let hint = match (like.is_empty(), known.is_empty()) {
            (false, _) => format!("did you mean {}?", like.join(" or ")),
            (true, true) => "the store has none".to_owned(),
            (true, false) => "`updraft topic list` prints those that there are".to_owned(),
        };
        let wanted = wanted.as_str();
        Ok(Ended::failed(format!(
            "there is no topic {wanted:?}; {hint}"
        )))
    }

    /// Gives the store back. What was begun is finished.
    pub(super) async fn close(self) {
        self.topics.close();
        if let Some(file) = self.file {
            file.close().await;
        }
    }
}
