//! One listening connection: reads what comes, makes its subscriptions agree with what is wanted,
//! sees that it lives. They run side by side in one task, and the first to fail ends the
//! connection.

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

/// How many channels are named in one command.
const NAMES: usize = 500;
/// What one batch may hold: enough to share the work, not so much that the first message waits for
/// the last.
const BATCH_MESSAGES: usize = 512;
const BATCH_BYTES: usize = 1024 * 1024;
/// Messages within so short a time of each other are a stream, and so few in one read a trickle:
/// then a rest pays.
const STREAM: Duration = Duration::from_millis(2);
const TRICKLE: usize = 16;

/// Why a connection ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// Redis, or something on the way, closed it.
    Closed,
    /// A command failed, or Redis as a whole refuses.
    Failed(RedisError),
    /// No answer to a ping, and nothing else either.
    Silent,
    /// Pings are answered, but what we published to ourselves did not arrive.
    Detached,
}

pub(super) struct Subscriber<'a> {
    registry: &'a ChannelRegistry,
    publisher: &'a Publisher,
    /// Where the connection that publishes lives.
    commands: &'a Handle,
    options: &'a RedisOptions,
    /// The channel of this process's own, as Redis knows it.
    probe: &'a str,
    generation: u64,
    /// Messages read so far: a sign of life when an answer to a ping is late.
    received: AtomicU64,
    was_well: AtomicBool,
}

/// A connection to listen on. Redis has answered on it: one that would have to log in is let in by
/// Redis, and told only when it asks for something.
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

/// Whether Redis would let us listen: connects, and subscribes to a channel of ours.
pub(super) async fn check(publisher: &Publisher) -> Result<(), RedisError> {
    let mut connection = connect(publisher).await?;
    let subscribing = connection.subscribe(format!("updraft::probe::{}", Uuid::new_v4()));
    let subscribed = timeout(publisher.options.answering, subscribing).await;
    match subscribed.unwrap_or_else(|_| Err(timed_out())) {
        // Of this one channel only: the prefix that others may have is not known yet.
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
            was_well: AtomicBool::new(false),
        }
    }

    /// Whether Redis answered a ping on this connection: then the next attempt need not wait long.
    pub(super) fn was_well(&self) -> bool {
        self.was_well.load(Ordering::Relaxed)
    }

    pub(super) async fn run(&self, connection: PubSub) -> Ended {
        let (sink, stream) = connection.split();
        tokio::select! {
            // Confirmations come before the messages that follow them: so a gap is mostly told for
            // all channels at once.
            biased;
            ended = self.follow(sink.clone()) => ended,
            ended = unconstrained(self.read(stream)) => ended,
            ended = self.watch(sink.clone()) => ended,
            ended = self.probe(sink) => ended,
        }
    }

    /// Hands on what comes; all that is there at once is one batch.
    ///
    /// The crate's queue between socket and stream has no bound of its own. Its one other end runs
    /// on this thread and reads little more than a MiB in a turn, before it has to let others run.
    /// So the queue is never longer than that, if it is emptied in each of our turns: this future
    /// must not be made to yield with messages left.
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
                    // Of the thread, which is ours: a socket that is not waited for wakes nobody.
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
        let mut agreement = Agreement::new(self.options);
        let mut restore = VecDeque::from(self.registry.connected(self.generation));
        let mut is_restored = false;
        // When channels that Redis refused are tried again: their rights can be changed while we
        // run. What others join and leave meanwhile does not put it off.
        let mut retry = None;
        loop {
            let now = clock::now();
            if retry.is_some_and(|at| at <= now) {
                restore.extend(agreement.refused.drain());
                is_restored = false;
            }
            if agreement.refused.is_empty() {
                retry = None;
            } else if retry.is_none() {
                retry = now.checked_add(self.options.retry_refused);
            }
            if restore.is_empty() && !is_restored {
                is_restored = true;
                self.registry.restored();
            }
            // What has just been asked for goes before what is only to be restored: nobody waits
            // for 50,000 others.
            let mut names = self.registry.take_changes();
            let room = NAMES.saturating_sub(names.len()).max(1);
            names.extend(restore.drain(..restore.len().min(room)));
            if !names.is_empty() {
                if let Err(error) = agreement.reach(self.registry, &mut sink, names).await {
                    return Ended::Failed(error);
                }
            } else if let Some(at) = retry {
                let patience = at.saturating_duration_since(now);
                // Either way there is something to look at.
                let _is_late = timeout(patience, self.registry.changed()).await;
            } else {
                self.registry.changed().await;
            }
        }
    }

    /// Asks for a sign of life every now and then, and ends when there is none.
    async fn watch(&self, mut sink: PubSubSink) -> Ended {
        loop {
            let mut pong = pin!(sink.ping::<Value>());
            let mut received = self.received.load(Ordering::Relaxed);
            loop {
                let answer = timeout(self.options.ping_patience, &mut pong).await;
                match answer.map(|answer| answer.and_then(refused)) {
                    Ok(Ok(_)) => break self.is_well(),
                    Ok(Err(error)) if is_tolerable(&error) => {
                        self.registry.fault(BusFault::of(&error), None, &error);
                        break self.is_well();
                    }
                    Ok(Err(error)) => return Ended::Failed(error),
                    // The answer queues behind messages: as long as those come, the connection
                    // lives.
                    Err(_) => match self.received.load(Ordering::Relaxed) {
                        now if now == received => return Ended::Silent,
                        now => received = now,
                    },
                }
            }
            sleep(self.options.ping_every).await;
        }
    }

    /// Redis answers.
    fn is_well(&self) {
        self.was_well.store(true, Ordering::Relaxed);
        self.registry.is_well();
    }

    /// Sends a message to ourselves when nothing was heard for a while, and ends when it does not
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
            // Where it cannot be published, nothing is known of this connection.
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

