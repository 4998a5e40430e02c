//! A cursor in use: what it keeps, and what its register has.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;
use updraft_topics::{RegisterKey, Registers, Version};

use super::Kept;
use super::queue::Queue;

/// A cursor that a subscription uses. When it is dropped, what it keeps is written at once.
pub(crate) struct Cursor {
    cell: Arc<Cell>,
    queue: Arc<Queue>,
}

/// The state of a cursor, which the subscription and the writer share.
pub(super) struct Cell {
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

impl Cursor {
    pub(super) fn new(cell: Arc<Cell>, queue: Arc<Queue>) -> Self {
        Self { cell, queue }
    }

    /// What it keeps.
    pub(crate) fn kept(&self) -> Kept {
        self.cell.state().kept
    }

    /// It keeps this from now on.
    pub(crate) fn keep(&self, kept: Kept) {
        {
            let mut state = self.cell.state();
            if std::mem::replace(&mut state.kept, kept) == kept {
                return;
            }
        }
        self.queue.add(&self.cell, false);
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        self.queue.add(&self.cell, true);
    }
}

impl Cell {
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

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cursor")
            .field("key", &self.cell.key)
            .finish_non_exhaustive()
    }
}
