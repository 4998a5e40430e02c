//! How everything outside a shard talks to it: one inbox per shard, filled by anybody, emptied by the shard alone.
//!
//! Order is kept: what one handler sends arrives as it was sent. Nothing waits: what a session may have in its shard's
//! inbox is bounded in bytes, and so is what the bus may have there.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use updraft_protocol::ejson::{Object, Text, Value};
use updraft_protocol::message::WireError;
use updraft_protocol::session::Run;

use crate::bus::{Batch, BusError, Gap, Lease, Message, Port};
use crate::publication::{Event, Mapper, OnGap};
use crate::shard::Arrival;

/// A connection's place in its shard. Places are used again, so it carries a number that is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) index: usize,
    pub(crate) generation: u64,
}

/// What a shard can be sent.
pub(crate) enum Letter {
    /// A socket whose handshake is done.
    Arrival(Box<Arrival>),
    /// From a handler to its session.
    Mail {
        to: Place,
        address: Arc<Address>,
        mail: Mail,
    },
    /// From the bus.
    Batch(Batch),
    /// From the bus: messages of these channels may be missing.
    Gap(Gap),
    /// From the bus: it no longer carries this channel.
    Refused(Arc<str>, BusError),
    /// Close every connection, and every one that still arrives.
    ShutDown,
    /// Drop every connection and end.
    Stop,
}

/// What a handler can tell its session.
pub(crate) enum Mail {
    Published(Run, Result<(), WireError>),
    Returned(Run, Result<Value, WireError>),
    Unblock(Run),
    HoldReady(Run),
    Ready(Run),
    Added(Run, Box<Document>),
    Changed(Run, Box<Document>),
    Removed(Run, Box<(String, String)>),
    Stop(Run, Option<Box<WireError>>),
    /// Call this mapper for each message of these channels.
    On {
        run: Run,
        leases: Vec<Lease>,
        mapper: Mapper,
    },
    OnGap(Run, OnGap),
    /// What an asynchronous mapping function made of a message.
    Event {
        run: Run,
        message: Arc<Message>,
        event: Event,
    },
    BeginWrite(Run),
    EndWrite(Run),
    Close,
    /// The session has more in the inbox than it may.
    Overflow,
}

/// A document as a handler publishes it, its id as on the wire.
pub(crate) struct Document {
    pub(crate) collection: String,
    pub(crate) id: String,
    pub(crate) fields: Object,
}

/// Where the handlers of one connection send their mail.
pub(crate) struct Address {
    inbox: Arc<Inbox>,
    shard: usize,
    place: Place,
    /// Bytes of mail in the inbox. Grows as handlers send, shrinks as the shard reads, bounded by `limit`.
    queued: AtomicUsize,
    limit: usize,
    /// Set once over the limit: what follows is dropped, the connection is being closed.
    overflowed: AtomicBool,
}

impl Address {
    pub(crate) fn new(inbox: Arc<Inbox>, shard: usize, place: Place, limit: usize) -> Self {
        let (queued, overflowed) = (AtomicUsize::new(0), AtomicBool::new(false));
        Self {
            inbox,
            shard,
            place,
            queued,
            limit,
            overflowed,
        }
    }

    /// The number of the shard that owns the connection.
    pub(crate) fn shard(&self) -> usize {
        self.shard
    }

    /// Sends without waiting. Mail to a session that is gone, or is being closed for too much mail, is dropped.
    pub(crate) fn send(self: &Arc<Self>, mail: Mail) {
        let size = mail.size();
        let queued = self
            .queued
            .fetch_add(size, Ordering::Relaxed)
            .saturating_add(size);
        let mail = if queued <= self.limit || mail.is_owed() {
            mail
        } else {
            self.queued.fetch_sub(size, Ordering::Relaxed);
            if self.overflowed.swap(true, Ordering::Relaxed) {
                return;
            }
            Mail::Overflow
        };
        self.inbox.put(Letter::Mail {
            to: self.place,
            address: self.clone(),
            mail,
        });
    }

    /// The shard has read this mail.
    pub(crate) fn received(&self, mail: &Mail) {
        self.queued.fetch_sub(mail.size(), Ordering::Relaxed);
    }
}

impl Mail {
    /// What it counts for, in bytes: near enough to bound memory, cheap enough to ask for each.
    fn size(&self) -> usize {
        const SMALL: usize = 128;
        match self {
            Self::Overflow => 0,
            Self::Added(_, document) | Self::Changed(_, document) => document.size() + SMALL,
            Self::Event { message, event, .. } => event.size(message) + SMALL,
            Self::Returned(_, Ok(value)) => size_of_value(value) + SMALL,
            _ => SMALL,
        }
    }

