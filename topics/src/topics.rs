//! The topics of a process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::timeout;

use crate::core::Core;
use crate::group::{Beats, Group, GroupName, GroupSettings, Handle, Meta, Parts};
use crate::settings::Settings;
use crate::store::Store;
use crate::sweeper::Sweeper;
use crate::topic::Topic;
use crate::wake::WakeUps;
use crate::{Answer, Create, End, TopicError, TopicName};

/// How long a call waits that is not about an open topic.
const DEADLINE: Duration = Duration::from_secs(10);

/// After how long a process that has stopped is replaced in groups, unless it says otherwise.
pub(crate) const LEASE: Duration = Duration::from_secs(10);

const SHORTEST_LEASE: Duration = Duration::from_millis(100);

/// The topics of a store, as a process uses them. A process needs one of these for each store.
///
/// It may be dropped before its topics and groups: what runs for them in this process ends with the
/// last handle of any kind, or by [`close`](Self::close).
#[derive(Debug)]
pub struct Topics {
    store: Store,
    wake_ups: Arc<WakeUps>,
    open: OpenTopics,
    sweeper: Sweeper,
    /// What says that this process lives, once it takes part in a group.
    beats: Arc<Beats>,
    /// The groups of which there are handles. Filled by `group`, which also drains those without,
    /// whenever there are twice as many as the last time.
    groups: Mutex<HashMap<GroupName, Weak<Handle>>>,
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
            beats: Beats::new(Arc::clone(&store.registers), LEASE),
            groups: Mutex::default(),
            store,
        }
    }

    /// The same with another lease time: how long after this process has stopped others take over
    /// what it did in groups. It is 10 s by default, and at least 100 ms. The process must be able to
    /// reach the store within it: a third of it is the time between two signs of life.
    pub fn with_lease(mut self, time: Duration) -> Self {
        let time = time.max(SHORTEST_LEASE);
        self.beats = Beats::new(Arc::clone(&self.store.registers), time);
        self
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
        let core = self.core(name, settings);
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

    /// Opens a group, and creates it if there is none of its name.
    ///
    /// # Errors
    ///
    /// [`TopicError::GroupConflict`] if there is one with other options, [`TopicError::BadName`] if
    /// the name is none, or too long together with that of a topic, [`TopicError::UnknownTopic`] if
    /// there are no topics, [`TopicError::Unsupported`] if one of them is of another store, or that
    /// of the store.
    pub async fn group(&self, name: &str, settings: GroupSettings) -> Result<Group, TopicError> {
        let name = GroupName::new(name)?;
        let GroupSettings {
            topics,
            start,
            options,
        } = settings;
        let cores: Vec<_> = topics
            .iter()
            .map(|topic| Arc::clone(topic.core()))
            .collect();
        let parts = self.parts();
        let create = parts.create(&name, &options, &cores, start);
        let meta = self.call(Box::pin(create)).await?;
        self.open_group(name, meta, cores)
    }

    /// Opens a group as it was created. Topics that are not open here have the default settings.
    ///
    /// # Errors
    ///
    /// [`TopicError::UnknownGroup`], which names the nearest one, or that of the store.
    pub async fn find_group(&self, name: &str) -> Result<Group, TopicError> {
        let name = GroupName::new(name)?;
        let meta = self.call(Box::pin(self.parts().meta(&name))).await?;
        let mut cores = Vec::new();
        for topic in &meta.options.topics {
            let topic = TopicName::new(topic)?;
            let core = self.open.get(&topic);
            cores.push(core.unwrap_or_else(|| Arc::new(self.core(topic, Settings::default()))));
        }
        self.open_group(name, meta, cores)
    }

    /// The names of all groups, in the order of their bytes.
    ///
    /// # Errors
    ///
    /// That of the store.
    pub async fn groups(&self) -> Result<Vec<String>, TopicError> {
        self.call(Box::pin(self.parts().names(None))).await
    }

    /// The names of the groups that read a topic, in the order of their bytes.
    ///
    /// # Errors
    ///
    /// That of the store.
    pub async fn groups_of(&self, topic: &TopicName) -> Result<Vec<String>, TopicError> {
        self.call(Box::pin(self.parts().names(Some(topic.as_str()))))
            .await
    }

    /// Removes a group, and what is known of its progress. Its members end with
    /// [`TopicError::UnknownGroup`]; its dead letters stay. False if there is no such group.
    ///
    /// # Errors
    ///
    /// That of the store.
    pub async fn delete_group(&self, name: &str) -> Result<bool, TopicError> {
        let name = GroupName::new(name)?;
        self.lock_groups().remove(&name);
        self.call(Box::pin(self.parts().delete(&name))).await
    }

    /// A topic of this store, before anybody has it open.
    fn core(&self, name: TopicName, settings: Settings) -> Core {
        let (wake_ups, leases) = (Arc::clone(&self.wake_ups), Arc::clone(&self.sweeper.leases));
        Core::new(name, settings, &self.store, wake_ups, leases)
    }

    fn open_group(
        &self,
        name: GroupName,
        meta: Meta,
        topics: Vec<Arc<Core>>,
    ) -> Result<Group, TopicError> {
        let mut groups = self.lock_groups();
        if let Some(handle) = groups.get(&name).and_then(Weak::upgrade)
            && handle.context.is_of(&meta)
            && !handle.context.is_deleted()
        {
            return Ok(Group::new(handle));
        }
        let (handle, owner) = self.parts().open(name.clone(), meta, topics)?;
        if groups.len() == groups.capacity() {
            groups.retain(|_, handle| handle.strong_count() > 0);
        }
        groups.insert(name, Arc::downgrade(&handle));
        self.wake_ups.tasks().spawn(owner.run());
        Ok(Group::new(handle))
    }

    fn parts(&self) -> Parts {
        Parts {
            store: self.store.clone(),
            wake_ups: Arc::clone(&self.wake_ups),
            beats: Arc::clone(&self.beats),
            sweep_leases: Arc::clone(&self.sweeper.leases),
        }
    }

    fn lock_groups(&self) -> MutexGuard<'_, HashMap<GroupName, Weak<Handle>>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Ends the readers, and every later call of any handle, with [`TopicError::ShuttingDown`].
    pub fn close(&self) {
        self.wake_ups.close();
    }

    /// As [`close`](Self::close), and waits until other processes can have what this one had in
    /// groups: a process that ends without it is missed after its lease time. It waits for 10 s at
    /// most.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, all ends as after [`close`](Self::close).
    pub async fn shut_down(&self) {
        self.close();
        let tasks = self.wake_ups.tasks();
        tasks.close();
        // What is left after that ends with the process.
        timeout(DEADLINE, tasks.wait()).await.ok();
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

    fn lock(&self) -> MutexGuard<'_, HashMap<TopicName, Weak<Core>>> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
