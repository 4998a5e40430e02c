//! The latest record of each compact id, up to a fixed offset.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::core::Core;
use crate::{Bounds, Limit, Offset, Place, Record, TopicError};

/// Reads a topic twice up to the same offset: to learn which records are the latest of their ids,
/// and to return these.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// The last record that belongs to it.
    end: Place,
    /// Up to where the pass under way has read.
    read: Place,
    pass: Pass,
}

#[derive(Debug)]
enum Pass {
    /// The latest record of each id, so far. As many as there are ids.
    Learning(HashMap<Arc<str>, Offset>),
    /// The records to return.
    Returning(BTreeSet<Offset>),
}

impl Snapshot {
    pub(crate) fn new(bounds: &Bounds) -> Self {
        Self {
            end: bounds.end(),
            read: Place::start(bounds.epoch),
            pass: Pass::Learning(HashMap::new()),
        }
    }

    /// The place from which the log goes on.
    pub(crate) fn end(&self) -> Place {
        self.end
    }

    /// The next records, of which there may be none; `None` at the end.
    pub(crate) async fn next(
        &mut self,
        core: &Core,
        limit: Limit,
    ) -> Result<Option<Vec<Record>>, TopicError> {
        if self.read.offset >= self.end.offset {
            let Pass::Learning(latest) = &mut self.pass else {
                return Ok(None);
            };
            self.pass = Pass::Returning(std::mem::take(latest).into_values().collect());
            self.read = Place::start(self.end.epoch);
            if self.end.offset == 0 {
                return Ok(None);
            }
        }
        let page = core.page(self.read, limit).await?;
        self.read = page.next;
        let mut records = page.records;
        records.retain(|record| record.offset <= self.end.offset);
        match &mut self.pass {
            Pass::Learning(latest) => {
                for record in records {
                    let Some(id) = record.content.compact else {
                        continue;
                    };
                    if record.content.payload.is_some() {
                        latest.insert(id, record.offset);
                    } else {
                        latest.remove(&id);
                    }
                }
                Ok(Some(Vec::new()))
            }
            Pass::Returning(offsets) => {
                records.retain(|record| offsets.remove(&record.offset));
                Ok(Some(records))
            }
        }
    }

    /// Goes on behind a damaged record.
    pub(crate) fn skip(&mut self, offset: Offset) {
        self.read = Place::unmarked(self.end.epoch, offset);
    }
}
