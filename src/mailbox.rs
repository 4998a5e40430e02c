//! How everything outside a shard talks to it: one inbox per shard, filled by anybody, emptied by the shard alone.
//!
//! Order is kept: what one handler sends arrives as it was sent. Nothing waits: what a session may have in its shard's
//! inbox is bounded in bytes, so is what the bus may have there, and new connections are bounded in number.

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use updraft_protocol::ejson::{Text, Value};
use updraft_protocol::message::WireError;
use updraft_protocol::session::{Run, Unblocked};
use updraft_protocol::view::Fields;

use crate::bus::{Batch, BusError, Gap, Lease, Message, Port};
use crate::memory::Memory;
use crate::publication::{Event, Mapper, OnGap};
use crate::shard::{Arrival, Newcomer};
use crate::sockjs;

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
    /// From another shard: a client that wants a session of this one.
    Newcomer(Box<Newcomer>),
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
    /// From an HTTP request to its session.
    Polling {
        session: Arc<sockjs::Session>,
        request: Box<sockjs::Request>,
    },
    /// Close every connection, one after the other within this time, and let nobody in.
    ShutDown { spread: Duration },
    /// Drop every connection and end.
    Stop,
}

impl Letter {
    /// Nobody reads it. What it holds is let go of.
    pub(crate) fn discard(self) {
        if let Self::Mail { address, mail, .. } = self {
            address.received(&mail);
        }
    }
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
    /// The user changes, on behalf of this call.
    SetUser(Run, Option<Arc<str>>, UserChanged),
    BeginWrite(Run),
    EndWrite(Run),
    Close,
    /// A message of a service of the program's own.
    Text(Box<str>),
    /// A handler of such a service has read a message.
    Read,
    /// Close with this code and reason.
    CloseWith(u16, Box<str>),
    /// The session has more in the inbox than it may.
    Overflow,
}

/// Told when a change of the user is complete, or refused; dropped when the session is gone.
pub(crate) type UserChanged = oneshot::Sender<Result<(), Unblocked>>;

/// A document as a handler publishes it, its id as on the wire.
pub(crate) struct Document {
    pub(crate) collection: String,
    pub(crate) id: String,
    pub(crate) fields: Fields,
}

/// Where the handlers of one connection send their mail.
pub(crate) struct Address {
    inbox: Arc<Inbox>,
    place: Place,
    /// Bytes of mail in the inbox. Grows as handlers send, shrinks as the shard reads, bounded by `limit`.
    queued: AtomicUsize,
    limit: usize,
    /// Set once over the limit: what follows is dropped, the connection is being closed.
    overflowed: AtomicBool,
}

impl Address {
    pub(crate) fn new(inbox: Arc<Inbox>, place: Place, limit: usize) -> Self {
        let (queued, overflowed) = (AtomicUsize::new(0), AtomicBool::new(false));
        Self {
            inbox,
            place,
            queued,
            limit,
            overflowed,
        }
    }

    /// The inbox of the shard that owns the connection.
    pub(crate) fn inbox(&self) -> &Arc<Inbox> {
        &self.inbox
    }

    /// The connection's place in it.
    pub(crate) fn place(&self) -> Place {
        self.place
    }

    /// The number of the shard that owns the connection.
    pub(crate) fn shard(&self) -> usize {
        self.inbox.shard
    }

