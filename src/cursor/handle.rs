//! A cursor in the hands of its subscription.

use std::fmt;
use std::sync::Arc;

use super::Kept;
use super::cell::Cell;
use super::queue::Queue;

/// A cursor that a subscription uses. When it is dropped, what it keeps is written at once.
pub(crate) struct Cursor {
    cell: Arc<Cell>,
    queue: Arc<Queue>,
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

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cursor")
            .field("key", &self.cell.key)
            .finish_non_exhaustive()
    }
}
