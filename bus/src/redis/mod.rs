//! The bus over Redis pub/sub: one supervised connection that listens, and one that publishes.
//! Redis keeps nothing for an absent listener, so a lost connection is a gap, and is reported as
//! one.

mod backoff;
mod classify;
mod options;
mod publisher;
mod queue;
mod subscriber;
mod supervisor;

use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io, thread};

use bytes::Bytes;
use tokio::runtime;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use self::publisher::Publisher;
pub use self::queue::EmitQueue;
use self::queue::PendingEmits;
use self::supervisor::Supervisor;
use crate::BusError;
use crate::backend::{Backend, Bus, Publishing};
use crate::channel::is_reserved_prefix;
use crate::fault::Side;
use crate::registry::ChannelRegistry;

/// Redis as the bus of a server: every process on the same Redis receives what any of them, or any
/// other program, publishes.
///
/// The URL has the user, the password and the database, as in `redis://user:password@host:6379/0`.
/// `rediss://` is Redis over TLS and needs the feature `tls`. The host's name is resolved anew for
/// each connection.
///
/// ```no_run
/// # extern crate updraft_bus as updraft;
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use updraft::{EmitQueue, Redis};
///
/// let redis = Redis::connect("redis://127.0.0.1")
///     .await?
///     .prefix("shop.")?
///     .queue_emits(EmitQueue::default())
///     .probe(Duration::from_secs(2));
/// # Ok(())
/// # }
/// ```
pub struct Redis {
    publisher: Publisher,
}

impl Redis {
    /// Connects to Redis, for example at `redis://127.0.0.1`, and tests both connections of a bus:
    /// the one that publishes and the one that listens.
    ///
    /// # Errors
    ///
    /// The URL cannot be used, or Redis cannot be reached or refuses; the error says on which of
    /// the two connections. A missing right to a single channel shows only when the channel is
    /// used.
    pub async fn connect(url: &str) -> Result<Self, BusError> {
        let redis = Self::lazy(url)?;
        redis.publisher.check().await?;
        let checked = subscriber::check(&redis.publisher).await;
        checked.map_err(|error| redis.publisher.not_connected(Side::Listening, error))?;
        Ok(redis)
    }

    /// As [`connect`](Self::connect), without contacting Redis. A server can start before Redis;
    /// until then it behaves as if Redis had gone away.
    ///
    /// # Errors
    ///
    /// The URL cannot be used.
    pub fn lazy(url: &str) -> Result<Self, BusError> {
        Ok(Self {
            publisher: Publisher::new(url)?,
        })
    }

    /// Puts a prefix before every channel's name on Redis, for listening and publishing, including
    /// the server's own channels. Empty by default.
    ///
    /// # Errors
    ///
    /// The prefix has control characters, begins a [reserved](crate::Channel) name, or begins with
    /// one: then a client that may choose a channel could choose a reserved one.
    pub fn prefix(mut self, prefix: &str) -> Result<Self, BusError> {
        if is_reserved_prefix(prefix) || prefix.chars().any(char::is_control) {
            return Err(BusError::InvalidPrefix(prefix.into()));
        }
        self.publisher.options.prefix = Arc::from(prefix);
        Ok(self)
    }

    /// While Redis is away, keeps messages that could not be published and tries them again. By
    /// default `emit` fails at once.
    #[must_use]
    pub fn queue_emits(mut self, limits: EmitQueue) -> Self {
        self.publisher.options.queue = Some(Arc::new(PendingEmits::new(limits)));
        self
    }

    /// How long connecting may take, including name resolution, TLS and authentication; 1.5 s by
    /// default.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.publisher.options.connecting = timeout;
        self
    }

    /// How long Redis may take to accept a message; 2 s by default. After that the outcome is
    /// unknown.
    #[must_use]
    pub fn publish_timeout(mut self, timeout: Duration) -> Self {
        self.publisher.options.answering = timeout;
        self
    }

    /// Pings Redis each `interval` (2 s by default), and replaces a connection that stays silent
    /// for `timeout` (1 s by default) after that.
    #[must_use]
    pub fn heartbeat(mut self, interval: Duration, timeout: Duration) -> Self {
        self.publisher.options.ping_every = interval;
        self.publisher.options.ping_patience = timeout;
        self
    }

    /// If no message was received for an `interval` (5 s by default), publishes a message to this
    /// process itself. If that does not arrive within another `interval`, the connection is
    /// replaced: Redis answers on it, but no longer sends it messages.
    ///
    /// The message goes to a channel of this process's own, `updraft::probe::` and a UUID.
    #[must_use]
    pub fn probe(mut self, interval: Duration) -> Self {
        self.publisher.options.probe_every = interval;
        self
    }

    /// The time from one attempt to connect to the next. It doubles from `shortest` (50 ms by
    /// default) to `longest` (1 s by default). Half of each is random, so that processes that lost
    /// the same Redis do not reconnect at the same moment.
    #[must_use]
    pub fn reconnect_delay(mut self, shortest: Duration, longest: Duration) -> Self {
        self.publisher.options.shortest_wait = shortest;
        self.publisher.options.longest_wait = longest;
        self
    }

    /// How long after a refusal a channel is tried again, because rights can change while the
    /// server runs; 10 s by default.
    #[must_use]
    pub fn retry_refused(mut self, interval: Duration) -> Self {
        self.publisher.options.retry_refused = interval;
        self
    }

    /// Sleeps this long between two reads while messages come one by one. Several messages then
    /// share a read, and the writes that follow from it. Zero by default. Half a millisecond saves
    /// a third of the work for a stream of events to single clients, and delays each event by a
    /// quarter of a millisecond. The first message after a pause is never delayed.
    #[must_use]
    pub fn rest(mut self, rest: Duration) -> Self {
        self.publisher.options.rest = rest;
        self
    }

    pub(crate) fn into_publisher(self) -> Publisher {
        self.publisher
    }
}

impl From<Redis> for Bus {
    fn from(redis: Redis) -> Self {
        Self::new(redis)
    }
}

impl Backend for Redis {
    fn is_immediate(&self) -> bool {
        false
    }

    /// Listens on a thread of its own: a message is passed to the shards without waking another
    /// thread, and the `rest` between reads delays nothing else.
    fn start(
        &self,
        registry: &Arc<ChannelRegistry>,
        tasks: &TaskTracker,
        closed: &CancellationToken,
    ) -> io::Result<()> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (publisher, registry) = (self.publisher.clone(), Arc::clone(registry));
        let supervisor = Supervisor::new(publisher, registry, runtime::Handle::current());
        // As a task: a future that the runtime blocks on is polled only after another look at the
        // sockets.
        let listening = runtime.spawn(closed.clone().run_until_cancelled_owned(supervisor.run()));
        let token = tasks.token();
        thread::Builder::new().name("redis".into()).spawn(move || {
            if let Err(error) = runtime.block_on(listening) {
                tracing::error!(%error, "the listener to Redis has ended");
            }
            drop(token);
        })?;
        Ok(())
    }

    fn publish<'a>(
        &'a self,
        registry: &'a ChannelRegistry,
        channel: &'a str,
        payload: Bytes,
    ) -> Publishing<'a> {
        Box::pin(async move {
            let outcome = self.publisher.publish(channel, &payload).await;
            if let Err(error) = &outcome
                && let (Some(fault), Some(cause)) = (error.fault(), error.cause())
            {
                registry.fault(fault, Some(channel), cause);
            }
            outcome
        })
    }
}

impl fmt::Debug for Redis {
    // The client's own `Debug` would show the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("publisher", &self.publisher)
            .finish()
    }
}
