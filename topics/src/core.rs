//! What all handles of a topic in this process share: its settings, the calls to the store, and how
//! many records may wait.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex, Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::group::GroupName;
use crate::index::Index;
use crate::resume::page_of;
use crate::settings::Settings;
use crate::sweep_lease::SweepLeases;
use crate::wake::{WakeUps, Watcher};
use crate::{
    Answer, Bounds, Create, End, Limit, Log, NewRecord, Page, Place, Registers, Store, TopicError,
    TopicName,
};

/// An open topic.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) name: TopicName,
    pub(crate) settings: Settings,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) registers: Arc<dyn Registers>,
    wake_ups: Arc<WakeUps>,
    sweep_leases: Arc<SweepLeases>,
    /// One permit for each record that may wait for the store.
    records: Semaphore,
    /// One permit for each byte of these.
    bytes: Semaphore,
    /// Set when a handle of this process has deleted the topic: then it is not created again.
    is_deleted: AtomicBool,
    /// Cancelled when nobody in this process has the topic open any more, or it was deleted.
    ended: CancellationToken,
    /// What retention and compaction know of the topic, as soon as they have looked.
    pub(crate) index: Mutex<Option<Index>>,
    /// Records that compaction has removed.
    compacted: AtomicU64,
    /// Groups that do not hold the topic any more. As many as it has groups.
    inactive: StdMutex<BTreeSet<String>>,
    /// What `floors` has found.
    holder: StdMutex<Option<Holder>>,
    /// The bounds that were looked at last, and when they were asked for.
    looked: Mutex<Option<(Instant, Bounds)>>,
}

/// The group that has finished the least of a topic.
#[derive(Clone, Debug)]
pub(crate) struct Holder {
    pub(crate) group: GroupName,
    /// When all groups were looked at.
    pub(crate) looked: Instant,
}

impl Core {
    pub(crate) fn new(
        name: TopicName,
        settings: Settings,
        store: &Store,
        wake_ups: Arc<WakeUps>,
        sweep_leases: Arc<SweepLeases>,
    ) -> Self {
        Self {
            name,
            records: Semaphore::new(permits(settings.queued_records)),
            bytes: Semaphore::new(permits(settings.queued_bytes)),
            settings,
            log: Arc::clone(&store.log),
            registers: Arc::clone(&store.registers),
            ended: wake_ups.closed().child_token(),
            wake_ups,
            sweep_leases,
            is_deleted: AtomicBool::new(false),
            index: Mutex::default(),
            compacted: AtomicU64::new(0),
            inactive: StdMutex::default(),
            holder: StdMutex::default(),
            looked: Mutex::default(),
        }
    }

    /// An answer of the store, within the deadline.
    pub(crate) async fn call<T>(&self, answer: Answer<'_, T>) -> Result<T, TopicError> {
        self.within_deadline(self.ask(answer)).await
    }

