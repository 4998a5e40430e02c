//! One copier: it looks at the outbox again and again, and copies the oldest documents.

use std::collections::{BTreeMap, HashSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mongodb::bson::{Bson, Document, doc};
use mongodb::{Collection, IndexModel};
use tokio::time::{Instant, sleep};

use super::entry::{OutboxDocument, Request};
use super::{Counters, Outbox, OutboxSettings};
use crate::mongo::MongoStore;
use crate::mongo::document::date;
use crate::mongo::error::{failed, is_duplicate};
use crate::wake::WakeUps;
use crate::{Settings, TopicError, TopicName};

/// Documents and bytes that are looked at together.
const BATCH: u32 = 256;
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// The largest document that is kept when it is rejected: with its reason it must be one.
const KEPT: usize = 15 * 1024 * 1024;

/// How often the same trouble is told.
const TELL_EVERY: Duration = Duration::from_secs(10);

pub(super) struct Copier {
    pub(super) store: MongoStore,
    pub(super) wake_ups: Arc<WakeUps>,
    pub(super) settings: OutboxSettings,
    pub(super) counters: Arc<Counters>,
    pub(super) outbox: Collection<Document>,
    rejected: Collection<Document>,
    /// Of records.
    records: Settings,
}

/// Documents of one topic, in their order.
pub(super) type Batch = Vec<(Bson, Request)>;

/// What one run of a copier knows.
#[derive(Default)]
pub(super) struct Run {
    /// Topics in which no copy has an id without a document, as far as earlier copiers are
    /// concerned. Filled by this run; bounded by the topics that are copied to.
    pub(super) tidied: HashSet<TopicName>,
    is_indexed: bool,
    rejected: Told,
    failed: Told,
}

/// A kind of trouble, which is told now and then.
#[derive(Default)]
struct Told {
    last: Option<Instant>,
    since: u64,
}

impl Copier {
    pub(super) fn new(outbox: &Outbox, records: Settings) -> Self {
        let store = outbox.store.clone();
        let named = |name: &str| {
            let state = &store.0;
            state
                .database
                .collection(&format!("{}_{name}", state.prefix))
        };
        Self {
            outbox: named("outbox"),
            rejected: named("outbox_rejected"),
            store,
            wake_ups: Arc::clone(&outbox.wake_ups),
            settings: outbox.settings.clone(),
            counters: Arc::clone(&outbox.counters),
            records,
        }
    }

    pub(super) async fn run(&self) -> Infallible {
        let mut run = Run::default();
        loop {
            let has_more = match self.pass(&mut run).await {
                Ok(has_more) => has_more,
                Err(error) => {
                    run.failed(&error);
                    false
                }
            };
            if !has_more {
                sleep(self.settings.poll).await;
            }
        }
    }

    /// Copies the oldest documents. Whether there were any.
    async fn pass(&self, run: &mut Run) -> Result<bool, TopicError> {
        if !run.is_indexed {
            let keys = doc! { "at": 1, "_id": 1 };
            let index = IndexModel::builder().keys(keys).build();
            self.outbox.create_index(index).await.map_err(failed)?;
            run.is_indexed = true;
        }
        let documents = self.store.within(self.oldest()).await?;
        let has_more = !documents.is_empty();
        let mut by_topic: BTreeMap<TopicName, Batch> = BTreeMap::new();
        for OutboxDocument { id, request } in documents {
            match request {
                Ok(request) => {
                    let batch = by_topic.entry(request.topic.clone()).or_default();
                    batch.push((id, request));
                }
                Err(reason) => self.reject(run, &id, &reason).await?,
            }
        }
        let mut outcome = Ok(has_more);
        for (topic, batch) in by_topic {
            // One topic may fail by itself.
            if let Err(error) = self.copy(run, &topic, &batch).await {
                outcome = Err(error);
            }
        }
        outcome
    }

    async fn oldest(&self) -> Result<Vec<OutboxDocument>, TopicError> {
        let find = self.outbox.find(doc! {}).sort(doc! { "at": 1, "_id": 1 });
        let find = find.limit(BATCH.into()).batch_size(BATCH);
        let mut found = find.await.map_err(failed)?;
        let mut documents = Vec::new();
        let mut bytes: usize = 0;
        while bytes < BATCH_BYTES && found.advance().await.map_err(failed)? {
            bytes = bytes.saturating_add(found.current().as_bytes().len());
            let document = found.deserialize_current().map_err(failed)?;
            documents.push(OutboxDocument::parse(document, &self.records));
        }
        Ok(documents)
    }

    /// Moves a document that cannot be a record. It may be gone already.
    pub(super) async fn reject(
        &self,
        run: &mut Run,
        id: &Bson,
        reason: &str,
    ) -> Result<(), TopicError> {
        let is_moved = self.store.within(self.move_away(id, reason)).await?;
        if is_moved {
            self.counters.rejected.fetch_add(1, Ordering::Relaxed);
            run.rejected(reason);
        }
        Ok(())
    }

    async fn move_away(&self, id: &Bson, reason: &str) -> Result<bool, TopicError> {
        let is_it = doc! { "_id": { "$eq": id } };
        let found = self.outbox.find_one(is_it.clone()).await.map_err(failed)?;
        let Some(document) = found else {
            return Ok(false);
        };
        let now = date(self.store.now().await?);
        let mut rejected = doc! { "_id": id, "reason": reason, "at": now };
        let size = mongodb::bson::serialize_to_vec(&document).map_or(usize::MAX, |it| it.len());
        if size <= KEPT {
            rejected.insert("document", document);
        }
        match self.rejected.insert_one(rejected).await {
            Err(error) if !is_duplicate(&error) => return Err(failed(error)),
            _ => {}
        }
        let removed = self.outbox.delete_one(is_it).await.map_err(failed)?;
        Ok(removed.deleted_count > 0)
    }
}

impl Run {
    fn rejected(&mut self, reason: &str) {
        if let Some(count) = self.rejected.tell() {
            tracing::warn!(count, reason, "Documents of the outbox were rejected.");
        }
    }

    fn failed(&mut self, error: &TopicError) {
        if let Some(count) = self.failed.tell() {
            tracing::warn!(%error, count, "The outbox is not copied.");
        }
    }
}

impl Told {
    /// How many there are to tell, if it is time to tell them.
    fn tell(&mut self) -> Option<u64> {
        self.since = self.since.saturating_add(1);
        if self.last.is_some_and(|last| last.elapsed() < TELL_EVERY) {
            return None;
        }
        self.last = Some(Instant::now());
        Some(std::mem::take(&mut self.since))
    }
}
