//! The state of a cursor in use: what it keeps, and what is known of its register.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;
use updraft_topics::{RegisterKey, Registers, Version};

use super::Kept;

/// What the subscription of a cursor and the writer share.
pub(super) struct SharedCursor {
    pub(super) registers: Arc<dyn Registers>,
    pub(super) key: RegisterKey,
    pub(super) generation: u64,
    state: Mutex<State>,
}

pub(super) struct State {
    pub(super) kept: Kept,
    pub(super) stored: Stored,
    /// When its register was last written.
    pub(super) written: Instant,
    /// Whether it stands in the queue of the writer.
    pub(super) is_queued: bool,
}

/// What is known of the register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    /// It has this version; `None` if it is not there.
    Version(Option<Version>),
    /// It may or may not have what was written last.
    Unknown,
    /// Another subscription has opened the cursor.
    TakenOver,
}

impl SharedCursor {
    pub(super) fn new(
        registers: Arc<dyn Registers>,
        key: RegisterKey,
        generation: u64,
        version: Version,
        kept: Kept,
    ) -> Self {
        Self {
            registers,
            key,
            generation,
            state: Mutex::new(State {
                kept,
                stored: Stored::Version(Some(version)),
                written: Instant::now(),
                is_queued: false,
            }),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