    /// As [`call`](Self::call). A topic that has vanished from the store is created again first.
    pub(crate) async fn call_again<'a, T>(
        &'a self,
        ask: impl Fn() -> Answer<'a, T>,
    ) -> Result<T, TopicError> {
        self.within_deadline(self.ask_again(ask)).await
    }

    /// The same for a caller who has a deadline already.
    pub(crate) async fn ask_again<'a, T>(
        &'a self,
        ask: impl Fn() -> Answer<'a, T>,
    ) -> Result<T, TopicError> {
        match self.ask(ask()).await {
            Err(TopicError::UnknownTopic) if !self.is_deleted() => {
                self.ask(self.log.open(&self.name, Create::IfMissing))
                    .await?;
                self.ask(ask()).await
            }
            outcome => outcome,
        }
    }

    async fn ask<T>(&self, answer: Answer<'_, T>) -> Result<T, TopicError> {
        if self.wake_ups.closed().is_cancelled() {
            return Err(TopicError::ShuttingDown);
        }
        answer.await
    }

    async fn within_deadline<T>(
        &self,
        asking: impl Future<Output = Result<T, TopicError>>,
    ) -> Result<T, TopicError> {
        let outcome = timeout(self.settings.deadline, asking).await;
        outcome.unwrap_or(Err(TopicError::Unavailable(None)))
    }

    /// Waits for something, but not for longer than the topics are open.
    ///
    /// # Errors
    ///
    /// [`TopicError::ShuttingDown`].
    pub(crate) async fn until_closed<T>(
        &self,
        waiting: impl Future<Output = T>,
    ) -> Result<T, TopicError> {
        let closed = self.wake_ups.closed();
        let waited = closed.run_until_cancelled(waiting).await;
        waited.ok_or(TopicError::ShuttingDown)
    }

    pub(crate) async fn bounds(&self) -> Result<Bounds, TopicError> {
        self.call_again(|| self.log.open(&self.name, Create::Never))
            .await
    }

    /// The bounds as they were at most so long ago: many who look from time to time share a call.
    pub(crate) async fn recent_bounds(&self, age: Duration) -> Result<Bounds, TopicError> {
        let mut looked = self.looked.lock().await;
        match *looked {
            Some((asked, bounds)) if asked.elapsed() < age => Ok(bounds),
            _ => {
                let asked = Instant::now();
                let bounds = self.call(self.log.open(&self.name, Create::Never)).await?;
                *looked = Some((asked, bounds));
                Ok(bounds)
            }
        }
    }

    /// The records behind a place of this topic.
    ///
    /// # Errors
    ///
    /// [`TopicError::Reset`], or as [`Log::read`].
    pub(crate) async fn page(&self, after: Place, limit: Limit) -> Result<Page, TopicError> {
        let read = self
            .call_again(|| self.log.read(&self.name, after, limit))
            .await?;
        page_of(read, &self.name)
    }

    /// A place in the queue, which is given up when it is dropped. A batch that is larger than the
    /// queue has all of it.
    pub(crate) async fn queue(
        &self,
        records: &[NewRecord],
    ) -> Option<(SemaphorePermit<'_>, SemaphorePermit<'_>)> {
        let count = permits(self.settings.queued_records).min(records.len());
        let bytes = records.iter().fold(0, |sum: usize, record| {
            sum.saturating_add(record.content.size())
        });
        let bytes = permits(self.settings.queued_bytes).min(bytes);
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        // They are never closed.
        let count = self.records.acquire_many(number(count)).await.ok()?;
        let bytes = self.bytes.acquire_many(number(bytes)).await.ok()?;
        Some((count, bytes))
    }

    /// Wakes the readers.
    pub(crate) fn grew(&self) {
        let store_announces = self.log.features().announces;
        self.wake_ups.grew(&self.name, store_announces);
    }

    pub(crate) fn watch(&self) -> Watcher {
        self.wake_ups.watch(&self.name)
    }

    pub(crate) fn ended(&self) -> &CancellationToken {
        &self.ended
    }

    pub(crate) fn compacted(&self) -> u64 {
        self.compacted.load(Ordering::Relaxed)
    }

    pub(crate) fn add_compacted(&self, records: usize) {
        let records = u64::try_from(records).unwrap_or(u64::MAX);
        self.compacted.fetch_add(records, Ordering::Relaxed);
    }

    /// Says which groups have become inactive since the last time.
    pub(crate) fn tell_inactive(&self, inactive: BTreeSet<String>) {
        let mut known = self.inactive.lock().unwrap_or_else(PoisonError::into_inner);
        for group in inactive.difference(&known) {
            tracing::warn!(
                topic = %self.name,
                group,
                "The group has had no members for too long: it does not hold the topic any more."
            );
        }
        *known = inactive;
    }

    pub(crate) fn holder(&self) -> Option<Holder> {
        let holder = self.holder.lock().unwrap_or_else(PoisonError::into_inner);
        holder.clone()
    }

    pub(crate) fn set_holder(&self, holder: Option<Holder>) {
        *self.holder.lock().unwrap_or_else(PoisonError::into_inner) = holder;
    }

    pub(crate) fn is_deleted(&self) -> bool {
        self.is_deleted.load(Ordering::Acquire)
    }

    /// Removes the topic from the store.
    ///
    /// # Errors
    ///
    /// That of the store.
    pub(crate) async fn delete(&self) -> Result<(), TopicError> {
        self.is_deleted.store(true, Ordering::Release);
        self.ended.cancel();
        self.call(self.log.end(&self.name, End::Delete)).await?;
        self.grew();
        self.sweep_leases.forget(&self.name).await;
        Ok(())
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.ended.cancel();
    }
}

/// At least one, and no more than a caller can ask for at once.
fn permits(count: usize) -> usize {
    let most = usize::try_from(u32::MAX).unwrap_or(usize::MAX);
    count.clamp(1, most.min(Semaphore::MAX_PERMITS))
}
