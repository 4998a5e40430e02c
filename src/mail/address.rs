//! The address to which the handlers of one connection send their mail, and where they wait while
//! much of it is on its way.

use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;

use super::{Mail, Place};
use crate::base::memory::{Memory, WaitingCount};

/// Receives mail for connections, whoever owns them.
pub(crate) trait Post: Send + Sync {
    /// Delivers mail to the session at this place. Never waits.
    fn post(&self, to: Place, address: Arc<Address>, mail: Mail);

    /// The memory account that mail counts against.
    fn memory(&self) -> &Memory;

    /// The number of this shard.
    fn shard(&self) -> usize;
}

/// The address of one connection's session, for its handlers.
pub(crate) struct Address {
    /// The owner of the connection.
    post: Arc<dyn Post>,
    place: Place,
    /// Bytes of mail that the session has not read. Grows as handlers send, shrinks as the session
    /// reads.
    mail: AtomicUsize,
    /// Bytes of output that wait for the client, as the shard has last reported.
    output: AtomicUsize,
    /// With more bytes of mail and output than this, handlers wait in `flowing`.
    limit: usize,
    /// Set when the connection has ended: nobody waits for it any more.
    is_closed: AtomicBool,
    /// Created when a handler waits for the first time; for most clients none ever does.
    waiters: OnceLock<Box<Waiters>>,
}

impl Address {
    pub(crate) fn new(post: Arc<dyn Post>, place: Place, limit: usize) -> Self {
        Self {
            post,
            place,
            mail: AtomicUsize::new(0),
            output: AtomicUsize::new(0),
            limit,
            is_closed: AtomicBool::new(false),
            waiters: OnceLock::new(),
        }
    }

    /// The connection's place in its shard.
    pub(crate) fn place(&self) -> Place {
        self.place
    }

    /// The number of the shard that owns the connection.
    pub(crate) fn shard(&self) -> usize {
        self.post.shard()
    }

    /// Bytes of mail that the session has not read yet.
    pub(crate) fn queued(&self) -> usize {
        self.mail.load(Ordering::Relaxed)
    }

    /// Sends without waiting. Mail to a session that is gone is dropped.
    pub(crate) fn send(self: &Arc<Self>, mail: Mail) {
        let size = mail.size();
        self.mail.fetch_add(size, Ordering::Relaxed);
        self.post.memory().mail_sent(self.shard(), size);
        self.post.post(self.place, self.clone(), mail);
    }

    /// The session has read this mail.
    pub(crate) fn received(&self, mail: &Mail) {
        let size = mail.size();
        self.mail.fetch_sub(size, Ordering::Relaxed);
        self.post.memory().mail_read(self.shard(), size);
        self.notify_waiters();
    }

    /// Reports how many bytes of output wait for the client.
    pub(crate) fn set_output(&self, bytes: usize) {
        self.output.store(bytes, Ordering::Relaxed);
        self.notify_waiters();
    }

    /// The connection has ended.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
        self.notify_waiters();
    }

    fn notify_waiters(&self) {
        // With this fence, either the waiting handler sees the change, or this thread sees the
        // handler.
        fence(Ordering::SeqCst);
        if let Some(waiters) = self.waiters.get()
            && waiters.count.load(Ordering::Relaxed) > 0
            && self.flow() != Flow::Full
        {
            waiters.taken.notify_waiters();
        }
    }

    /// Whether its handlers may go on.
    pub(crate) fn is_flowing(&self) -> bool {
        match self.flow() {
            Flow::Free => true,
            Flow::Some => !self.post.memory().is_short(),
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

    /// Waits while too much of what the handlers have sent is on its way to the client, or while
    /// some is and too much waits in the whole process. Ends when the client has taken it, or when
    /// the connection has ended.
    ///
    /// A handler never waits for a client that has taken everything. Otherwise handlers that wait
    /// for each other would wait for ever.
    pub(crate) async fn flowing(&self) {
        if self.is_flowing() {
            return;
        }
        let _waiting = WaitingCount::among(&self.waiters().count);
        loop {
            self.wait_until(|it| it.flow() != Flow::Full).await;
            tokio::select! {
                () = self.post.memory().room() => return,
                () = self.wait_until(|it| it.flow() != Flow::Some) => {}
            }
            if self.flow() == Flow::Free {
                return;
            }
        }
    }

    /// Waits until there is memory for another handler to start. Returns `false` when the
    /// connection has ended first.
    pub(crate) async fn room(&self) -> bool {
        let memory = self.post.memory();
        if !memory.is_short() {
            return true;
        }
        let _waiting = WaitingCount::among(&self.waiters().count);
        tokio::select! {
            () = memory.room() => true,
            () = self.wait_until(Self::is_closed) => false,
        }
    }

    fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }

    fn waiters(&self) -> &Waiters {
        self.waiters.get_or_init(Box::default)
    }

    /// Waits until the condition is true. The caller is counted as waiting.
    async fn wait_until(&self, is_so: impl Fn(&Self) -> bool) {
        loop {
            let mut taken = pin!(self.waiters().taken.notified());
            taken.as_mut().enable();
            if is_so(self) {
                return;
            }
            taken.await;
        }
    }
}

/// The handlers that wait for a client.
#[derive(Debug, Default)]
struct Waiters {
    /// Notified when there may be room.
    taken: Notify,
    /// The number of waiting handlers.
    count: AtomicUsize,
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

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}
