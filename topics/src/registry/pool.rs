//! Pools: the stores in which a registry's streams are.

use std::fmt;
use std::path::PathBuf;

use super::address::RedisAddress;
#[cfg(feature = "file")]
use crate::FileStore;
#[cfg(feature = "redis")]
use crate::RedisSettings;
use crate::{Memory, Store, TopicError, Topics};
#[cfg(feature = "mongo")]
use crate::{MongoSettings, MongoStore};

/// A store of streams: where it is, or one that is open already.
///
/// A text is the address of a Redis, as [`Pool::redis`] takes it. What makes a [`Store`] is a pool
/// too.
#[derive(Clone)]
#[must_use = "a pool is for a registry"]
pub struct Pool(Kind);

#[derive(Clone)]
enum Kind {
    Redis(String),
    File(PathBuf),
    Mongo(String),
    Memory,
    Open(Store),
}

impl Pool {
    /// A Redis, as `HOST:PORT:DATABASE`: `localhost:6379:0`. A path of a socket may be in place of
    /// `HOST:PORT`; a namespace may follow, and credentials:
    /// `10.0.0.1:6379:1:app?user=bee&password=secret`. A URL does as well: `rediss://10.0.0.1`.
    ///
    /// The readers of this pool are woken over the same Redis.
    pub fn redis(address: impl Into<String>) -> Self {
        Self(Kind::Redis(address.into()))
    }

    /// A file, as `FileStore` keeps it: one process at a time can have it.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Kind::File(path.into()))
    }

    /// A MongoDB, by its URL. Readers in other processes find records at their next poll; a
    /// [`Store`] with a bus has wake-ups for them too.
    pub fn mongo(url: impl Into<String>) -> Self {
        Self(Kind::Mongo(url.into()))
    }

    /// The memory of this process.
    pub fn memory() -> Self {
        Self(Kind::Memory)
    }

    /// What is wrong with it, before anything is opened.
    pub(super) fn problem(&self) -> Option<String> {
        let missing = |feature| {
            format!("this program was built without such stores; the feature `{feature}` has them")
        };
        match &self.0 {
            Kind::Redis(_) if !cfg!(feature = "redis") => Some(missing("redis")),
            Kind::Redis(address) => RedisAddress::parse(address).err(),
            Kind::File(_) if !cfg!(feature = "file") => Some(missing("file")),
            Kind::File(path) if path.as_os_str().is_empty() => {
                Some("the path of the file is empty; name one, as in streams.redb".into())
            }
            Kind::Mongo(_) if !cfg!(feature = "mongo") => Some(missing("mongo")),
            Kind::Mongo(url) if !is_mongo(url) => {
                Some("that is no URL of a MongoDB; write it as mongodb://HOST/DATABASE".into())
            }
            Kind::File(_) | Kind::Mongo(_) | Kind::Memory | Kind::Open(_) => None,
        }
    }

    /// Whether both are one store, as far as that shows.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Kind::Redis(one), Kind::Redis(other)) => {
                match (RedisAddress::parse(one), RedisAddress::parse(other)) {
                    (Ok(one), Ok(other)) => one == other,
                    _ => false,
                }
            }
            (Kind::File(one), Kind::File(other)) => one == other,
            (Kind::Mongo(one), Kind::Mongo(other)) => one == other,
            (Kind::Open(one), Kind::Open(other)) => std::sync::Arc::ptr_eq(&one.log, &other.log),
            _ => false,
        }
    }

    /// Its topics.
    ///
    /// # Errors
    ///
    /// [`TopicError::NotOpened`], or as the store's own function.
    pub(super) async fn open(self) -> Result<Topics, TopicError> {
        let store = match self.0 {
            Kind::Open(store) => store,
            Kind::Memory => Memory::new().into(),
            #[cfg(feature = "redis")]
            Kind::Redis(address) => {
                let unusable = |reason: String| TopicError::NotOpened {
                    store: "of this address".into(),
                    cause: crate::error::because(reason),
                    advice: "write it as HOST:PORT:DATABASE",
                };
                let RedisAddress { url, namespace } =
                    RedisAddress::parse(&address).map_err(unusable)?;
                let mut settings = RedisSettings::default();
                settings.prefix.insert_str(0, &namespace);
                settings.bus_prefix = namespace;
                Store::redis(&url, settings).await?
            }
            #[cfg(feature = "file")]
            Kind::File(path) => FileStore::open(path).await?.into(),
            #[cfg(feature = "mongo")]
            Kind::Mongo(url) => {
                let store = MongoStore::open(&url, MongoSettings::default()).await?;
                store.into()
            }
            #[cfg(not(all(feature = "redis", feature = "file", feature = "mongo")))]
            _ => {
                // Such a registry is not valid.
                let what = "be opened by a program without its feature";
                return Err(TopicError::Unsupported { what });
            }
        };
        Ok(Topics::open(store))
    }
}

fn is_mongo(url: &str) -> bool {
    url.starts_with("mongodb://") || url.starts_with("mongodb+srv://")
}

/// The address of a Redis, see [`Pool::redis`].
impl From<&str> for Pool {
    fn from(address: &str) -> Self {
        Self::redis(address)
    }
}

/// The address of a Redis, see [`Pool::redis`].
impl From<String> for Pool {
    fn from(address: String) -> Self {
        Self::redis(address)
    }
}

impl From<Store> for Pool {
    fn from(store: Store) -> Self {
        Self(Kind::Open(store))
    }
}

impl From<Memory> for Pool {
    fn from(store: Memory) -> Self {
        Self(Kind::Open(store.into()))
    }
}

#[cfg(feature = "file")]
impl From<FileStore> for Pool {
    fn from(store: FileStore) -> Self {
        Self(Kind::Open(store.into()))
    }
}

#[cfg(feature = "mongo")]
impl From<MongoStore> for Pool {
    fn from(store: MongoStore) -> Self {
        Self(Kind::Open(store.into()))
    }
}

/// Without the address, which may have a password.
impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Kind::Redis(_) => "Pool(redis)",
            Kind::File(_) => "Pool(file)",
            Kind::Mongo(_) => "Pool(mongo)",
            Kind::Memory => "Pool(memory)",
            Kind::Open(_) => "Pool(open)",
        })
    }
}
