//! The list of topics: how one is created, found, lost and deleted.
//!
//! A topic is two things, its document in the list and the collection of its records, and no step
//! writes both. So the document says which step comes next, and whoever finds it does that step.

use mongodb::bson::{Document, doc};
use mongodb::options::IndexOptions;
use mongodb::{Collection, IndexModel};

use super::document::{Stage, Stored, Tail, TopicState, end, start};
use super::error::{failed, is_duplicate};
use super::{MongoStore, Pause};
use crate::{Bounds, Create, Epoch, TopicError, TopicName};

/// How often a topic may be another one than a moment ago while one call is trying to use it.
const ATTEMPTS: usize = 8;

impl MongoStore {
    pub(super) async fn open_topic(
        &self,
        topic: &TopicName,
        create: Create,
    ) -> Result<Bounds, TopicError> {
        for _ in 0..ATTEMPTS {
            let state = self.state(topic, create).await?;
            match self.tail(&self.records(topic, state.epoch)).await? {
                Some(tail) => return Ok(state.bounds(&tail)),
                None => self.lose(topic, &state).await?,
            }
        }
        Err(TopicError::Unavailable(None))
    }

    /// What the list says of a topic that can be used.
    pub(super) async fn state(
        &self,
        topic: &TopicName,
        create: Create,
    ) -> Result<TopicState, TopicError> {
        for _ in 0..ATTEMPTS {
            match self.entry(topic).await? {
                Some(state) if state.stage == Stage::Open => return Ok(state),
                Some(state) if state.stage == Stage::Creating => {
                    self.complete(topic, &state).await?;
                }
                _ if create == Create::Never => {
                    self.0.turns.forget(topic);
                    return Err(TopicError::UnknownTopic);
                }
                Some(state) => self.remove_topic(topic, &state).await?,
                None => self.enter(topic).await?,
            }
        }
        Err(TopicError::Unavailable(None))
    }

    /// The end of the log, or `None` if its collection is gone.
    pub(super) async fn tail(
        &self,
        records: &Collection<Document>,
    ) -> Result<Option<Tail>, TopicError> {
        let highest = records
            .find_one(doc! { "_id": { "$gte": 0_i64 } })
            .sort(doc! { "_id": -1 })
            .projection(doc! { "c": 0 })
            .await
            .map_err(failed)?;
        let highest = highest.as_ref().map(Stored::parse).transpose()?;
        Ok(highest.as_ref().map(Tail::of))
    }

    /// Gives a topic whose records are gone another epoch.
    pub(super) async fn lose(
        &self,
        topic: &TopicName,
        state: &TopicState,
    ) -> Result<(), TopicError> {
        let new = TopicState::new(Epoch::draw());
        let is_it = identify(topic, state);
        let lost = self
            .0
            .topics
            .update_one(is_it, doc! { "$set": new.fields() });
        let lost = lost.await.map_err(failed)?;
        if lost.matched_count > 0 {
            tracing::warn!(%topic, "The records of a topic are gone; it begins again.");
        }
        Ok(())
    }

    pub(super) async fn close_topic(&self, topic: &TopicName) -> Result<(), TopicError> {
        let mut pause = Pause::new();
        loop {
            let state = self.state(topic, Create::Never).await?;
            let records = self.records(topic, state.epoch);
            let Some(tail) = self.tail(&records).await? else {
                self.lose(topic, &state).await?;
                continue;
            };
            if tail.closed {
                return Ok(());
            }
            match records.insert_one(end(&tail)).await {
                Ok(_) => return Ok(()),
                Err(error) if is_duplicate(&error) => pause.wait().await,
                Err(error) => return Err(failed(error)),
            }
        }
    }

    pub(super) async fn delete_topic(&self, topic: &TopicName) -> Result<(), TopicError> {
        while let Some(state) = self.entry(topic).await? {
            let deleting = doc! { "$set": { "stage": Stage::Deleting.as_str() } };
            let marked = self.0.topics.update_one(identify(topic, &state), deleting);
            if marked.await.map_err(failed)?.matched_count > 0 {
                self.remove_topic(topic, &state).await?;
                break;
            }
        }
        self.0.turns.forget(topic);
        Ok(())
    }

    pub(super) async fn names(
        &self,
        prefix: &str,
        after: Option<&TopicName>,
        limit: usize,
    ) -> Result<Vec<TopicName>, TopicError> {
        let from = match after {
            Some(after) if after.as_str() >= prefix => doc! { "$gt": after.as_str() },
            _ => doc! { "$gte": prefix },
        };
        let mut found = Vec::new();
        if limit == 0 {
            return Ok(found);
        }
        let listed = doc! { "_id": from, "stage": { "$ne": Stage::Deleting.as_str() } };
        let find = self.0.topics.find(listed).sort(doc! { "_id": 1 });
        let mut documents = find
            .projection(doc! { "_id": 1 })
            .limit(limit.try_into().unwrap_or(i64::MAX))
            .await
            .map_err(failed)?;
        while documents.advance().await.map_err(failed)? {
            let document = documents.deserialize_current().map_err(failed)?;
            let name = document.get_str("_id").unwrap_or_default();
            if !name.starts_with(prefix) {
                break;
            }
            found.push(TopicName::new(name)?);
        }
        Ok(found)
    }

    async fn entry(&self, topic: &TopicName) -> Result<Option<TopicState>, TopicError> {
        let found = self.0.topics.find_one(doc! { "_id": topic.as_str() });
        let found = found.await.map_err(failed)?;
        found.as_ref().map(TopicState::parse).transpose()
    }

    /// Enters a topic that is to be created.
    async fn enter(&self, topic: &TopicName) -> Result<(), TopicError> {
        let mut document = doc! { "_id": topic.as_str() };
        document.extend(TopicState::new(Epoch::draw()).fields());
        match self.0.topics.insert_one(document).await {
            // Or somebody else is creating it.
            Err(error) if !is_duplicate(&error) => Err(failed(error)),
            _ => Ok(()),
        }
    }

    /// Makes the collection of a topic that is being created.
    async fn complete(&self, topic: &TopicName, state: &TopicState) -> Result<(), TopicError> {
        let records = self.records(topic, state.epoch);
        let options = IndexOptions::builder().unique(true).sparse(true).build();
        let index = IndexModel::builder().keys(doc! { "d": 1 }).options(options);
        records.create_index(index.build()).await.map_err(failed)?;
        match records.insert_one(start(self.now().await?)).await {
            Err(error) if !is_duplicate(&error) => return Err(failed(error)),
            _ => {}
        }
        let open = doc! { "$set": { "stage": Stage::Open.as_str() } };
        let opened = self.0.topics.update_one(identify(topic, state), open);
        opened.await.map_err(failed)?;
        Ok(())
    }

    /// Removes a topic that is being deleted.
    async fn remove_topic(&self, topic: &TopicName, state: &TopicState) -> Result<(), TopicError> {
        let records = self.records(topic, state.epoch);
        records.drop().await.map_err(failed)?;
        let deleting = TopicState {
            stage: Stage::Deleting,
            ..*state
        };
        let removed = self.0.topics.delete_one(identify(topic, &deleting));
        removed.await.map_err(failed)?;
        Ok(())
    }
}

/// The document of a topic, if it has not changed its epoch or stage.
pub(super) fn identify(topic: &TopicName, state: &TopicState) -> Document {
    doc! {
        "_id": topic.as_str(),
        "epoch": state.epoch.to_u64().cast_signed(),
        "stage": state.stage.as_str(),
    }
}
