//! The turns of those who append to one topic in this process. Without them they would be in each
//! other's way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedMutexGuard;

use crate::{Epoch, TopicName};

/// The epoch that a topic had when somebody here looked last: what is read of it is read at once,
/// and the epoch is compared.
pub(super) type Turn = OwnedMutexGuard<Option<Epoch>>;

/// One for each topic that was appended to.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Filled by `take`, drained by `forget`; bounded by the topics that a program appends to.
    by_topic: Mutex<HashMap<TopicName, Arc<tokio::sync::Mutex<Option<Epoch>>>>>,
}

impl Turns {
    /// Waits for all that came before.
    pub(super) async fn take(&self, topic: &TopicName) -> Turn {
        let turn = Arc::clone(self.lock().entry(topic.clone()).or_default());
        turn.lock_owned().await
    }

    /// The topic is gone.
    pub(super) fn forget(&self, topic: &TopicName) {
        self.lock().remove(topic);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TopicName, Arc<tokio::sync::Mutex<Option<Epoch>>>>> {
        self.by_topic.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
