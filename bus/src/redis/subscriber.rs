//! One listening connection: reads messages, brings its subscriptions in line with the wanted
//! channels, and checks that the connection is alive. These run concurrently in one task, and the
//! first to fail ends the connection.

use std::borrow::Cow;
use std::collections::{HashSet, VecDeque};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use redis::aio::{PubSub, PubSubSink, PubSubStream};
use redis::{Msg, RedisError, Value};
use tokio::runtime::Handle;
use tokio::task::unconstrained;
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::classify::{cause, is_refusal};
use super::options::RedisOptions;
use super::publisher::{Publisher, timed_out};
use crate::clock;
use crate::registry::ChannelRegistry;
use crate::{BusError, BusFault};

/// How many channels one command names.
const NAMES: usize = 500;
/// The limit of one batch: large enough to share the work, small enough that the first message does
/// not wait long for the last.
const BATCH_MESSAGES: usize = 512;
const BATCH_BYTES: usize = 1024 * 1024;
/// Messages that follow each other within this time are a stream, and fewer messages than this in
/// one read are a trickle: then a rest is worthwhile.
const STREAM: Duration = Duration::from_millis(2);
const TRICKLE: usize = 16;

/// Why a connection ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// Redis, or something between us and Redis, closed it.
    Closed,
    /// A command failed, or Redis as a whole refuses.
    Failed(RedisError),
    /// Neither a ping was answered, nor did any message come.
    Silent,
    /// Pings are answered, but our own probe did not arrive.
    Detached,
}

pub(super) struct Subscriber<'a> {
    registry: &'a ChannelRegistry,
    publisher: &'a Publisher,
    /// The runtime of the connection that publishes.
    commands: &'a Handle,
    options: &'a RedisOptions,
    /// This process's own probe channel, by its name on Redis.
    probe: &'a str,
    generation: u64,
    /// How many messages have been read: they show that the connection is alive when a pong is
    /// late.
    received: AtomicU64,
    was_healthy: AtomicBool,
}

/// Opens a connection to listen on. Redis has answered on it: without a required login Redis still
/// accepts the connection, and refuses only the first command.
pub(super) async fn connect(publisher: &Publisher) -> Result<PubSub, RedisError> {
    let connecting = async {
        let mut connection = publisher.client().get_async_pubsub().await?;
        match connection.ping().await.and_then(refused) {
            Err(error) if !is_tolerable(&error) => Err(error),
            _ => Ok(connection),
        }
    };
    let connected = timeout(publisher.options.connecting, connecting).await;
    connected.unwrap_or_else(|_| Err(timed_out()))
}

/// Checks whether Redis lets us listen: connects, and subscribes to a channel of our own.
pub(super) async fn check(publisher: &Publisher) -> Result<(), RedisError> {
    let mut connection = connect(publisher).await?;
    let subscribing = connection.subscribe(format!("updraft::probe::{}", Uuid::new_v4()));
    let subscribed = timeout(publisher.options.answering, subscribing).await;
    match subscribed.unwrap_or_else(|_| Err(timed_out())) {
        // Redis may refuse only this one channel: the prefix to which the user has rights is not
        // known yet.
        Err(error) if is_tolerable(&error) && !denies_command(&error) => Ok(()),
        subscribed => subscribed,
    }
}

impl<'a> Subscriber<'a> {
    pub(super) fn new(
        registry: &'a ChannelRegistry,
        publisher: &'a Publisher,
        commands: &'a Handle,
        probe: &'a str,
        generation: u64,
    ) -> Self {
        Self {
            registry,
            publisher,
            commands,
            options: &publisher.options,
            probe,
            generation,
            received: AtomicU64::new(0),
            was_healthy: AtomicBool::new(false),
        }
    }

    /// Whether Redis answered a ping on this connection: then the next attempt need not wait long.
    pub(super) fn was_healthy(&self) -> bool {
        self.was_healthy.load(Ordering::Relaxed)
    }

    pub(super) async fn run(&self, connection: PubSub) -> Ended {
        let (sink, stream) = connection.split();
        tokio::select! {
            // Confirmations come before the messages that follow them. With this order a gap is
            // mostly reported for all channels at once.
            biased;
            ended = self.follow(sink.clone()) => ended,
            ended = unconstrained(self.read(stream)) => ended,
            ended = self.watch(sink.clone()) => ended,
            ended = self.probe(sink) => ended,
        }
    }

