//! A cursor in the hands of its subscription.

use std::fmt;
use std::sync::Arc;

use super::Kept;
use super::queue::Queue;
use super::shared::SharedCursor;

/// A cursor that a subscription uses. When it is dropped, what it keeps is written at once.
pub(crate) struct Cursor {
    shared: Arc<SharedCursor>,
    queue: Arc<Queue>,
}

impl Cursor {
    pub(super) fn new(shared: Arc<SharedCursor>, queue: Arc<Queue>) -> Self {
        Self { shared, queue }
    }

    /// What it keeps.
    pub(crate) fn kept(&self) -> Kept {
        self.shared.state().kept
    }

    /// It keeps this from now on.
    pub(crate) fn keep(&self, kept: Kept) {
        {
            let mut state = self.shared.state();
            if std::mem::replace(&mut state.kept, kept) == kept {
                return;
            }
        }
        self.queue.add(&self.shared, false);
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        self.queue.add(&self.shared, true);
    }
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cursor")
            .field("key", &self.shared.key)
            .finish_non_exhaustive()
    }
}
