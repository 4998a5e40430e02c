//! How everything outside a shard talks to it: one inbox per shard, filled by anybody, emptied by the shard alone.
//!
//! Order is kept: what one handler sends arrives as it was sent. Sending never waits. Mail is bounded by the memory of the
//! process: while much of it is on its way to a client, its handlers wait where they await something. What the bus may
//! have in an inbox is bounded in bytes, and new connections are bounded in number.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use updraft_protocol::ejson::{Text, Value};
use updraft_protocol::message::WireError;
use updraft_protocol::session::{Run, Unblocked};
use updraft_protocol::view::Fields;

use crate::memory::{Memory, Waiting};
use crate::publication::{Event, Mapper, OnGap};
use crate::shard::{Arrival, Newcomer};
use crate::sockjs;
use updraft_bus::{Batch, BusError, Gap, Lease, Message, Port};

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
    /// A publication's handler waits for its client.
    Waits(Run),
    /// It does not any more.
    GoesOn(Run),
    Close,
    /// A message of a service of the program's own.
    Text(Box<str>),
    /// A handler of such a service has read a message.
    Read,
    /// Close with this code and reason.
    CloseWith(u16, Box<str>),
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
    /// Bytes of mail that the session has not read. Grows as handlers send, shrinks as the session reads.
    mail: AtomicUsize,
    /// Bytes of output that wait for the client, as the shard has last said.
    output: AtomicUsize,
    /// With more than so many bytes of both, who is asked to waits.
    limit: usize,
    /// Set when the connection has ended: nobody waits for it any more.
    is_closed: AtomicBool,
    /// Told when there may be room.
    taken: Notify,
    /// Those who wait for that.
    waiting: AtomicUsize,
}

impl Address {
    pub(crate) fn new(inbox: Arc<Inbox>, place: Place, limit: usize) -> Self {
        Self {
            inbox,
            place,
            mail: AtomicUsize::new(0),
            output: AtomicUsize::new(0),
            limit,
            is_closed: AtomicBool::new(false),
            taken: Notify::new(),
            waiting: AtomicUsize::new(0),
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
        self.mail.load(Ordering::Relaxed)
    }

    /// Sends without waiting. Mail to a session that is gone is dropped.
    pub(crate) fn send(self: &Arc<Self>, mail: Mail) {
        let size = mail.size();
        self.mail.fetch_add(size, Ordering::Relaxed);
        self.inbox.memory.mail_sent(self.inbox.shard, size);
        self.inbox.put(Letter::Mail {
            to: self.place,
            address: self.clone(),
            mail,
        });
    }

    /// The session has read this mail.
    pub(crate) fn received(&self, mail: &Mail) {
        let size = mail.size();
        self.mail.fetch_sub(size, Ordering::Relaxed);
        self.inbox.memory.mail_read(self.inbox.shard, size);
        self.tell();
    }

    /// The shard says how many bytes of output wait for the client.
    pub(crate) fn set_output(&self, bytes: usize) {
        self.output.store(bytes, Ordering::Relaxed);
        self.tell();
    }

    /// The connection has ended.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
        self.tell();
    }

    fn tell(&self) {
        // Either the one who waits sees what has changed, or it is seen here.
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Relaxed) > 0 && self.flow() != Flow::Full {
            self.taken.notify_waiters();
        }
    }

    /// Whether its handlers may go on.
    pub(crate) fn is_flowing(&self) -> bool {
        match self.flow() {
            Flow::Free => true,
            Flow::Some => !self.inbox.memory.is_short(),
            Flow::Full => false,
        }
    }

    fn flow(&self) -> Flow {
        let output = self.output.load(Ordering::Relaxed);
        let unsent = output.saturating_add(self.queued());
        if unsent == 0 || self.is_closed() {
            Flow::Free
        } else if unsent <= self.limit {
            Flow::Some
        } else {
            Flow::Full
        }
    }

    /// Waits while too much of what its handlers have sent is on its way to the client, or something is and too much
    /// waits in the whole process. It ends when the client has taken it, or the connection has ended.
    ///
    /// A client that has taken everything waits for nobody: else those who wait for each other would for ever.
    pub(crate) async fn flowing(&self) {
        if self.is_flowing() {
            return;
        }
        let _waiting = Waiting::among(&self.waiting);
        loop {
            self.until(|it| it.flow() != Flow::Full).await;
            tokio::select! {
                () = self.inbox.memory.room() => return,
                () = self.until(|it| it.flow() != Flow::Some) => {}
            }
            if self.flow() == Flow::Free {
                return;
            }
        }
    }

    /// Waits until another handler may begin, as far as memory is concerned; `false` when the connection has ended first.
    pub(crate) async fn room(&self) -> bool {
        let memory = &self.inbox.memory;
        if !memory.is_short() {
            return true;
        }
        let _waiting = Waiting::among(&self.waiting);
        tokio::select! {
            () = memory.room() => true,
            () = self.until(Self::is_closed) => false,
        }
    }

    fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }

    /// Waits until this is so. Who calls it is counted as waiting.
    async fn until(&self, is_so: impl Fn(&Self) -> bool) {
        loop {
            let mut taken = pin!(self.taken.notified());
            taken.as_mut().enable();
            if is_so(self) {
                return;
            }
            taken.await;
        }
    }
}

/// How much of what was sent to a client is on its way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    /// Nothing.
    Free,
    Some,
    /// More than the limit.
    Full,
}

/// Mail that a session reads later. What is dropped is given back.
pub(crate) struct Backlog {
    address: Arc<Address>,
    /// Filled while the client has much to take, drained as it takes it; bounded by the memory of the process.
    queue: VecDeque<Mail>,
}

impl Backlog {
    pub(crate) fn new(address: Arc<Address>) -> Self {
        Self {
            address,
            queue: VecDeque::new(),
        }
    }

    pub(crate) fn push(&mut self, mail: Mail) {
        self.queue.push_back(mail);
    }

    /// The next one, which is read from here on.
    pub(crate) fn pop(&mut self) -> Option<Mail> {
        let mail = self.queue.pop_front()?;
        self.address.received(&mail);
        Some(mail)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

impl Drop for Backlog {
    fn drop(&mut self) {
        while self.pop().is_some() {}
    }
}

impl fmt::Debug for Backlog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backlog")
            .field("len", &self.queue.len())
            .finish_non_exhaustive()
    }
}

impl Mail {
    /// What it counts for, in bytes: near enough to bound memory, cheap enough to ask for each.
    fn size(&self) -> usize {
        const SMALL: usize = 128;
        match self {
            Self::Added(_, document) | Self::Changed(_, document) => document.size() + SMALL,
            Self::Event { message, event, .. } => event.size(message) + SMALL,
            Self::Text(text) => text.len() + SMALL,
            Self::Returned(_, Ok(value)) => size_of_value(value) + SMALL,
            _ => SMALL,
        }
    }

    /// Whether it may be read later, when the client has taken more. What says which messages are for the session is not
    /// to be late: those that came before it would be lost.
    pub(crate) fn can_wait(&self) -> bool {
        !matches!(
            self,
            Self::On { .. }
                | Self::OnGap(..)
                | Self::Event { .. }
                | Self::Waits(_)
                | Self::GoesOn(_)
                | Self::Read
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
    /// Filled by everybody, taken whole by the shard. Mail is bounded by the memory of the process, what requests post by their session's
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