    /// Passes messages on; all messages that are ready at once are one batch.
    ///
    /// The crate's queue between socket and stream has no bound of its own. The crate's task fills
    /// it on this thread, and reads little more than 1 MiB before it must yield. So the queue never
    /// grows beyond that, if each of our turns empties it: this future must not be made to yield
    /// with messages left.
    async fn read(&self, mut stream: PubSubStream) -> Ended {
        let mut read: Vec<Msg> = Vec::new();
        let mut latest = None;
        while let Some(first) = stream.next().await {
            let mut bytes = first.get_payload_bytes().len();
            read.push(first);
            while read.len() < BATCH_MESSAGES && bytes < BATCH_BYTES {
                let Some(Some(message)) = stream.next().now_or_never() else {
                    break;
                };
                bytes = bytes.saturating_add(message.get_payload_bytes().len());
                read.push(message);
            }
            self.received
                .fetch_add(read.len() as u64, Ordering::Relaxed);
            self.registry.deliver(read.iter().filter_map(|message| {
                let channel = message.get_channel_name();
                let channel = channel.strip_prefix(&*self.options.prefix)?;
                Some((channel, Bytes::copy_from_slice(message.get_payload_bytes())))
            }));
            let is_trickle = read.len() < TRICKLE;
            read.clear();
            if is_trickle && !self.options.rest.is_zero() {
                let now = clock::now();
                if latest.is_some_and(|latest| now.duration_since(latest) < STREAM) {
                    // This blocks the thread, which is ours: nothing is woken while no socket is
                    // awaited.
                    thread::sleep(self.options.rest);
                }
                latest = Some(now);
            }
        }
        Ended::Closed
    }

    /// Subscribes and unsubscribes until the connection agrees with the registry, and again at each
    /// change.
    async fn follow(&self, mut sink: PubSubSink) -> Ended {
        let mut subscriptions = RedisSubscriptions::new(self.options);
        let mut restore = VecDeque::from(self.registry.connected(self.generation));
        let mut is_restored = false;
        // When refused channels are tried again: rights can change while the server runs. Channels
        // that are joined and left meanwhile do not delay it.
        let mut retry = None;
        loop {
            let now = clock::now();
            if retry.is_some_and(|at| at <= now) {
                restore.extend(subscriptions.refused.drain());
                is_restored = false;
            }
            if subscriptions.refused.is_empty() {
                retry = None;
            } else if retry.is_none() {
                retry = now.checked_add(self.options.retry_refused);
            }
            if restore.is_empty() && !is_restored {
                is_restored = true;
                self.registry.restored();
            }
            // New requests go before channels that are only restored, so that nobody waits for
            // 50,000 other channels.
            let mut names = self.registry.take_changes();
            let room = NAMES.saturating_sub(names.len()).max(1);
            names.extend(restore.drain(..restore.len().min(room)));
            if !names.is_empty() {
                if let Err(error) = subscriptions.apply(self.registry, &mut sink, names).await {
                    return Ended::Failed(error);
                }
            } else if let Some(at) = retry {
                let patience = at.saturating_duration_since(now);
                // After a timeout and after a change there is work to do.
                let _is_late = timeout(patience, self.registry.changed()).await;
            } else {
                self.registry.changed().await;
            }
        }
    }

    /// Pings Redis at each interval, and returns when a pong is missing.
    async fn watch(&self, mut sink: PubSubSink) -> Ended {
        loop {
            let mut pong = pin!(sink.ping::<Value>());
            let mut received = self.received.load(Ordering::Relaxed);
            loop {
                let answer = timeout(self.options.ping_patience, &mut pong).await;
                match answer.map(|answer| answer.and_then(refused)) {
                    Ok(Ok(_)) => break self.mark_healthy(),
                    Ok(Err(error)) if is_tolerable(&error) => {
                        self.registry.fault(BusFault::of(&error), None, &error);
                        break self.mark_healthy();
                    }
                    Ok(Err(error)) => return Ended::Failed(error),
                    // The answer queues behind messages: while those come, the connection is alive.
                    Err(_) => match self.received.load(Ordering::Relaxed) {
                        now if now == received => return Ended::Silent,
                        now => received = now,
                    },
                }
            }
            sleep(self.options.ping_every).await;
        }
    }

    /// Redis has answered.
    fn mark_healthy(&self) {
        self.was_healthy.store(true, Ordering::Relaxed);
        self.registry.mark_healthy();
    }

    /// Publishes a message to this process when none came for a while, and returns if it does not
    /// arrive.
    async fn probe(&self, mut sink: PubSubSink) -> Ended {
        let mut is_subscribed = false;
        loop {
            let received = self.received.load(Ordering::Relaxed);
            let is_silent = || self.received.load(Ordering::Relaxed) == received;
            sleep(self.options.probe_every).await;
            if !is_silent() {
                continue;
            }
            if !is_subscribed {
                match sink.subscribe(self.probe).await {
                    Ok(()) => is_subscribed = true,
                    Err(error) if is_refusal(&error) => {
                        self.registry
                            .fault(BusFault::of(&error), Some(self.probe), &error);
                        continue;
                    }
                    Err(error) => return Ended::Failed(error),
                }
            }
            let mut publish = redis::cmd("PUBLISH");
            publish.arg(self.probe).arg("1");
            // If the probe cannot be published, it proves nothing about this connection.
            let publisher = self.publisher.clone();
            let published = async move { publisher.query::<Value>(&publish).await.map(drop) };
            let published = AbortOnDropHandle::new(self.commands.spawn(published)).await;
            if let Ok(Err(error)) = published {
                tracing::debug!(%error, "no probe could be published");
                continue;
            }
            sleep(self.options.probe_every).await;
            if is_silent() {
                return Ended::Detached;
            }
        }
    }
}

