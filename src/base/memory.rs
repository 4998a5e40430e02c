//! How much is queued in the whole process: for clients, from clients, and between handlers and
//! sessions. Each shard counts what its connections hold and reports it once per turn; mail is
//! counted when it is sent.
//!
//! What waits for clients, including the mail of their handlers, disappears by itself: the clients
//! take it, or they are closed because they take nothing. So handlers wait while it is too much,
//! which keeps it near the limit. What waits *for* handlers does not keep handlers from starting.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering, fence};

use tokio::sync::Notify;

/// The bytes that all shards hold, and their limit.
#[derive(Debug)]
pub(crate) struct Memory {
    limit: usize,
    shards: Box<[ShardMemory]>,
    /// Wakes one of the tasks that wait for room. A task that got room wakes the next.
    room: Notify,
    /// The number of tasks that wait.
    waiting: AtomicUsize,
}

/// The bytes that belong to the connections of one shard.
#[derive(Debug, Default)]
struct ShardMemory {
    /// Output, as the shard has last reported.
    output: AtomicUsize,
    /// Input that nobody has used, and bytes that are kept until a user has changed or a client is
    /// back; as the shard has last reported.
    input: AtomicUsize,
    /// Mail that its sessions have not read. Grows as handlers send, shrinks as the shard reads.
    mail: AtomicUsize,
    /// Parameters of its clients' running handlers. Grows when handlers are asked for, shrinks when
    /// they end.
    parameters: AtomicUsize,
}

/// Above this multiple of the limit it is not enough that handlers wait.
const OVERLOAD_FACTOR: usize = 2;

impl Memory {
    pub(crate) fn new(limit: usize, shards: usize) -> Self {
        Self {
            limit,
            shards: (0..shards).map(|_| ShardMemory::default()).collect(),
            room: Notify::new(),
            waiting: AtomicUsize::new(0),
        }
    }

    /// How many shards it counts.
    pub(crate) fn shards(&self) -> usize {
        self.shards.len()
    }

    /// Bytes queued in the process.
    pub(crate) fn queued(&self) -> usize {
        let held = self.shards.iter().map(ShardMemory::bytes);
        held.fold(0, usize::saturating_add)
    }

    /// Bytes of the parameters that running handlers hold. Closing clients does not free them,
    /// because a method runs to its end.
    pub(crate) fn parameters(&self) -> usize {
        let held = self.shards.iter();
        let held = held.map(|held| held.parameters.load(Ordering::Relaxed));
        held.fold(0, usize::saturating_add)
    }

    /// Whether more than the limit waits for clients, so that handlers wait too.
    pub(crate) fn is_short(&self) -> bool {
        let for_clients = self.shards.iter().map(ShardMemory::for_clients);
        for_clients.fold(0, usize::saturating_add) > self.limit
    }

    /// Whether more than the limit waits in total, so that clients with waiting messages are not
    /// read from.
    pub(crate) fn is_exceeded(&self) -> bool {
        self.queued().saturating_add(self.parameters()) > self.limit
    }

    /// Whether far too much waits, so that no new client is admitted.
    pub(crate) fn is_overloaded(&self) -> bool {
        self.queued().saturating_add(self.parameters()) > self.overload()
    }

    /// The bytes that a shard must free at once: what it holds beyond an equal part, if all shards
    /// together hold far too much.
    ///
    /// As long as that is so, some shard holds more than its part, and freeing the excess of these
    /// shards is enough.
    pub(crate) fn excess(&self, shard: usize) -> usize {
        let excess = self.queued().saturating_sub(self.overload());
        let parts = self.overload().checked_div(self.shards.len());
        let held = self.shards.get(shard).map_or(0, ShardMemory::bytes);
        held.saturating_sub(parts.unwrap_or(0)).min(excess)
    }

    fn overload(&self) -> usize {
        self.limit.saturating_mul(OVERLOAD_FACTOR)
    }

    /// Waits until there is room for more output.
    ///
    /// Waiting tasks get room in turns: each checks again after the one before has gone on and may
    /// have used the room.
    pub(crate) async fn room(&self) {
        if !self.is_short() {
            return;
        }
        let _waiting = WaitingCount::among(&self.waiting);
        loop {
            let woken = self.room.notified();
            if !self.is_short() {
                break;
            }
            woken.await;
        }
        self.room.notify_one();
    }

