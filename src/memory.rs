//! How much is queued in the whole process: for clients, from clients, and between handlers and sessions.
//! Each shard counts what its connections hold and says so once per turn; mail is counted as it is sent.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What all shards hold, and how much that may be.
#[derive(Debug)]
pub(crate) struct Memory {
    limit: usize,
    shards: Box<[Held]>,
}

/// What belongs to the connections of one shard, in bytes.
#[derive(Debug, Default)]
struct Held {
    /// Output and unfinished input, as the shard has last said.
    queued: AtomicUsize,
    /// Mail in its inbox: grows as handlers send, shrinks as the shard reads.
    mail: AtomicUsize,
    /// Parameters of its clients' handlers that run: grows as they are asked for, shrinks as they end.
    parameters: AtomicUsize,
}

impl Memory {
    pub(crate) fn new(limit: usize, shards: usize) -> Self {
        Self {
            limit,
            shards: (0..shards).map(|_| Held::default()).collect(),
        }
    }

    /// Bytes queued in the process.
    pub(crate) fn queued(&self) -> usize {
        let held = self.shards.iter().map(Held::bytes);
        held.fold(0, usize::saturating_add)
    }

    /// Bytes of parameters that handlers hold which run. Closing their clients gives nothing of it back: a method runs to
    /// its end.
    pub(crate) fn parameters(&self) -> usize {
        let held = self.shards.iter();
        let held = held.map(|held| held.parameters.load(Ordering::Relaxed));
        held.fold(0, usize::saturating_add)
    }

    /// Whether it is too much, so that nobody new is taken in.
    pub(crate) fn is_exceeded(&self) -> bool {
        self.queued().saturating_add(self.parameters()) > self.limit
    }

    /// What a shard must give back: what it holds beyond an equal part of the limit, if all together hold too much.
    ///
    /// While the limit is exceeded some shard holds more than its part, and what these give back is enough.
    pub(crate) fn excess(&self, shard: usize) -> usize {
        let excess = self.queued().saturating_sub(self.limit);
        let part = self.limit.checked_div(self.shards.len()).unwrap_or(0);
        let held = self.shards.get(shard).map_or(0, Held::bytes);
        held.saturating_sub(part).min(excess)
    }

    /// A shard says what its connections hold.
    pub(crate) fn report(&self, shard: usize, queued: usize) {
        if let Some(held) = self.shards.get(shard) {
            held.queued.store(queued, Ordering::Relaxed);
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

impl Held {
    fn bytes(&self) -> usize {
        let queued = self.queued.load(Ordering::Relaxed);
        queued.saturating_add(self.mail.load(Ordering::Relaxed))
    }
}

/// What a handler of a shard's client was given, as long as it runs: whether it keeps that nobody but itself knows.
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

/// What the connections of one shard hold together.
#[derive(Debug, Default)]
pub(crate) struct Tally(Rc<Cell<usize>>);

/// One holder's part of a tally, given back when the holder is dropped.
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

    /// Says what the holder holds now.
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
        let memory = Memory::new(100, 2);
        memory.report(0, 40);
        memory.mail_sent(1, 60);
        assert!(!memory.is_exceeded());
        assert_eq!((memory.excess(0), memory.excess(1)), (0, 0));
        memory.report(1, 20);
        assert!(memory.is_exceeded());
        assert_eq!((memory.excess(0), memory.excess(1)), (0, 20));
        memory.mail_read(1, 60);
        assert_eq!(memory.queued(), 60);
        assert!(!memory.is_exceeded());
    }
}
