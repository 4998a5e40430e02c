//! The bus over Redis pub/sub: one connection that listens, under a supervisor, and one that
//! publishes. Redis keeps nothing for a listener that is away, so a lost connection is a gap, and
//! is told.

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

/// Redis as the bus of a server: every process on the same Redis hears what any of them, or anybody
/// else, publishes.
///
/// The URL has user, password and database, as in `redis://user:password@host:6379/0`; `rediss://`
/// is Redis over TLS, for which the feature `tls` must be on. The host's name is resolved anew for
/// each connection.
///
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use updraft_bus::{EmitQueue, Redis};
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
    /// Connects to Redis, for example at `redis://127.0.0.1`, and tries out both connections of a
    /// bus: the one that publishes and the one that listens.
    ///
    /// # Errors
    ///
    /// When the URL is of no use, or Redis cannot be reached or refuses; the error says on which
    /// side. A right that is missing for single channels shows when they are used.
    pub async fn connect(url: &str) -> Result<Self, BusError> {
        let redis = Self::lazy(url)?;
        redis.publisher.check().await?;
        let checked = subscriber::check(&redis.publisher).await;
        checked.map_err(|error| redis.publisher.not_connected(Side::Listening, error))?;
        Ok(redis)
    }

    /// As [`connect`](Self::connect), but without asking whether Redis is there: a server can start
    /// before it, and is as if Redis had gone away.
    ///
    /// # Errors
    ///
    /// When the URL is of no use.
    pub fn lazy(url: &str) -> Result<Self, BusError> {
        Ok(Self {
            publisher: Publisher::new(url)?,
        })
    }

    /// Puts this before every channel's name on Redis, for listening and publishing, the server's
    /// own channels included; empty by default.
    ///
    /// # Errors
    ///
    /// The prefix has control characters, or is the beginning of a [reserved](crate::Channel) name
    /// or begins as one: then a client that may choose a channel could choose one of those.
    pub fn prefix(mut self, prefix: &str) -> Result<Self, BusError> {
        if is_reserved_prefix(prefix) || prefix.chars().any(char::is_control) {
            return Err(BusError::InvalidPrefix(prefix.into()));
        }
        self.publisher.options.prefix = Arc::from(prefix);
        Ok(self)
    }

    /// Keeps what could not be published while Redis is away and tries it again; by default `emit`
    /// fails at once.
    #[must_use]
    pub fn queue_emits(mut self, limits: EmitQueue) -> Self {
        self.publisher.options.queue = Some(Arc::new(PendingEmits::new(limits)));
        self
    }

    /// How long connecting may take, with name resolution, TLS and authentication; 1.5 s by
    /// default.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.publisher.options.connecting = timeout;
        self
    }

    /// How long Redis may take to take a message; 2 s by default. After that its outcome is
    /// unknown.
    #[must_use]
    pub fn publish_timeout(mut self, timeout: Duration) -> Self {
        self.publisher.options.answering = timeout;
        self
    }

    /// Pings Redis each `interval` (2 s by default) and gives a connection up that is silent for
    /// `timeout` (1 s) then.
    #[must_use]
    pub fn heartbeat(mut self, interval: Duration, timeout: Duration) -> Self {
        self.publisher.options.ping_every = interval;
        self.publisher.options.ping_patience = timeout;
        self
    }

    /// Publishes a message to ourselves when no message was heard for an `interval` (5 s by
    /// default), and gives the connection up when another has passed without it: Redis answers
    /// there, but no longer gets the traffic.
    ///
    /// The message goes to a channel of this process's own, `updraft::probe::` and a UUID.
    #[must_use]
    pub fn probe(mut self, interval: Duration) -> Self {
        self.publisher.options.probe_every = interval;
        self
    }

    /// The time from one attempt to connect to the next, which doubles from `shortest` (50 ms by
    /// default) to `longest` (1 s). Half of each is chance, so that processes that lost the same
    /// Redis do not come back in step.
    #[must_use]
    pub fn reconnect_delay(mut self, shortest: Duration, longest: Duration) -> Self {
        self.publisher.options.shortest_wait = shortest;
        self.publisher.options.longest_wait = longest;
        self
    }

    /// How long after Redis has refused a channel it is tried again, for its rights can be changed
    /// while we run; 10 s by default.
    #[must_use]
    pub fn retry_refused(mut self, interval: Duration) -> Self {
        self.publisher.options.retry_refused = interval;
        self
    }

    /// Rests so long between two reads while messages come one by one: they then share a read, and
    /// the writes that follow from it. None by default; half a millisecond saves a third of the
    /// work of a stream of events for single clients, and delays each by a quarter of a
    /// millisecond. The first message after a pause is never delayed.
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

    /// Listens on a thread of its own: what comes is on its way to the shards without waking
    /// anybody else, and nothing else is delayed while it rests.
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
        // As a task: what the runtime blocks on itself is polled only after another look at the
        // sockets.
        let listening = runtime.spawn(closed.clone().run_until_cancelled_owned(supervisor.run()));
        let token = tasks.token();
        thread::Builder::new().name("redis".into()).spawn(move || {
            if let Err(error) = runtime.block_on(listening) {
                tracing::error!(%error, "The bus has ended.");
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
    // The client's own would show the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("publisher", &self.publisher)
            .finish()
    }
}
