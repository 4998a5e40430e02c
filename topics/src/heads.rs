//! Which records are the latest of their ids, for those who read them by themselves.

use std::collections::HashMap;
use std::sync::Arc;

use crate::core::Core;
use crate::{Bounds, Limit, Offset, Place, Position, TopicError};

/// The records of a snapshot: the latest of each compact id, those that have ended excepted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Heads {
    /// Their offsets, in order.
    pub offsets: Vec<Offset>,
    /// The position of the last record that was looked at: the log goes on behind it.
    pub end: Position,
    /// What the topic held when the snapshot began.
    pub bounds: Bounds,
}

pub(crate) async fn heads(core: &Core) -> Result<Heads, TopicError> {
    let bounds = core.bounds().await?;
    let end = bounds.end();
    let mut latest: HashMap<Arc<str>, Offset> = HashMap::new();
    let mut read = Place::start(bounds.epoch);
    while read.offset < end.offset {
        let page = match core.page(read, Limit::default()).await {
            Ok(page) => page,
            Err(TopicError::Damaged { offset }) => {
                read = Place::unmarked(bounds.epoch, offset);
                continue;
            }
            Err(error) => return Err(error),
        };
        read = page.next;
        for record in page.records {
            if let Some(id) = record
                .content
                .compact
                .filter(|_| record.offset <= end.offset)
            {
                if record.content.payload.is_some() {
                    latest.insert(id, record.offset);
                } else {
                    latest.remove(&id);
                }
            }
        }
    }
    let mut offsets: Vec<Offset> = latest.into_values().collect();
    offsets.sort_unstable();
    Ok(Heads {
        offsets,
        end: Position::at(&core.name, end),
        bounds,
    })
}
