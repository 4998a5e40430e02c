//! What waits for the writer. It sleeps until as much is there as it wants, and not until the next
//! change: each time it wakes costs more than a change.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::change::Tables;
use crate::TopicError;

/// What one caller wants changed.
pub(super) trait Change: Send {
    /// Its bytes, about.
    fn bytes(&self) -> usize;

    /// Whether the caller is gone, so that it need not be done.
    fn is_dropped(&self) -> bool;

    /// Does it. May be called again, in another transaction, when this one has failed.
    fn apply(&mut self, tables: &mut Tables<'_>, now: u64) -> Result<(), redb::Error>;

    /// Where the caller waits; `None` outside of tokio's runtimes.
    fn runtime(&self) -> Option<&Handle>;

    /// Tells the caller: its own outcome, or why the transaction has failed.
    fn answer(&mut self, failed: Option<TopicError>);
}

/// Changes, and their bytes, that are taken together.
const BATCH: usize = 1024;
const BATCH_BYTES: usize = 1024 * 1024;

/// The end of the callers. Without it, the writer gets what is left and then nothing.
pub(super) struct Sender(Arc<Shared>);

/// The end of the writer. Without it, nothing can be sent, and what is left is dropped.
pub(super) struct Receiver(Arc<Shared>);

/// The writer has ended.
#[derive(Debug)]
pub(super) struct Ended;

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// There is as much as the writer wants, or there will be nothing more.
    is_enough: Condvar,
}

#[derive(Default)]
struct State {
    /// Filled by callers, who hold room for what they send and so bound it; drained by the writer.
    waiting: VecDeque<Box<dyn Change>>,
    /// Their bytes.
    bytes: usize,
    /// For how many changes the writer sleeps; `None` while it is awake.
    wanted: Option<usize>,
    is_closed: bool,
    is_ended: bool,
}

pub(super) fn queue() -> (Sender, Receiver) {
    let shared = Arc::<Shared>::default();
    (Sender(Arc::clone(&shared)), Receiver(shared))
}

impl Sender {
    /// Sends a change. Never waits.
    pub(super) fn send(&self, change: Box<dyn Change>) -> Result<(), Ended> {
        let mut state = self.0.lock();
        if state.is_ended {
            return Err(Ended);
        }
        state.bytes = state.bytes.saturating_add(change.bytes());
        state.waiting.push_back(change);
        if state.wanted.is_some_and(|wanted| state.has(wanted)) {
            state.wanted = None;
            drop(state);
            self.0.is_enough.notify_one();
        }
        Ok(())
    }
}

impl Receiver {
    /// What is there now, up to a batch; `None` if nothing can come any more.
    pub(super) fn try_take(&self) -> Option<Vec<Box<dyn Change>>> {
        let mut state = self.0.lock();
        if state.waiting.is_empty() && state.is_closed {
            return None;
        }
        Some(state.take())
    }

    /// Waits for a change, and from then on for `patience` until there are so many. Otherwise as
    /// [`try_take`](Self::try_take).
    pub(super) fn take(&self, count: usize, patience: Duration) -> Option<Vec<Box<dyn Change>>> {
        let mut state = self.0.sleep(self.0.lock(), 1, None);
        if !state.has(count) && !state.waiting.is_empty() {
            state = self.0.sleep(state, count, Some(patience));
        }
        if state.waiting.is_empty() {
            return None;
        }
        Some(state.take())
    }
}

