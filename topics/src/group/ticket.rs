//! What the two ends of a delivery share: the slot that handed it out, and whoever has it.

use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::Notify;

/// Says how a delivery stands.
#[derive(Debug, Default)]
pub(crate) struct Ticket {
    state: AtomicU8,
    /// Wakes whoever waits for the delivery to be answered or over.
    closed: Notify,
}

const OPEN: u8 = 0;
/// Its member has answered it.
const ANSWERED: u8 = 1;
/// It was taken back: its time was over, or its slot went to another process.
const OVER: u8 = 2;

impl Ticket {
    pub(crate) fn is_open(&self) -> bool {
        self.state.load(Ordering::Acquire) == OPEN
    }

    pub(crate) fn is_over(&self) -> bool {
        self.state.load(Ordering::Acquire) == OVER
    }

    /// The member has given an answer.
    pub(crate) fn answer(&self) {
        self.close(ANSWERED);
    }

    /// The delivery is taken back, unless it was answered.
    pub(crate) fn end(&self) {
        self.close(OVER);
    }

    fn close(&self, state: u8) {
        let (done, failed) = (Ordering::AcqRel, Ordering::Acquire);
        if self
            .state
            .compare_exchange(OPEN, state, done, failed)
            .is_ok()
        {
            self.closed.notify_waiters();
        }
    }

    /// Waits until the delivery is answered or over.
    pub(crate) async fn until_closed(&self) {
        loop {
            let closed = self.closed.notified();
            tokio::pin!(closed);
            closed.as_mut().enable();
            if !self.is_open() {
                return;
            }
            closed.await;
        }
    }
}
