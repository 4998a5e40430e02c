//! What the two ends of a delivery share: the slot that handed it out, and whoever has it.

use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::Notify;

/// Says how a delivery stands.
#[derive(Debug, Default)]
pub(crate) struct Ticket {
    state: AtomicU8,
    /// Wakes whoever waits for the delivery to be over.
    over: Notify,
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
        let (from, to, order) = (OPEN, ANSWERED, Ordering::AcqRel);
        // One that is over stays so.
        self.state
            .compare_exchange(from, to, order, Ordering::Acquire)
            .ok();
    }

    /// The delivery is taken back.
    pub(crate) fn end(&self) {
        self.state.store(OVER, Ordering::Release);
        self.over.notify_waiters();
    }

    pub(crate) async fn until_over(&self) {
        loop {
            let over = self.over.notified();
            tokio::pin!(over);
            over.as_mut().enable();
            if self.is_over() {
                return;
            }
            over.await;
        }
    }
}
