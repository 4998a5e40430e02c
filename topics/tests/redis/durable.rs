//! A Redis whose data outlives it, and the store in it.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use updraft_test_support::redis::RedisServer;
use updraft_topics::conformance::{Handles, Harness};
use updraft_topics::{RedisSettings, RedisStore};

/// What the tests that every store must pass kill and open again.
pub(crate) struct DurableRedis(Mutex<RedisServer>);

impl DurableRedis {
    /// One of this program.
    pub(crate) fn start(program: &Path) -> Self {
        Self(Mutex::new(RedisServer::start_durable_of(program)))
    }

    fn server(&self) -> std::sync::MutexGuard<'_, RedisServer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Harness for DurableRedis {
    async fn open(&self) -> Handles {
        let url = self.server().url();
        Handles::new(&open(&url).await)
    }

    async fn kill(&self) {
        self.server().restart();
    }
}

pub(crate) fn settings() -> RedisSettings {
    let mut settings = RedisSettings::default();
    // The machine may be slow.
    settings.deadline = Duration::from_secs(30);
    settings
}

pub(crate) async fn open(url: &str) -> RedisStore {
    RedisStore::open(url, settings()).await.unwrap()
}