    /// Bytes of mail that the session has not read yet.
    pub(crate) fn queued(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    /// Sends without waiting. Mail to a session that is gone, or is being closed for too much mail, is dropped.
    pub(crate) fn send(self: &Arc<Self>, mail: Mail) {
        if self.overflowed.load(Ordering::Relaxed) {
            return;
        }
        let size = mail.size();
        let queued = self
            .queued
            .fetch_add(size, Ordering::Relaxed)
            .saturating_add(size);
        self.inbox.memory.mail_sent(self.inbox.shard, size);
        let mail = if queued <= self.limit || mail.is_owed() {
            mail
        } else {
            self.forget(size);
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
        self.forget(mail.size());
    }

    fn forget(&self, size: usize) {
        self.queued.fetch_sub(size, Ordering::Relaxed);
        self.inbox.memory.mail_read(self.inbox.shard, size);
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
            Self::Text(text) => text.len() + SMALL,
            Self::Returned(_, Ok(value)) => size_of_value(value) + SMALL,
            _ => SMALL,
        }
    }

    /// Whether it is the end of a handler, which comes once: it goes through although the session has much to read.
    fn is_owed(&self) -> bool {
        matches!(self, Self::Published(..) | Self::Returned(..))
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
    /// The shard's number.
    shard: usize,
    state: Mutex<State>,
    /// Whether the shard sleeps, or is about to, and must be woken.
    asleep: AtomicBool,
    waker: mio::Waker,
    /// The shard's clients, as it has last said.
    clients: AtomicUsize,
    limits: Limits,
    memory: Arc<Memory>,
}

/// What may wait in an inbox beside mail.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes of messages from the bus.
    pub(crate) batches: usize,
    /// New connections.
    pub(crate) arrivals: usize,
}

#[derive(Default)]
struct State {
    /// Filled by everybody, taken whole by the shard. Mail is bounded per session, what requests post by their session's
    /// room, batches and arrivals by `limits`, newcomers by the connections that there are, and of gaps there is at most
    /// one behind each of the others.
    letters: Vec<Letter>,
    /// Bytes of batches in `letters`.
    batched: usize,
    /// Arrivals in `letters`.
    arrivals: usize,
    /// Channels whose messages were dropped since the shard last looked; bounded by the channels that it follows.
    dropped: HashSet<Arc<str>>,
    /// Set when the shard has ended: nobody will read what is sent.
    is_closed: bool,
}

/// What the shard takes out of its inbox.
#[derive(Default)]
pub(crate) struct Delivery {
    pub(crate) letters: Vec<Letter>,
    /// Channels of which messages were dropped, because the shard could not keep up.
    pub(crate) dropped: HashSet<Arc<str>>,
}

/// Room for letters that an inbox keeps when it has been emptied.
const KEPT: usize = 1024;

impl Inbox {
    pub(crate) fn new(
        shard: usize,
        waker: mio::Waker,
        limits: Limits,
        memory: Arc<Memory>,
    ) -> Self {
        Self {
            shard,
            state: Mutex::default(),
            asleep: AtomicBool::new(false),
            waker,
            clients: AtomicUsize::new(0),
            limits,
            memory,
        }
    }

    /// The shard says how many clients it has.
    pub(crate) fn has_clients(&self, count: usize) {
        self.clients.store(count, Ordering::Relaxed);
    }

    /// Clients of the shard, with those that are about to arrive.
    pub(crate) fn load(&self) -> usize {
        let clients = self.clients.load(Ordering::Relaxed);
        clients.saturating_add(self.lock().arrivals)
    }

    /// Leaves a letter. When the shard has ended it is dropped, and lets go of what it holds.
    pub(crate) fn put(&self, letter: Letter) {
        let mut state = self.lock();
        if state.is_closed {
            drop(state);
            return letter.discard();
        }
        state.letters.push(letter);
        drop(state);
        self.wake();
    }

    /// Hands over a new connection; `false` when too many wait already, and it is dropped.
    pub(crate) fn arrive(&self, arrival: Box<Arrival>) -> bool {
        let mut state = self.lock();
        if state.is_closed || state.arrivals >= self.limits.arrivals {
            return false;
        }
        state.arrivals = state.arrivals.saturating_add(1);
        state.letters.push(Letter::Arrival(arrival));
        drop(state);
        self.wake();
        true
    }

    /// Takes everything; `into` is left with some capacity for the next time.
    pub(crate) fn take(&self, into: &mut Delivery) {
        into.letters.shrink_to(KEPT);
        into.dropped.shrink_to(KEPT);
        let mut state = self.lock();
        std::mem::swap(&mut state.letters, &mut into.letters);
        std::mem::swap(&mut state.dropped, &mut into.dropped);
        state.batched = 0;
        state.arrivals = 0;
    }

    /// The shard has ended. What is still here is dropped, and so is all that comes.
    pub(crate) fn close(&self) {
        let mut rest = Delivery::default();
        self.lock().is_closed = true;
        self.take(&mut rest);
        rest.letters.into_iter().for_each(Letter::discard);
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
        if state.is_closed {
            return;
        }
        let fits = state.batched == 0 || state.batched.saturating_add(size) <= self.limits.batches;
        // After a dropped batch nothing is delivered until the shard has been told, or the gap would come too late.
        if fits && state.dropped.is_empty() {
            state.batched = state.batched.saturating_add(size);
            state.letters.push(Letter::Batch(batch.clone()));
        } else {
            for message in batch.iter() {
                if !state.dropped.contains(message.channel()) {
                    state.dropped.insert(message.channel().into());
                }
            }
        }
        drop(state);
        self.wake();
    }

    fn gap(&self, gap: Gap) {
        let mut state = self.lock();
        if let Some(Letter::Gap(waiting)) = state.letters.last_mut() {
            // Nothing came between the two: they are one.
            let channels: HashSet<_> = waiting.channels.iter().chain(&*gap.channels).collect();
            waiting.channels = channels.into_iter().cloned().collect();
            waiting.generation = gap.generation;
            return;
        }
        drop(state);
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

#[cfg(test)]
mod tests;
