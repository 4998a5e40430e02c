//! One listening connection: reads what comes, makes its subscriptions agree with what is wanted, sees that it lives.
//! The three run side by side in one task, and the first to fail ends the connection.

use std::collections::{HashSet, VecDeque};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use redis::aio::{PubSub, PubSubSink, PubSubStream};
use redis::{ErrorKind, Msg, RedisError, Value};
use tokio::time::{sleep, timeout};

use crate::bus::{BusError, Registry};

/// How many channels are named in one command.
const NAMES: usize = 500;
/// What one batch may hold: enough to share the work, not so much that the first message waits for the last.
const BATCH_MESSAGES: usize = 512;
const BATCH_BYTES: usize = 1024 * 1024;
/// How often a sign of life is asked for, and how long it may take.
const PING_EVERY: Duration = Duration::from_secs(2);
const PING_PATIENCE: Duration = Duration::from_secs(1);

/// When a channel that Redis refused is tried again: its rights can be changed while we run.
const REFUSED_FOR: Duration = Duration::from_secs(10);

/// Why a connection ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// Redis, or something on the way, closed it.
    Closed,
    /// A command failed.
    Failed(#[expect(dead_code, reason = "read by Debug, in the log")] RedisError),
    /// No answer to a ping, and nothing else either.
    Silent,
    /// A defect of ours.
    Panicked,
}

pub(super) struct Listener<'a> {
    registry: &'a Registry,
    generation: u64,
    /// Messages read so far: a sign of life when an answer to a ping is late.
    received: AtomicU64,
    was_well: AtomicBool,
}

impl<'a> Listener<'a> {
    pub(super) fn new(registry: &'a Registry, generation: u64) -> Self {
        Self {
            registry,
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
            ended = self.read(stream) => ended,
            ended = self.follow(sink.clone()) => ended,
            ended = self.watch(sink) => ended,
        }
    }

    /// Hands on what comes; all that is there at once is one batch.
    async fn read(&self, mut stream: PubSubStream) -> Ended {
        let mut read: Vec<Msg> = Vec::new();
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
            self.registry.deliver(read.iter().map(|message| {
                (
                    message.get_channel_name(),
                    Bytes::copy_from_slice(message.get_payload_bytes()),
                )
            }));
            read.clear();
        }
        Ended::Closed
    }

    /// Subscribes and unsubscribes until the connection agrees with the registry, and again at each change.
    async fn follow(&self, mut sink: PubSubSink) -> Ended {
        let mut agreement = Agreement::default();
        let mut restore = VecDeque::from(self.registry.connected(self.generation));
        let mut is_restored = false;
        loop {
            if restore.is_empty() && !is_restored {
                is_restored = true;
                self.registry.tell_gap(self.generation);
            }
            // What has just been asked for goes before what is only to be restored: nobody waits for 50,000 others.
            let mut names = self.registry.take_changes();
            let room = NAMES.saturating_sub(names.len()).max(1);
            names.extend(restore.drain(..restore.len().min(room)));
            if !names.is_empty() {
                if let Err(error) = agreement.reach(self.registry, &mut sink, names).await {
                    return Ended::Failed(error);
                }
            } else if agreement.refused.is_empty() {
                self.registry.changed().await;
            } else if timeout(REFUSED_FOR, self.registry.changed()).await.is_err() {
                restore.extend(agreement.refused.drain());
                is_restored = false;
            }
        }
    }

    /// Asks for a sign of life every now and then, and ends when there is none.
    async fn watch(&self, mut sink: PubSubSink) -> Ended {
        loop {
            let mut pong = pin!(sink.ping::<Value>());
            let mut received = self.received.load(Ordering::Relaxed);
            loop {
                match timeout(PING_PATIENCE, &mut pong).await {
                    Ok(Ok(_)) => break,
                    Ok(Err(error)) if is_refusal(&error) => break,
                    Ok(Err(error)) => return Ended::Failed(error),
                    // The answer queues behind messages: as long as those come, the connection lives.
                    Err(_) => match self.received.load(Ordering::Relaxed) {
                        now if now == received => return Ended::Silent,
                        now => received = now,
                    },
                }
            }
            self.was_well.store(true, Ordering::Relaxed);
            sleep(PING_EVERY).await;
        }
    }
}

/// What this connection is subscribed to.
#[derive(Default)]
struct Agreement {
    /// Filled and emptied by `reach`, as Redis confirms; bounded by the channels that are wanted, and those just left.
    subscribed: HashSet<Arc<str>>,
    /// Filled when Redis refuses a channel, emptied when it is tried again or no longer wanted; bounded by the channels
    /// that are wanted.
    refused: HashSet<Arc<str>>,
}

impl Agreement {
    /// Makes the subscriptions agree with the registry for these names.
    async fn reach(
        &mut self,
        registry: &Registry,
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
            match sink.unsubscribe(arguments(names)).await {
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

    /// Subscribes to all of these that Redis allows. It refuses a command as a whole for one name in it, so then the
    /// halves are tried.
    async fn subscribe(
        &mut self,
        registry: &Registry,
        sink: &mut PubSubSink,
        names: &[Arc<str>],
    ) -> Result<(), RedisError> {
        let mut parts = vec![names];
        while let Some(names) = parts.pop() {
            match sink.subscribe(arguments(names)).await {
                Ok(()) => {
                    for name in names {
                        self.refused.remove(name);
                        self.subscribed.insert(Arc::clone(name));
                        registry.confirm(name);
                    }
                }
                Err(error) if !is_refusal(&error) => return Err(error),
                Err(error) => match names {
                    [name] => {
                        tracing::error!(channel = ?name, %error, "Redis refused a channel");
                        self.refused.insert(Arc::clone(name));
                        registry.refuse(name, BusError::Refused(Arc::new(error)));
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
}

fn arguments(names: &[Arc<str>]) -> Vec<&str> {
    names.iter().map(AsRef::as_ref).collect()
}

/// Whether Redis answered, with an error: the connection is as good as before.
pub(super) fn is_refusal(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension)
}
