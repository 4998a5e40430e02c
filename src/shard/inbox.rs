//! The inbox of a shard: everything outside the shard sends letters to it, and only the shard reads
//! them.
//!
//! Letters keep their order, and sending never waits. Mail is bounded by the memory limit of the
//! process, messages of the bus are bounded in bytes, and new connections are bounded in number.

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use updraft_bus::{Batch, BusError, Gap, Port};

use super::Arrival;
use super::listing::Listing;
use super::newcomer::Newcomer;
use super::polling_sessions::{self as polling, RequestInbox};
use crate::base::memory::Memory;
use crate::feed::{FeedNews, FeedPort};
use crate::gateway::{Opened, Unavailable};
use crate::mail::{Address, Mail, Place, Post};

/// A letter to a shard.
pub(crate) enum Letter {
    /// A new connection; the handshake of a socket is done.
    Arrival(Box<Arrival>),
    /// From another shard: a client that wants to resume a session of this shard.
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
    /// From a feed, for the followers of its topic.
    Feed(FeedNews),
    /// From the bus: it no longer carries this channel.
    Refused(Arc<str>, BusError),
    /// From an HTTP request to its session.
    Polling {
        session: Arc<polling::PollingSession>,
        request: Box<polling::PollingRequest>,
    },
    /// From the gateway: a connection to Meteor for a client, or none.
    Upstream {
        to: Place,
        opened: Box<Result<Opened, Unavailable>>,
    },
    /// From the program: list the clients.
    List(Box<Listing>),
    /// Close every connection, one after the other within `spread`, and admit nobody.
    ShutDown { spread: Duration },
    /// Drop every connection and end.
    Stop,
}

impl Letter {
    /// Drops a letter that nobody reads. The memory of mail is released.
    pub(crate) fn discard(self) {
        if let Self::Mail { address, mail, .. } = self {
            address.received(&mail);
        }
    }
}

/// A shard's inbox.
pub(crate) struct Inbox {
    /// The shard's number.
    shard: usize,
    state: Mutex<InboxState>,
    /// Whether the shard sleeps, or is about to, so that it must be woken.
    asleep: AtomicBool,
    waker: mio::Waker,
    /// The number of the shard's clients, as the shard has last reported it.
    clients: AtomicUsize,
    limits: InboxLimits,
    memory: Arc<Memory>,
}

/// How much may wait in an inbox, in addition to mail.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct InboxLimits {
    /// Bytes of bus messages that may wait for one shard: 64 MiB by default. Above that, messages
    /// for a shard that does not keep up are dropped, and the affected subscriptions are told of a
    /// gap.
    pub bus_bytes: usize,
    /// New connections that may be on their way to the shards: 1,024 by default. Further SockJS
    /// sessions over HTTP are refused at once, and counted in
    /// [`Stats::refused_connections`](crate::Stats::refused_connections).
    pub arrivals: usize,
    /// How long a further WebSocket may wait for room among them: 10 s by default. Then it is
    /// closed, and counted in the same number.
    pub arrival_timeout: Duration,
}

impl Default for InboxLimits {
    fn default() -> Self {
        Self {
            bus_bytes: 64 * 1024 * 1024,
            arrivals: 1024,
            arrival_timeout: Duration::from_secs(10),
        }
    }
}

#[derive(Default)]
struct InboxState {
    /// Filled by all senders, emptied by the shard. Mail is bounded by the memory limit of the
    /// process, news of feeds by the topics that are followed and the places that are waited for,
    /// posts of polling clients by the room of their sessions, batches and arrivals by
    /// `limits`, newcomers and connections to Meteor by the number of connections. There is at most one gap behind each of
    /// the other letters.
    letters: Vec<Letter>,
    /// Bytes of batches in `letters`.
    batched: usize,
    /// Arrivals in `letters`.
    arrivals: usize,
    /// Channels whose messages were dropped since the shard last looked; bounded by the channels
    /// that the shard follows.
    dropped: HashSet<Arc<str>>,
    /// Set when the shard has ended: nobody will read further letters.
    is_closed: bool,
}

/// The content of an inbox, as the shard takes it.
#[derive(Default)]
pub(crate) struct Delivery {
    pub(crate) letters: Vec<Letter>,
    /// Channels of which messages were dropped because the shard did not keep up.
    pub(crate) dropped: HashSet<Arc<str>>,
}

/// The capacity that an emptied inbox keeps, in letters.
const KEPT_LETTERS: usize = 1024;

impl Inbox {
    pub(crate) fn new(
        shard: usize,
        waker: mio::Waker,
        limits: InboxLimits,
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

    /// The shard's number.
    pub(crate) fn number(&self) -> usize {
        self.shard
    }

    /// Reports how many clients the shard has.
    pub(crate) fn set_clients(&self, count: usize) {
        self.clients.store(count, Ordering::Relaxed);
    }

    /// The clients of the shard, including those that are about to arrive.
    pub(crate) fn load(&self) -> usize {
        let clients = self.clients.load(Ordering::Relaxed);
        clients.saturating_add(self.lock().arrivals)
    }

    /// Adds a letter. If the shard has ended, the letter is dropped and its memory released.
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

    /// Hands over a new connection. Returns `false`, and drops the connection, when too many wait
    /// already.
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

    /// Takes everything. `into` keeps some capacity for the next time.
    pub(crate) fn take(&self, into: &mut Delivery) {
        into.letters.shrink_to(KEPT_LETTERS);
        into.dropped.shrink_to(KEPT_LETTERS);
        let mut state = self.lock();
        std::mem::swap(&mut state.letters, &mut into.letters);
        std::mem::swap(&mut state.dropped, &mut into.dropped);
        state.batched = 0;
        state.arrivals = 0;
    }

    /// The shard has ended. Drops what is in the inbox and everything that is sent later.
    pub(crate) fn close(&self) {
        let mut rest = Delivery::default();
        self.lock().is_closed = true;
        self.take(&mut rest);
        rest.letters.into_iter().for_each(Letter::discard);
    }

    /// Tells senders that the shard is going to sleep. Returns `false` if there is something to
    /// read first.
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

    /// Tells senders that the shard is awake, and will look into the inbox before it sleeps.
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

    fn lock(&self) -> MutexGuard<'_, InboxState> {
        // Nothing that can panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Post for Inbox {
    fn post(&self, to: Place, address: Arc<Address>, mail: Mail) {
        self.put(Letter::Mail { to, address, mail });
    }

    fn memory(&self) -> &Memory {
        &self.memory
    }

    fn shard(&self) -> usize {
        self.shard
    }
}

impl FeedPort for Inbox {
    fn shard(&self) -> usize {
        self.shard
    }

    fn tell(&self, news: FeedNews) {
        self.put(Letter::Feed(news));
    }
}

impl RequestInbox for Inbox {
    fn request(&self, session: Arc<polling::PollingSession>, request: polling::PollingRequest) {
        let request = Box::new(request);
        self.put(Letter::Polling { session, request });
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
        let fits =
            state.batched == 0 || state.batched.saturating_add(size) <= self.limits.bus_bytes;
        // After a dropped batch nothing is delivered until the shard has been told. Otherwise the
        // gap would be reported too late.
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
            // Nothing came between the two gaps, so they become one.
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

#[cfg(test)]
mod tests;
