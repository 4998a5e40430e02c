//! Reading. A page is one query and one look at the list of topics behind it: what was trimmed
//! while the query ran is below the `first` that is read afterwards.

use bytes::Bytes;
use mongodb::Collection;
use mongodb::bson::{Document, doc};

use super::MongoStore;
use super::document::{Part, Stored, Tail, signed};
use super::error::failed;
use crate::{
    Bounds, Create, Limit, Mark, Offset, Page, Place, Read, Record, TopicError, TopicName,
};

/// The most documents that one query asks for, and that come with one answer of it.
const QUERY: usize = 10_000;
const ANSWER: u32 = 1_000;

/// What a query has found.
#[derive(Default)]
struct Found {
    /// The mark of the record at the place.
    head: Option<Mark>,
    /// The records behind it.
    records: Vec<(Stored, Bytes)>,
    /// The highest document that was looked at.
    last: Option<Stored>,
    /// Whether there was none behind that.
    is_end: bool,
}

impl MongoStore {
    pub(super) async fn read_page(
        &self,
        topic: &TopicName,
        after: Place,
        limit: Limit,
    ) -> Result<Read, TopicError> {
        let records = self.records(topic, after.epoch);
        let mut from = after.offset;
        let mut head = None;
        loop {
            let found = find(&records, from, limit).await?;
            head = head.or(found.head);
            let state = self.state(topic, Create::Never).await?;
            if state.epoch != after.epoch {
                let bounds = self.open_topic(topic, Create::Never).await?;
                return Ok(Read::UnknownEpoch(bounds));
            }
            let end = found.last.as_ref().filter(|_| found.is_end);
            let tail = match end {
                Some(highest) => Tail::of(highest),
                None => match self.tail(&records).await? {
                    Some(tail) => tail,
                    // The next look finds another epoch.
                    None => {
                        self.lose(topic, &state).await?;
                        continue;
                    }
                },
            };
            let bounds = state.bounds(&tail);
            if after.offset > bounds.last {
                return Ok(Read::Ahead(bounds));
            }
            let held = if after.offset == bounds.last {
                Some(bounds.last_mark)
            } else {
                head
            };
            if let (Some(mark), Some(held)) = (after.mark, held)
                && mark != held
            {
                return Ok(Read::Diverged(bounds));
            }
            let seen = found.last.as_ref().map(|last| last.offset);
            let is_end = found.is_end && (found.last.is_some() || tail.highest <= from);
            let page = found.page(bounds, is_end, limit)?;
            if !page.records.is_empty() || is_end {
                return Ok(Read::Page(page));
            }
            // What was found was trimmed or removed.
            from = seen.unwrap_or(from).max(bounds.first.saturating_sub(1));
        }
    }
}

/// The documents from an offset on: one more than a page may have, beside the one at the offset.
async fn find(
    records: &Collection<Document>,
    from: Offset,
    limit: Limit,
) -> Result<Found, TopicError> {
    let count = limit.count.clamp(1, QUERY).saturating_add(2);
    let find = records.find(doc! { "_id": { "$gte": signed(from) } });
    let mut documents = find
        .sort(doc! { "_id": 1 })
        .limit(count.try_into().unwrap_or(i64::MAX))
        .batch_size(u32::try_from(count).unwrap_or(ANSWER).min(ANSWER))
        .await
        .map_err(failed)?;
    let mut found = Found::default();
    let mut bytes: usize = 0;
    let mut looked_at: usize = 0;
    while documents.advance().await.map_err(failed)? {
        let document = documents.deserialize_current().map_err(failed)?;
        let stored = Stored::parse(&document)?;
        looked_at = looked_at.saturating_add(1);
        if let Part::Content(content) = &stored.part {
            if stored.offset == from {
                found.head = Some(stored.mark);
            } else {
                // Longer than what counts, so that a page is never too small for that.
                bytes = bytes.saturating_add(content.len());
                found.records.push((stored.clone(), content.clone()));
            }
        }
        found.last = Some(stored);
        if found.records.len() > 1 && bytes > limit.bytes.saturating_mul(2) {
            return Ok(found);
        }
    }
    found.is_end = looked_at < count;
    Ok(found)
}

impl Found {
    /// What is held of it, up to the limit or a damaged record.
    fn page(self, bounds: Bounds, is_end: bool, limit: Limit) -> Result<Page, TopicError> {
        let mut records: Vec<Record> = Vec::new();
        let mut bytes: usize = 0;
        let mut is_more = !is_end;
        for (stored, content) in self.records {
            // Records in front of the first may not have been removed yet.
            if stored.offset < bounds.first {
                continue;
            }
            let record = stored.record(&content);
            if record.is_none() && records.is_empty() {
                let offset = stored.offset;
                return Err(TopicError::Damaged { offset });
            }
            let size = record.as_ref().map_or(0, |record| record.content.size());
            bytes = bytes.saturating_add(size);
            let is_full = records.len() >= limit.count.max(1) || bytes > limit.bytes;
            match record {
                Some(record) if records.is_empty() || !is_full => records.push(record),
                _ => {
                    is_more = true;
                    break;
                }
            }
        }
        let next = match records.last() {
            Some(last) if is_more => Place::new(bounds.epoch, last.offset, last.mark),
            _ => bounds.end(),
        };
        Ok(Page::new(records, next, bounds))
    }
}
