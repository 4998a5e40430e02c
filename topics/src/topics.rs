//! The topics of a process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::time::timeout;

use crate::core::Core;
use crate::settings::Settings;
use crate::store::Store;
use crate::sweeper::Sweeper;
use crate::topic::Topic;
use crate::wake::WakeUps;
use crate::{Answer, Create, End, TopicError, TopicName};

/// How long a call waits that is not about an open topic.
const DEADLINE: Duration = Duration::from_secs(10);

/// The topics of a store, as a process uses them. A process needs one of these for each store.
///
/// Dropping it, or [`close`](Self::close), ends the readers.
#[derive(Debug)]
pub struct Topics {
    store: Store,
    wake_ups: Arc<WakeUps>,
    open: OpenTopics,
    sweeper: Sweeper,
}

/// The topics of which there are handles.
#[derive(Debug, Default)]
struct OpenTopics {
    /// Filled by `topic`, which also drains those without handles, whenever there are twice as many
    /// as the last time.
    by_name: Mutex<HashMap<TopicName, Weak<Core>>>,
}

impl Topics {
    /// The topics of this store. Must be called in a Tokio runtime with time.
    pub fn open(store: impl Into<Store>) -> Self {
        let store = store.into();
        Self {
            wake_ups: WakeUps::new(Arc::clone(&store.channels)),
            open: OpenTopics::default(),
            sweeper: Sweeper::new(&store),
            store,
        }
    }

    /// Opens a topic, and creates it if the settings allow that.
    ///
    /// While there is a handle of it in this process, another one must have the same settings.
    ///
    /// # Errors
    ///
    /// [`TopicError::BadName`], [`TopicError::UnknownTopic`], [`TopicError::ConfigConflict`],
    /// [`TopicError::Unsupported`], or that of the store.
    pub async fn topic<N>(&self, name: N, settings: Settings) -> Result<Topic, TopicError>
    where
        N: TryInto<TopicName>,
        TopicError: From<N::Error>,
    {
        let name = name.try_into()?;
        if settings.compaction.is_some() && !self.store.log.features().remove {
            let what = "remove single records, which compaction does";
            return Err(TopicError::Unsupported { what });
        }
        let create = if settings.auto_create {
            Create::IfMissing
        } else {
            Create::Never
        };
        let log = Arc::clone(&self.store.log);
        let (wake_ups, leases) = (Arc::clone(&self.wake_ups), Arc::clone(&self.sweeper.leases));
        let core = Core::new(name.clone(), settings, log, wake_ups, leases);
        core.call(core.log.open(&core.name, create)).await?;
        let core = Arc::new(core);
        let open = self.open.add(&core)?;
        if Arc::ptr_eq(&open, &core) {
            self.sweeper.start(&core, self.wake_ups.tasks());
        }
        Ok(Topic::new(open))
    }

    /// The names of topics that begin with `prefix`, in the order of their bytes: at most `limit`
    /// of those behind `after`.
    ///
    /// # Errors
    ///
    /// That of the store.
    pub async fn list(
        &self,
        prefix: &str,
        after: Option<&TopicName>,
        limit: usize,
    ) -> Result<Vec<TopicName>, TopicError> {
        self.call(self.store.log.list(prefix, after, limit)).await
    }

    /// Removes a topic with its records, which need not be open here. No error if there is none.
    /// See [`Topic::delete`] for its handles.
    ///
    /// # Errors
    ///
    /// That of the store.
    pub async fn delete(&self, name: &TopicName) -> Result<(), TopicError> {
        if let Some(core) = self.open.get(name) {
            return Topic::new(core).delete().await;
        }
        self.call(self.store.log.end(name, End::Delete)).await?;
        let store_announces = self.store.log.features().announces;
        self.wake_ups.grew(name, store_announces);
        self.sweeper.leases.forget(name).await;
        Ok(())
    }

    /// An answer of the store that is not about an open topic.
    async fn call<T>(&self, answer: Answer<'_, T>) -> Result<T, TopicError> {
        if self.wake_ups.closed().is_cancelled() {
            return Err(TopicError::ShuttingDown);
        }
        let answered = timeout(DEADLINE, answer).await;
        answered.unwrap_or(Err(TopicError::Unavailable(None)))
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Wakes the readers of topics to which something else than a handle has appended.
    #[cfg(feature = "mongo")]
    pub(crate) fn wake_ups(&self) -> &Arc<WakeUps> {
        &self.wake_ups
    }

    /// Ends the readers, and every later call, with [`TopicError::ShuttingDown`].
    pub fn close(&self) {
        self.wake_ups.closed().cancel();
    }
}

impl Drop for Topics {
    fn drop(&mut self) {
        self.close();
    }
}

impl OpenTopics {
    fn get(&self, name: &TopicName) -> Option<Arc<Core>> {
        self.lock().get(name).and_then(Weak::upgrade)
    }

    /// The topic that is open under this name, else this one.
    fn add(&self, core: &Arc<Core>) -> Result<Arc<Core>, TopicError> {
        let mut open = self.lock();
        let found = open.get(&core.name).and_then(Weak::upgrade);
        match found.filter(|open| !open.is_deleted()) {
            Some(open) if open.settings == core.settings => Ok(open),
            Some(_) => Err(TopicError::ConfigConflict),
            None => {
                if open.len() == open.capacity() {
                    open.retain(|_, core| core.strong_count() > 0);
                }
                open.insert(core.name.clone(), Arc::downgrade(core));
                Ok(Arc::clone(core))
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<TopicName, Weak<Core>>> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
