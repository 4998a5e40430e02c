//! Keeps one listening connection to Redis, from the start of the server to its end.
//! A connection that ends, for whatever reason, is replaced; the next one has the next generation number.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use redis::aio::PubSub;
use redis::{Client, RedisResult};
use tokio::time::{sleep, timeout};

use super::backoff::Backoff;
use super::listener::{Ended, Listener};
use crate::bus::Registry;

/// How long connecting may take, with name resolution and authentication.
pub(super) const CONNECTING: Duration = Duration::from_secs(2);

pub(super) struct Supervisor {
    client: Client,
    registry: Arc<Registry>,
    generation: u64,
}

impl Supervisor {
    pub(super) fn new(client: Client, registry: Arc<Registry>) -> Self {
        Self {
            client,
            registry,
            generation: 0,
        }
    }

    /// Runs for ever; dropping the future closes the connection.
    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::new();
        let mut failures = 0_u64;
        loop {
            match self.connect().await {
                Ok(connection) => {
                    failures = 0;
                    self.generation += 1;
                    if self.listen(connection).await {
                        backoff.reset();
                    }
                }
                Err(error) => {
                    failures += 1;
                    // Tried every second, logged each time the number has doubled.
                    if failures.is_power_of_two() {
                        tracing::warn!(%error, failures, "cannot connect to Redis");
                    }
                }
            }
            sleep(backoff.next()).await;
        }
    }

    async fn connect(&self) -> RedisResult<PubSub> {
        match timeout(CONNECTING, self.client.get_async_pubsub()).await {
            Ok(connected) => connected,
            Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
        }
    }

    /// Serves one connection to its end. Answers whether Redis had been well on it.
    async fn listen(&self, connection: PubSub) -> bool {
        // Dropped also when this future is, so that the registry never believes in a connection that is gone.
        let _connected = Connected(&self.registry);
        let listener = Listener::new(&self.registry, self.generation);
        tracing::info!(generation = self.generation, "listening to Redis");
        // A defect that panics here would leave this process deaf for ever; like this it costs a reconnect.
        let ended = AssertUnwindSafe(listener.run(connection))
            .catch_unwind()
            .await;
        let ended = ended.unwrap_or(Ended::Panicked);
        tracing::warn!(
            generation = self.generation,
            ?ended,
            "connection to Redis lost"
        );
        listener.was_well()
    }
}

struct Connected<'a>(&'a Registry);

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        self.0.disconnected();
    }
}
