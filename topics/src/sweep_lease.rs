//! The leases by which processes that share a store agree on who sweeps a topic.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::{Lease, RegisterKey, Registers, Store, Swap, Swapped, TopicError, TopicName};

/// After how long another process goes on when the one that has swept has died. A topic may hold
/// more until then.
const TIME: Duration = Duration::from_secs(10);

/// How long a lease that is of no more use may take to be removed.
const PATIENCE: Duration = Duration::from_secs(5);

/// The registers of the leases, by the name of the topic.
const NAMESPACE: &str = "updraft/sweeper";

/// The leases of a store, one for each topic that is swept.
#[derive(Debug)]
pub(crate) struct SweepLeases {
    /// `None` if no other process can use the store.
    registers: Option<Arc<dyn Registers>>,
}

impl SweepLeases {
    pub(crate) fn new(store: &Store) -> Self {
        let is_shared = store.log.features().shared;
        Self {
            registers: is_shared.then(|| Arc::clone(&store.registers)),
        }
    }

    /// The lease that who sweeps a topic must have; `None` if there is nobody else.
    pub(crate) fn of(&self, topic: &TopicName) -> Option<Lease> {
        let (registers, key) = self.register(topic)?;
        Some(Lease::new(Arc::clone(registers), key, TIME))
    }

    /// Removes the lease of a topic that was deleted, so that nothing is left of it. If another
    /// process has it, it takes it anew.
    pub(crate) async fn forget(&self, topic: &TopicName) {
        let Some((registers, key)) = self.register(topic) else {
            return;
        };
        let removed = timeout(PATIENCE, remove(&**registers, &key)).await;
        if let Err(error) = removed.unwrap_or(Err(TopicError::Unavailable(None))) {
            tracing::debug!(%topic, %error, "the lease of a topic is left");
        }
    }

    fn register(&self, topic: &TopicName) -> Option<(&Arc<dyn Registers>, RegisterKey)> {
        // The name of a topic is always one of a register.
        let key = RegisterKey::new(NAMESPACE, topic.as_str()).ok()?;
        Some((self.registers.as_ref()?, key))
    }
}

async fn remove(registers: &dyn Registers, key: &RegisterKey) -> Result<(), TopicError> {
    loop {
        let found = registers.get(std::slice::from_ref(key)).await?;
        let Some(Some(register)) = found.first() else {
            return Ok(());
        };
        // This process may be freeing it.
        let remove = Swap::remove(key.clone(), Some(register.version));
        if let [Swapped::Removed] = registers.swap(vec![remove]).await?[..] {
            return Ok(());
        }
    }
}
