//! Keeps one listening connection to Redis, from the start of the server to its end. A connection
//! that ends, for whatever reason, is replaced. Each connection that Redis accepts has the next
//! generation number.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use redis::RedisError;
use redis::aio::PubSub;
use tokio::runtime::Handle;
use tokio::time::sleep;
use uuid::Uuid;

use super::backoff::Backoff;
use super::classify::{cause, is_refusal};
use super::publisher::Publisher;
use super::subscriber::{self, Ended, Subscriber};
use crate::BusFault;
use crate::registry::ChannelRegistry;

pub(super) struct Supervisor {
    publisher: Publisher,
    registry: Arc<ChannelRegistry>,
    /// The runtime of the connection that publishes: it outlives this one, and is not delayed by
    /// it.
    commands: Handle,
    generation: u64,
    /// This process's own probe channel.
    probe: String,
}

impl Supervisor {
    pub(super) fn new(
        publisher: Publisher,
        registry: Arc<ChannelRegistry>,
        commands: Handle,
    ) -> Self {
        let probe = format!("updraft::probe::{}", Uuid::new_v4());
        Self {
            probe: publisher.options.with_prefix(&probe).into_owned(),
            publisher,
            registry,
            commands,
            generation: 0,
        }
    }

    /// Runs for ever; dropping the future closes the connection.
    pub(super) async fn run(mut self) {
        let options = &self.publisher.options;
        let mut backoff = Backoff::new(options.shortest_wait, options.longest_wait);
        loop {
            // Measured from the start of each attempt: after an attempt that timed out there is no
            // further wait.
            let mut pause = sleep(backoff.next());
            match subscriber::connect(&self.publisher).await {
                Ok(connection) => {
                    self.generation += 1;
                    if self.listen(connection).await {
                        backoff.reset();
                    }
                    pause = sleep(backoff.next());
                }
                Err(error) => self.failed(BusFault::of(&error), error),
            }
            pause.await;
        }
    }

    /// Serves one connection to its end. Returns whether Redis answered a ping on it.
    async fn listen(&self, connection: PubSub) -> bool {
        // Dropped together with this future, so that the registry never counts on a connection that
        // is gone.
        let _connected = Connected(&self.registry);
        let subscriber = Subscriber::new(
            &self.registry,
            &self.publisher,
            &self.commands,
            &self.probe,
            self.generation,
        );
        tracing::info!(generation = self.generation, "listening to Redis");
        // Without this, a bug that panics here would leave this process without messages for ever;
        // with it, it costs a reconnect.
        let ended = AssertUnwindSafe(subscriber.run(connection))
            .catch_unwind()
            .await;
        tracing::warn!(generation = self.generation, "no longer listening to Redis");
        match ended {
            Ok(Ended::Closed) => self.registry.fault(BusFault::Lost, None, &"closed"),
            Ok(Ended::Failed(error)) if is_refusal(&error) => {
                self.failed(BusFault::of(&error), error);
            }
            Ok(Ended::Failed(error)) => self.failed(BusFault::Lost, error),
            Ok(Ended::Silent) => self.registry.fault(BusFault::Silent, None, &"no pong"),
            Ok(Ended::Detached) => self.registry.fault(BusFault::Detached, None, &"no probe"),
            Err(_) => tracing::error!("the listener to Redis panicked"),
        }
        subscriber.was_healthy()
    }

    fn failed(&self, fault: BusFault, error: RedisError) {
        self.registry.fault(fault, None, &error);
        self.registry.set_away(cause(error));
    }
}

struct Connected<'a>(&'a ChannelRegistry);

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        self.0.disconnected();
    }
}