    /// A shard reports what its connections hold.
    pub(crate) fn report(&self, shard: usize, output: usize, input: usize) {
        if let Some(held) = self.shards.get(shard) {
            held.output.store(output, Ordering::Relaxed);
            held.input.store(input, Ordering::Relaxed);
        }
        // With this fence, either the waiting task sees the new values, or this thread sees the
        // task.
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Relaxed) > 0 && !self.is_short() {
            self.room.notify_one();
        }
    }

    pub(crate) fn mail_sent(&self, shard: usize, bytes: usize) {
        if let Some(held) = self.shards.get(shard) {
            held.mail.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    pub(crate) fn mail_read(&self, shard: usize, bytes: usize) {
        if let Some(held) = self.shards.get(shard) {
            held.mail.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

impl ShardMemory {
    fn for_clients(&self) -> usize {
        let output = self.output.load(Ordering::Relaxed);
        output.saturating_add(self.mail.load(Ordering::Relaxed))
    }

    fn bytes(&self) -> usize {
        let input = self.input.load(Ordering::Relaxed);
        self.for_clients().saturating_add(input)
    }
}

/// Counts one waiting task until dropped.
pub(crate) struct WaitingCount<'a>(&'a AtomicUsize);

impl<'a> WaitingCount<'a> {
    pub(crate) fn among(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for WaitingCount<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts the parameters of a client's handler while it runs. Only the handler knows whether it
/// keeps them that long.
pub(crate) struct CountedParameters {
    memory: Arc<Memory>,
    shard: usize,
    bytes: usize,
}

impl CountedParameters {
    pub(crate) fn new(memory: Arc<Memory>, shard: usize, bytes: usize) -> Self {
        if let Some(held) = memory.shards.get(shard) {
            held.parameters.fetch_add(bytes, Ordering::Relaxed);
        }
        Self {
            memory,
            shard,
            bytes,
        }
    }
}

impl Drop for CountedParameters {
    fn drop(&mut self) {
        if let Some(held) = self.memory.shards.get(self.shard) {
            held.parameters.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

/// The bytes that the connections of one shard hold together.
#[derive(Debug, Default)]
pub(crate) struct Tally(Rc<Cell<usize>>);

/// One holder's part of a tally, subtracted when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    tally: Rc<Cell<usize>>,
    bytes: usize,
}

impl Tally {
    pub(crate) fn bytes(&self) -> usize {
        self.0.get()
    }

    pub(crate) fn share(&self) -> Share {
        Share {
            tally: self.0.clone(),
            bytes: 0,
        }
    }
}

impl Share {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Sets how many bytes the holder holds now.
    pub(crate) fn set(&mut self, bytes: usize) {
        let others = self.tally.get().saturating_sub(self.bytes);
        self.tally.set(others.saturating_add(bytes));
        self.bytes = bytes;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_and_are_given_back() {
        let tally = Tally::default();
        let (mut one, mut other) = (tally.share(), tally.share());
        one.set(10);
        other.set(5);
        one.set(7);
        assert_eq!((tally.bytes(), one.bytes()), (12, 7));
        drop(one);
        assert_eq!(tally.bytes(), 5);
    }

    #[test]
    fn row_079_the_excess_is_asked_of_the_shard_that_holds_most() {
        let memory = Memory::new(50, 2);
        memory.report(0, 40, 0);
        memory.mail_sent(1, 60);
        assert!(!memory.is_overloaded());
        assert_eq!((memory.excess(0), memory.excess(1)), (0, 0));
        memory.report(1, 5, 15);
        assert!(memory.is_overloaded());
        assert_eq!((memory.excess(0), memory.excess(1)), (0, 20));
        memory.mail_read(1, 60);
        assert_eq!(memory.queued(), 60);
        assert!(!memory.is_overloaded());
    }

    #[test]
    fn found_101_what_waits_for_handlers_keeps_none_from_beginning() {
        let memory = Memory::new(100, 1);
        memory.report(0, 60, 80);
        assert!(memory.is_exceeded() && !memory.is_short());
        memory.mail_sent(0, 41);
        assert!(memory.is_short());
    }

    #[tokio::test]
    async fn found_101_room_is_had_in_turns() {
        let memory = Memory::new(100, 1);
        memory.report(0, 101, 0);
        let turn = async |bytes| {
            memory.room().await;
            memory.mail_sent(0, bytes);
            bytes
        };
        let (mut first, mut second) = (Box::pin(turn(70)), Box::pin(turn(80)));
        tokio::select! {
            biased;
            _ = &mut first => panic!("there was no room"),
            _ = &mut second => panic!("there was no room"),
            () = std::future::ready(()) => {}
        }
        memory.report(0, 40, 0);
        assert_eq!(first.await, 70);
        tokio::select! {
            biased;
            _ = &mut second => panic!("the first has taken the room"),
            () = std::future::ready(()) => {}
        }
        memory.report(0, 0, 0);
        assert_eq!(second.await, 80);
    }
}
