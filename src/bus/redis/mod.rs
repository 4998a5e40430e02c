//! The bus over Redis pub/sub: one connection that listens, under a supervisor, and one that publishes.
//! Redis keeps nothing for a listener that is away, so a lost connection is a gap, and is told.

mod backoff;
mod listener;
mod publisher;
mod supervisor;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(super) use self::publisher::Publisher;
use self::supervisor::Supervisor;
use super::{Bus, BusError, Publishing, Registry};

/// Redis as the bus of a server: every process on the same Redis hears what any of them, or anybody else, publishes.
pub struct Redis {
    publisher: Publisher,
}

impl Redis {
    /// Connects to Redis, for example at `redis://127.0.0.1`. Nothing is subscribed to yet.
    ///
    /// # Errors
    ///
    /// When the URL is of no use, or Redis cannot be reached or refuses.
    pub async fn connect(url: &str) -> Result<Self, BusError> {
        Ok(Self {
            publisher: Publisher::connect(url).await?,
        })
    }
}

impl Bus for Redis {
    fn is_immediate(&self) -> bool {
        false
    }

    fn start(&self, registry: &Arc<Registry>, tasks: &TaskTracker, closed: &CancellationToken) {
        let supervisor = Supervisor::new(self.publisher.client().clone(), Arc::clone(registry));
        tasks.spawn(closed.clone().run_until_cancelled_owned(supervisor.run()));
    }

    fn publish<'a>(&'a self, _: &'a Registry, channel: &'a str, payload: Bytes) -> Publishing<'a> {
        Box::pin(async move { self.publisher.publish(channel, &payload).await })
    }
}

impl fmt::Debug for Redis {
    // The client's own would show the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("publisher", &self.publisher)
            .finish()
    }
}
