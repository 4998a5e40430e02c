//! Trims and removals. The highest document stays, without its content, so that its number is not
//! given again.

use mongodb::Collection;
use mongodb::bson::{Document, doc};

use super::MongoStore;
use super::document::{Stored, TopicState, is_copy, signed};
use super::error::failed;
use super::list::identify;
use crate::{Bounds, Create, Epoch, Offset, Removal, TopicError, TopicName};

/// How many numbers one call removes, so that others are not kept waiting.
const AT_ONCE: usize = 1_000;

impl MongoStore {
    pub(super) async fn trim_up_to(
        &self,
        topic: &TopicName,
        epoch: Epoch,
        up_to: Offset,
    ) -> Result<Bounds, TopicError> {
        let (state, bounds) = self.within(self.bounds(topic)).await?;
        if epoch != bounds.epoch {
            return Ok(bounds);
        }
        let first = up_to.min(bounds.last).saturating_add(1);
        // Readers look at it after they have read records.
        self.within(self.raise(topic, &state, "first", first))
            .await?;
        let records = self.records(topic, epoch);
        let mut from = 1;
        while let Some(lowest) = self.within(self.lowest(&records, from, first)).await? {
            let end = lowest.saturating_add(offset(AT_ONCE)).min(first);
            self.within(self.remove_all(
                &records,
                doc! { "$gte": signed(lowest), "$lt": signed(end) },
                bounds.last,
            ))
            .await?;
            from = end;
        }
        let (_, bounds) = self.within(self.bounds(topic)).await?;
        Ok(bounds)
    }

    pub(super) async fn remove_each(
        &self,
        topic: &TopicName,
        removal: Removal,
    ) -> Result<(), TopicError> {
        let (state, bounds) = self.within(self.bounds(topic)).await?;
        if removal.epoch != bounds.epoch {
            return Ok(());
        }
        self.within(self.raise(topic, &state, "horizon", removal.horizon))
            .await?;
        let records = self.records(topic, removal.epoch);
        let held: Vec<i64> = removal
            .offsets
            .iter()
            .filter(|offset| (1..=bounds.last).contains(*offset))
            .map(|offset| signed(*offset))
            .collect();
        for chunk in held.chunks(AT_ONCE) {
            self.within(self.remove_all(&records, doc! { "$in": chunk }, bounds.last))
                .await?;
        }
        Ok(())
    }

    async fn bounds(&self, topic: &TopicName) -> Result<(TopicState, Bounds), TopicError> {
        let bounds = self.open_topic(topic, Create::Never).await?;
        let state = self.state(topic, Create::Never).await?;
        Ok((state, bounds))
    }

    /// Raises a number of a topic.
    async fn raise(
        &self,
        topic: &TopicName,
        state: &TopicState,
        field: &str,
        number: Offset,
    ) -> Result<(), TopicError> {
        let number = signed(number);
        let mut is_lower = identify(topic, state);
        is_lower.insert(field, doc! { "$lt": number });
        let raise = self
            .0
            .topics
            .update_one(is_lower, doc! { "$set": { field: number } });
        raise.await.map_err(failed)?;
        Ok(())
    }

    /// The lowest document in a range.
    async fn lowest(
        &self,
        records: &Collection<Document>,
        from: Offset,
        end: Offset,
    ) -> Result<Option<Offset>, TopicError> {
        let lowest = records
            .find_one(doc! { "_id": { "$gte": signed(from), "$lt": signed(end) } })
            .sort(doc! { "_id": 1 })
            .projection(doc! { "_id": 1 })
            .await
            .map_err(failed)?;
        let lowest = lowest.as_ref().map(Stored::parse).transpose()?;
        Ok(lowest.map(|lowest| lowest.offset))
    }

    /// Removes documents. That of the offset `last`, which may be the highest, stays without its
    /// content, and so do those that tell a copier of the outbox what it has copied.
    async fn remove_all(
        &self,
        records: &Collection<Document>,
        offsets: Document,
        last: Offset,
    ) -> Result<(), TopicError> {
        let in_range = doc! { "_id": offsets };
        let stays = doc! { "$or": [{ "_id": signed(last) }, { "d": is_copy() }] };
        let empty = doc! { "$and": [&in_range, &stays] };
        let empty = records.update_many(empty, doc! { "$unset": { "c": "" } });
        empty.await.map_err(failed)?;
        let others = doc! { "$and": [in_range, { "$nor": [stays] }] };
        records.delete_many(others).await.map_err(failed)?;
        Ok(())
    }
}

fn offset(count: usize) -> Offset {
    Offset::try_from(count).unwrap_or(Offset::MAX)
}