/// The crate treats an error that answers a ping like any other answer.
fn refused(answer: Value) -> Result<Value, RedisError> {
    match answer {
        Value::ServerError(error) => Err(error.into()),
        pong => Ok(pong),
    }
}

/// Whether the connection is as useful as before after this error. A ping is refused to a user with
/// few rights, and while Redis loads its data; it accepts subscriptions all the same.
fn is_tolerable(error: &RedisError) -> bool {
    let fault = BusFault::of(error);
    is_refusal(error) && (fault.concerns_one_request() || fault == BusFault::Loading)
}

/// Whether Redis denies this user the command `SUBSCRIBE`. The error code is the same as for a
/// denied channel; only the text differs.
fn denies_command(error: &RedisError) -> bool {
    let text = error.detail().unwrap_or_default();
    BusFault::of(error) == BusFault::Denied && text.contains("'subscribe' command")
}

/// The subscriptions of this connection.
struct RedisSubscriptions<'a> {
    options: &'a RedisOptions,
    /// Filled and emptied by `apply`, as Redis confirms; bounded by the channels that are wanted,
    /// and those just left.
    subscribed: HashSet<Arc<str>>,
    /// Filled when Redis refuses a channel, emptied when the channel is tried again or no longer
    /// wanted; bounded by the wanted channels.
    refused: HashSet<Arc<str>>,
}

impl<'a> RedisSubscriptions<'a> {
    fn new(options: &'a RedisOptions) -> Self {
        Self {
            options,
            subscribed: HashSet::new(),
            refused: HashSet::new(),
        }
    }

    /// Brings the subscriptions to these channels in line with the registry.
    async fn apply(
        &mut self,
        registry: &ChannelRegistry,
        sink: &mut PubSubSink,
        names: HashSet<Arc<str>>,
    ) -> Result<(), RedisError> {
        let mut missing = Vec::new();
        let mut superfluous = Vec::new();
        for name in names {
            match (registry.is_wanted(&name), self.subscribed.contains(&name)) {
                (true, true) => registry.confirm(&name),
                (true, false) => missing.push(name),
                (false, true) => superfluous.push(name),
                (false, false) => drop(self.refused.remove(&name)),
            }
        }
        for names in missing.chunks(NAMES) {
            self.subscribe(registry, sink, names).await?;
        }
        for names in superfluous.chunks(NAMES) {
            match sink.unsubscribe(self.arguments(names)).await {
                Err(error) if !is_refusal(&error) => return Err(error),
                // Messages that still come are dropped, because nobody follows the channel.
                Err(error) => tracing::error!(%error, "Redis refused to unsubscribe"),
                Ok(()) => {}
            }
            for name in names {
                self.subscribed.remove(name);
            }
        }
        Ok(())
    }

    /// Subscribes to as many of these channels as Redis allows. Redis refuses a whole command
    /// because of one name, so then each half is tried.
    async fn subscribe(
        &mut self,
        registry: &ChannelRegistry,
        sink: &mut PubSubSink,
        names: &[Arc<str>],
    ) -> Result<(), RedisError> {
        let mut parts = vec![names];
        while let Some(names) = parts.pop() {
            match sink.subscribe(self.arguments(names)).await {
                Ok(()) => {
                    for name in names {
                        self.refused.remove(name);
                        self.subscribed.insert(Arc::clone(name));
                        registry.confirm(name);
                    }
                }
                // A new connection is needed, or would at least do no harm.
                Err(error) if !BusFault::of(&error).concerns_one_request() => return Err(error),
                Err(error) => match names {
                    [name] => {
                        registry.fault(BusFault::of(&error), Some(name), &error);
                        self.refused.insert(Arc::clone(name));
                        registry.refuse(name, BusError::Refused(cause(error)));
                    }
                    _ => {
                        let (first, second) = names.split_at(names.len() / 2);
                        parts.extend([second, first]);
                    }
                },
            }
        }
        Ok(())
    }

    fn arguments<'n>(&self, names: &'n [Arc<str>]) -> Vec<Cow<'n, str>> {
        let names = names.iter().map(AsRef::as_ref);
        names.map(|name| self.options.with_prefix(name)).collect()
    }
}
