//! The copying of a batch to its topic.
//!
//! While a copier sleeps, anywhere, another one may copy a document, remove it, and take back the id
//! of its copy. So a copier looks at three things, in this order: the end of the topic, which copies
//! are there, which documents are there. Then it inserts right behind that end. A copy that was made
//! since is in its way; of one that was made before, it has seen the copy, or that the document is
//! gone.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use mongodb::Collection;
use mongodb::bson::{Bson, Document, doc};
use mongodb::options::ReadConcern;

use super::copier::{Batch, Copier, Run};
use super::entry::CopyId;
use crate::mongo::Pause;
use crate::mongo::document::{is_copy, record};
use crate::mongo::error::failed;
use crate::{Create, TopicError, TopicName};

/// How many ids of copies are compared with the outbox at once.
const AT_ONCE: i64 = 1_000;

/// What became of a batch.
enum Appended {
    /// So many were inserted, and more are left.
    Some(usize),
    /// So many were inserted, and all are copied.
    All(usize),
    /// Some are left, and the topic is closed.
    Closed,
}

impl Copier {
    pub(super) async fn copy(
        &self,
        run: &mut Run,
        topic: &TopicName,
        batch: &Batch,
    ) -> Result<(), TopicError> {
        let create = if self.settings.auto_create {
            Create::IfMissing
        } else {
            Create::Never
        };
        match self
            .store
            .within(self.store.open_topic(topic, create))
            .await
        {
            Err(error @ TopicError::UnknownTopic) => {
                return self.reject_all(run, batch, &error).await;
            }
            opened => drop(opened?),
        }
        if !run.tidied.contains(topic) {
            self.store.within(self.tidy(topic)).await?;
            run.tidied.insert(topic.clone());
        }
        let mut pause = Pause::new();
        loop {
            match self.store.within(self.append(topic, batch)).await? {
                Appended::Closed => {
                    return self.reject_all(run, batch, &TopicError::Closed).await;
                }
                Appended::Some(count) => {
                    self.note(topic, count);
                    pause.wait().await;
                }
                Appended::All(count) => {
                    self.note(topic, count);
                    return self.store.within(self.remove(topic, batch)).await;
                }
            }
        }
    }

    fn note(&self, topic: &TopicName, count: usize) {
        if count > 0 {
            self.wake_ups.grew(topic, false);
            let count = u64::try_from(count).unwrap_or(u64::MAX);
            self.counters.copied.fetch_add(count, Ordering::Relaxed);
        }
    }

    async fn reject_all(
        &self,
        run: &mut Run,
        batch: &Batch,
        error: &TopicError,
    ) -> Result<(), TopicError> {
        for (id, _) in batch {
            self.reject(run, id, &error.to_string()).await?;
        }
        Ok(())
    }

    /// Appends those documents of a batch that are not copied yet.
    async fn append(&self, topic: &TopicName, batch: &Batch) -> Result<Appended, TopicError> {
        let records = self.topic_records(topic).await?;
        let Some(tail) = self.store.tail(&records).await? else {
            // Opening it again gives it another epoch.
            return Err(TopicError::Unavailable(None));
        };
        let copied = copies(&records, batch).await?;
        let present = self
            .present(batch.iter().map(|(id, _)| id).collect())
            .await?;
        let left: Vec<_> = batch
            .iter()
            .map(|(_, request)| request)
            .filter(|it| !copied.contains(&it.copy_id) && present.contains(&it.copy_id))
            .collect();
        if left.is_empty() {
            return Ok(Appended::All(0));
        }
        if tail.closed {
            return Ok(Appended::Closed);
        }
        let time = self.store.now().await?.max(tail.time);
        let offsets = tail.last.saturating_add(1)..;
        let documents: Vec<_> = left
            .iter()
            .zip(offsets)
            .map(|(request, offset)| {
                let mut document = record(&request.record, offset, time);
                document.insert("d", request.copy_id.to_bson());
                document
            })
            .collect();
        let inserted = self.store.insert_documents(&records, &documents).await?;
        Ok(if inserted == documents.len() {
            Appended::All(inserted)
        } else {
            Appended::Some(inserted)
        })
    }

    /// Removes documents that are copied, and then the ids of their copies.
    async fn remove(&self, topic: &TopicName, batch: &Batch) -> Result<(), TopicError> {
        let ids: Vec<_> = batch.iter().map(|(id, _)| id).collect();
        let copied = doc! { "_id": { "$in": ids } };
        self.outbox.delete_many(copied).await.map_err(failed)?;
        let copies = batch.iter().map(|(_, request)| &request.copy_id);
        forget(&self.topic_records(topic).await?, copies).await
    }

    /// Removes the ids that a copier has left that ended after it had removed their documents.
    async fn tidy(&self, topic: &TopicName) -> Result<(), TopicError> {
        let records = self.topic_records(topic).await?;
        let copies = find(&records, is_copy(), AT_ONCE).await?;
        let ids: Vec<_> = copies.iter().filter_map(CopyId::document_id).collect();
        let present = self.present(ids.iter().collect()).await?;
        let left = copies.iter().filter(|copy| !present.contains(*copy));
        forget(&records, left).await
    }

    /// Which of these documents are there, by the ids of their copies. A new primary may not know for a
    /// while what is on a majority: what it has itself counts.
    async fn present(&self, ids: Vec<&Bson>) -> Result<HashSet<CopyId>, TopicError> {
        let mut present = HashSet::new();
        let find = self.outbox.find(doc! { "_id": { "$in": ids } });
        let find = find.projection(doc! { "_id": 1 });
        let mut found = find
            .read_concern(ReadConcern::local())
            .await
            .map_err(failed)?;
        while found.advance().await.map_err(failed)? {
            let document = found.deserialize_current().map_err(failed)?;
            present.extend(document.get("_id").and_then(|id| CopyId::of(id).ok()));
        }
        Ok(present)
    }

    async fn topic_records(&self, topic: &TopicName) -> Result<Collection<Document>, TopicError> {
        let state = self.store.state(topic, Create::Never).await?;
        Ok(self.store.records(topic, state.epoch))
    }
}

/// Which documents of a batch have a copy.
async fn copies(
    records: &Collection<Document>,
    batch: &Batch,
) -> Result<HashSet<CopyId>, TopicError> {
    let ids = batch.iter().map(|(_, request)| request.copy_id.to_bson());
    let ids: Vec<_> = ids.collect();
    find(records, doc! { "$in": ids }, 0).await
}

/// The ids of copies, at most so many, or all if that is 0.
async fn find(
    records: &Collection<Document>,
    ids: Document,
    limit: i64,
) -> Result<HashSet<CopyId>, TopicError> {
    let mut copies = HashSet::new();
    let find = records.find(doc! { "d": ids }).limit(limit);
    let mut found = find.projection(doc! { "d": 1 }).await.map_err(failed)?;
    while found.advance().await.map_err(failed)? {
        let document = found.deserialize_current().map_err(failed)?;
        copies.extend(document.get("d").and_then(CopyId::parse));
    }
    Ok(copies)
}

async fn forget(
    records: &Collection<Document>,
    copies: impl Iterator<Item = &CopyId>,
) -> Result<(), TopicError> {
    let ids: Vec<_> = copies.map(CopyId::to_bson).collect();
    if !ids.is_empty() {
        let copied = doc! { "d": { "$in": ids } };
        let forget = records.update_many(copied, doc! { "$unset": { "d": "" } });
        forget.await.map_err(failed)?;
    }
    Ok(())
}
