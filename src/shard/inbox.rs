//! How everything outside a shard talks to it: one inbox per shard, filled by anybody, emptied by the shard alone.
//!
//! Order is kept, and nothing waits. Mail is bounded by the memory of the process; what the bus may have in an inbox is
//! bounded in bytes, and new connections are bounded in number.

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
use crate::mail::{Address, Mail, Place, Post};

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
        session: Arc<polling::PollingSession>,
        request: Box<polling::PollingRequest>,
    },
    /// From the program: who is here.
    List(Box<Listing>),
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

/// A shard's inbox.
pub(crate) struct Inbox {
    /// The shard's number.
    shard: usize,
    state: Mutex<InboxState>,
    /// Whether the shard sleeps, or is about to, and must be woken.
    asleep: AtomicBool,
    waker: mio::Waker,
    /// The shard's clients, as it has last said.
    clients: AtomicUsize,
    limits: InboxLimits,
    memory: Arc<Memory>,
}

/// What may wait in an inbox beside mail.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct InboxLimits {
    /// Bytes of messages from the bus that may wait for one shard: 64 MiB by default. A shard that
    /// does not keep up loses what exceeds it, and the subscriptions concerned are told of a gap.
    pub bus_bytes: usize,
    /// New connections that may be on their way to the shards: 1,024 by default. Sessions of SockJS
    /// over HTTP beyond that are refused at once, and counted in
    /// [`Stats::refused_connections`](crate::Stats::refused_connections).
    pub arrivals: usize,
    /// How long one more WebSocket may wait for room among them: 10 s by default. Then it is closed,
    /// and counted likewise.
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

#[cfg(test)]
mod tests;