impl Shared {
    /// Sleeps until there are so many changes, or none can come, or the time is over.
    fn sleep<'a>(
        &self,
        mut state: MutexGuard<'a, State>,
        count: usize,
        patience: Option<Duration>,
    ) -> MutexGuard<'a, State> {
        let since = now();
        while !state.has(count) && !state.is_closed {
            state.wanted = Some(count);
            state = match patience.map(|patience| patience.checked_sub(since.elapsed())) {
                None => self
                    .is_enough
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(Some(left)) => {
                    let woken = self.is_enough.wait_timeout(state, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                Some(None) => break,
            };
        }
        state.wanted = None;
        state
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether there are so many changes, or as many as are taken together.
    fn has(&self, count: usize) -> bool {
        self.waiting.len() >= count.min(BATCH) || self.bytes >= BATCH_BYTES
    }

    fn take(&mut self) -> Vec<Box<dyn Change>> {
        let mut taken = Vec::with_capacity(self.waiting.len().min(BATCH));
        let mut bytes: usize = 0;
        while taken.len() < BATCH
            && bytes < BATCH_BYTES
            && let Some(change) = self.waiting.pop_front()
        {
            bytes = bytes.saturating_add(change.bytes());
            taken.push(change);
        }
        self.bytes = self.bytes.saturating_sub(bytes);
        taken
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.is_enough.notify_one();
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.is_ended = true;
        let left = std::mem::take(&mut state.waiting);
        drop(state);
        // Their callers see that nobody will answer.
        drop(left);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long a transaction waits is of no concern to anybody else"
)]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// So many bytes.
    struct Bytes(usize);

    impl Change for Bytes {
        fn bytes(&self) -> usize {
            self.0
        }

        fn is_dropped(&self) -> bool {
            false
        }

        fn apply(&mut self, _: &mut Tables<'_>, _: u64) -> Result<(), redb::Error> {
            Ok(())
        }

        fn runtime(&self) -> Option<&Handle> {
            None
        }

        fn answer(&mut self, _: Option<TopicError>) {}
    }

    const LONG: Duration = Duration::from_secs(60);

    fn send(sender: &Sender, count: usize, bytes: usize) {
        for _ in 0..count {
            sender.send(Box::new(Bytes(bytes))).unwrap();
        }
    }

    fn sizes(taken: Option<Vec<Box<dyn Change>>>) -> Option<Vec<usize>> {
        taken.map(|taken| taken.iter().map(|change| change.bytes()).collect())
    }

    #[test]
    fn a_batch_has_a_limited_number_of_changes_and_bytes() {
        let (sender, receiver) = queue();
        send(&sender, BATCH + 1, 1);
        assert_eq!(receiver.take(1, LONG).unwrap().len(), BATCH);
        send(&sender, 3, BATCH_BYTES / 2);
        // The first is the one that was left.
        let half = BATCH_BYTES / 2;
        assert_eq!(sizes(receiver.take(9, LONG)).unwrap(), [1, half, half]);
        assert_eq!(sizes(receiver.try_take()).unwrap(), [half]);
        assert!(receiver.try_take().unwrap().is_empty());
    }

    #[test]
    fn the_writer_waits_for_one_change_and_for_a_while_for_more() {
        let (sender, receiver) = queue();
        let writer = thread::spawn(move || (sizes(receiver.take(3, LONG)), receiver));
        send(&sender, 3, 7);
        let (taken, receiver) = writer.join().unwrap();
        assert_eq!(taken.unwrap(), [7, 7, 7]);
        send(&sender, 2, 8);
        let short = Duration::from_millis(1);
        assert_eq!(sizes(receiver.take(3, short)).unwrap(), [8, 8]);
    }

    #[test]
    fn what_was_sent_is_taken_before_the_end() {
        let (sender, receiver) = queue();
        send(&sender, 1, 7);
        drop(sender);
        assert_eq!(sizes(receiver.take(5, LONG)).unwrap(), [7]);
        assert!(receiver.take(5, LONG).is_none());
        assert!(receiver.try_take().is_none());
    }

    #[test]
    fn nothing_can_be_sent_when_the_writer_has_ended() {
        let (sender, receiver) = queue();
        send(&sender, 1, 7);
        drop(receiver);
        assert!(sender.0.lock().waiting.is_empty());
        sender.send(Box::new(Bytes(1))).unwrap_err();
    }
}
