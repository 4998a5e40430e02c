//! The kinds of stores over which topics are tested.

use std::sync::Arc;

use tokio::runtime::Runtime;
use updraft::Redis;
use updraft::topics::{FileStore, Memory, RedisSettings, RedisStore, Store};
use updraft_bus::{ChannelSettings, Channels};
use updraft_test_support::folder::Folder;
use updraft_test_support::redis::RedisServer;

use crate::common::runtime;

/// A store that was opened.
pub(crate) struct Opened {
    pub(crate) store: Store,
    pub(crate) runtime: Runtime,
    pub(crate) place: Place,
}

/// Where a store is, if that is for this test alone: it is gone when this is dropped.
#[derive(Default)]
pub(crate) struct Place {
    _folder: Option<Folder>,
    _redis: Option<RedisServer>,
}

impl Opened {
    /// One of each kind.
    pub(crate) fn each() -> impl Iterator<Item = Self> {
        let kinds: [fn() -> Self; 3] = [Self::memory, Self::file, Self::redis];
        kinds.into_iter().map(|kind| kind())
    }

    pub(crate) fn memory() -> Self {
        Self {
            store: Memory::new().into(),
            runtime: runtime(),
            place: Place::default(),
        }
    }

    fn file() -> Self {
        let folder = Folder::new("topics");
        let runtime = runtime();
        let store = runtime.block_on(FileStore::open(folder.file("topics")));
        Self {
            store: store.unwrap().into(),
            runtime,
            place: Place {
                _folder: Some(folder),
                ..Place::default()
            },
        }
    }

    fn redis() -> Self {
        let redis = RedisServer::start();
        let mut opened = Self::on(&redis);
        opened.place._redis = Some(redis);
        opened
    }

    /// As one of several processes has it that use this Redis.
    pub(crate) fn on(redis: &RedisServer) -> Self {
        let runtime = runtime();
        let store = runtime.block_on(async {
            let settings = RedisSettings::default();
            let store = Arc::new(RedisStore::open(&redis.url(), settings).await.unwrap());
            let bus = Redis::connect(&redis.url()).await.unwrap();
            let bus = Channels::open(bus, ChannelSettings::default()).unwrap();
            Store::new(store.clone(), store, Arc::new(bus))
        });
        Self {
            store,
            runtime,
            place: Place::default(),
        }
    }
}
