//! Mail that a session reads later.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use super::{Address, Mail};

/// Mail that a session reads later. Mail that is dropped unread is no longer counted either.
pub(crate) struct Backlog {
    address: Arc<Address>,
    /// Filled while much output waits for the client, drained as the client takes it; bounded by
    /// the memory limit of the process.
    queue: VecDeque<Mail>,
}

impl Backlog {
    pub(crate) fn new(address: Arc<Address>) -> Self {
        Self {
            address,
            queue: VecDeque::new(),
        }
    }

    pub(crate) fn push(&mut self, mail: Mail) {
        self.queue.push_back(mail);
    }

    /// The next mail. It counts as read from here on.
    pub(crate) fn pop(&mut self) -> Option<Mail> {
        let mail = self.queue.pop_front()?;
        self.address.received(&mail);
        Some(mail)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

impl Drop for Backlog {
    fn drop(&mut self) {
        while self.pop().is_some() {}
    }
}

impl fmt::Debug for Backlog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backlog")
            .field("len", &self.queue.len())
            .finish_non_exhaustive()
    }
}