/// The crate takes an error that answers a ping for an answer like any other.
fn refused(answer: Value) -> Result<Value, RedisError> {
    match answer {
        Value::ServerError(error) => Err(error.into()),
        pong => Ok(pong),
    }
}

/// An answer after which the connection is as useful as before: pings are refused where a user may
/// do little, and while Redis loads its data, when it takes subscriptions all the same.
fn is_tolerable(error: &RedisError) -> bool {
    let fault = BusFault::of(error);
    is_refusal(error) && (fault.is_particular() || fault == BusFault::Loading)
}

/// Whether Redis denies this user to subscribe at all. It has one code for this and for a channel;
/// only the text differs.
fn denies_command(error: &RedisError) -> bool {
    let text = error.detail().unwrap_or_default();
    BusFault::of(error) == BusFault::Denied && text.contains("'subscribe' command")
}

/// What this connection is subscribed to.
struct Agreement<'a> {
    options: &'a RedisOptions,
    /// Filled and emptied by `reach`, as Redis confirms; bounded by the channels that are wanted,
    /// and those just left.
    subscribed: HashSet<Arc<str>>,
    /// Filled when Redis refuses a channel, emptied when it is tried again or no longer wanted;
    /// bounded by the channels that are wanted.
    refused: HashSet<Arc<str>>,
}

impl<'a> Agreement<'a> {
    fn new(options: &'a RedisOptions) -> Self {
        Self {
            options,
            subscribed: HashSet::new(),
            refused: HashSet::new(),
        }
    }

    /// Makes the subscriptions agree with the registry for these names.
    async fn reach(
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
                // Messages that still come are dropped, since nobody wants them.
                Err(error) => tracing::error!(%error, "Redis refused to unsubscribe"),
                Ok(()) => {}
            }
            for name in names {
                self.subscribed.remove(name);
            }
        }
        Ok(())
    }

    /// Subscribes to all of these that Redis allows. It refuses a command as a whole for one name
    /// in it, so then the halves are tried.
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
                // A new connection is needed, or is as good as waiting.
                Err(error) if !BusFault::of(&error).is_particular() => return Err(error),
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
