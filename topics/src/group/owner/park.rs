//! Makes dead letters of what has failed too often. A record is finished when its letter is written.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::Owner;
use crate::group::context::Context;
use crate::group::dead::write_letters;
use crate::group::ids::RecordId;
use crate::group::slot::Failed;

/// Letters that are written at once.
const AT_ONCE: usize = 64;

/// How long to wait after an error of the store.
const AFTER_ERROR: Duration = Duration::from_secs(1);

/// What became of letters to one topic.
pub(super) struct Parked {
    ids: Vec<(usize, RecordId)>,
    is_written: bool,
}

impl Owner {
    /// Begins to write letters, unless that is under way.
    pub(super) fn park(&mut self) {
        if self.parking.is_some() {
            return;
        }
        let Some((_, first)) = self.to_park.front() else {
            return;
        };
        let topic = first.id.input % self.context.topics().max(1);
        let mut letters = Vec::new();
        let mut later = Vec::new();
        for (number, failed) in self.to_park.drain(..) {
            let is_here = failed.id.input % self.context.topics().max(1) == topic;
            if is_here && letters.len() < AT_ONCE {
                letters.push((number, failed));
            } else {
                later.push((number, failed));
            }
        }
        self.to_park.extend(later);
        let context = Arc::clone(&self.context);
        self.parking = Some(Box::pin(write(context, topic, letters)));
    }

    pub(super) fn take_parked(&mut self, parked: Parked) {
        for (number, id) in parked.ids {
            if let Some(owned) = self.slots.get_mut(number).and_then(Option::as_mut) {
                if parked.is_written {
                    owned.slot.parked(id);
                } else {
                    owned.slot.not_parked(id);
                }
            }
        }
    }
}

async fn write(context: Arc<Context>, topic: usize, letters: Vec<(usize, Failed)>) -> Parked {
    let ids = letters
        .iter()
        .map(|(number, failed)| (*number, failed.id))
        .collect();
    let failed: Vec<_> = letters.into_iter().map(|(_, failed)| failed).collect();
    let written = write_letters(&context, topic, &failed).await;
    if let Err(error) = &written {
        let group = &context.name;
        tracing::warn!(%group, %error, "dead letters were not written, they are tried again");
        sleep(AFTER_ERROR).await;
    }
    Parked {
        ids,
        is_written: written.is_ok(),
    }
}