    /// Whether the session waits for it: it goes through whatever else is queued.
    fn is_owed(&self) -> bool {
        matches!(
            self,
            Self::Published(..) | Self::Returned(..) | Self::Unblock(_) | Self::EndWrite(_)
        )
    }
}

impl Document {
    fn size(&self) -> usize {
        self.collection.len()
            + self.id.len()
            + self
                .fields
                .iter()
                .map(|(key, value)| size_of_text(key) + size_of_value(value))
                .sum::<usize>()
    }
}

/// About how much memory a value takes.
pub(crate) fn size_of_value(value: &Value) -> usize {
    size_of::<Value>()
        + match value {
            Value::String(text) => size_of_text(text),
            Value::Binary(bytes) => bytes.0.len(),
            Value::Array(items) => items.iter().map(size_of_value).sum(),
            Value::Object(object) => object
                .iter()
                .map(|(key, value)| size_of_text(key) + size_of_value(value))
                .sum(),
            _ => 0,
        }
}

fn size_of_text(text: &Text) -> usize {
    text.to_string_lossy().len()
}

/// A shard's inbox.
pub(crate) struct Inbox {
    state: Mutex<State>,
    /// Whether the shard sleeps, or is about to, and must be woken.
    asleep: AtomicBool,
    waker: mio::Waker,
    batch_limit: usize,
}

#[derive(Default)]
struct State {
    /// Filled by everybody, taken whole by the shard. Mail is bounded per session, batches by `batch_limit`.
    letters: Vec<Letter>,
    /// Bytes of batches in `letters`.
    batched: usize,
    /// Batches dropped since the shard last looked.
    dropped: Vec<Arc<str>>,
}

/// What the shard takes out of its inbox.
#[derive(Default)]
pub(crate) struct Delivery {
    pub(crate) letters: Vec<Letter>,
    /// Channels of which messages were dropped, because the shard could not keep up.
    pub(crate) dropped: Vec<Arc<str>>,
}

impl Inbox {
    pub(crate) fn new(waker: mio::Waker, batch_limit: usize) -> Self {
        Self {
            state: Mutex::default(),
            asleep: AtomicBool::new(false),
            waker,
            batch_limit,
        }
    }

    pub(crate) fn put(&self, letter: Letter) {
        self.lock().letters.push(letter);
        self.wake();
    }

    /// Takes everything; `into` is left with its capacity for the next time.
    pub(crate) fn take(&self, into: &mut Delivery) {
        let mut state = self.lock();
        std::mem::swap(&mut state.letters, &mut into.letters);
        std::mem::swap(&mut state.dropped, &mut into.dropped);
        state.batched = 0;
    }

    /// Says that the shard is going to sleep; `false` if there is something to read first.
    pub(crate) fn may_sleep(&self) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        let idle = {
            let state = self.lock();
            state.letters.is_empty() && state.dropped.is_empty()
        };
        if !idle {
            self.asleep.store(false, Ordering::SeqCst);
        }
        idle
    }

    /// Says that the shard is awake, and will look into the inbox before it sleeps.
    pub(crate) fn awake(&self) {
        self.asleep.store(false, Ordering::SeqCst);
    }

    fn wake(&self) {
        if self.asleep.swap(false, Ordering::SeqCst)
            && let Err(error) = self.waker.wake()
        {
            tracing::error!(%error, "A shard could not be woken.");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Port for Inbox {
    fn deliver(&self, batch: &Batch) {
        let size: usize = batch
            .iter()
            .map(|message| message.payload().len() + 64)
            .sum();
        let mut state = self.lock();
        if state.batched > 0 && state.batched.saturating_add(size) > self.batch_limit {
            for message in batch.iter() {
                if !state
                    .dropped
                    .iter()
                    .any(|channel| **channel == *message.channel())
                {
                    state.dropped.push(message.channel().into());
                }
            }
        } else {
            state.batched = state.batched.saturating_add(size);
            state.letters.push(Letter::Batch(batch.clone()));
        }
        drop(state);
        self.wake();
    }

    fn gap(&self, gap: Gap) {
        self.put(Letter::Gap(gap));
    }

    fn refused(&self, channel: &Arc<str>, error: &BusError) {
        self.put(Letter::Refused(channel.clone(), error.clone()));
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").finish_non_exhaustive()
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}
