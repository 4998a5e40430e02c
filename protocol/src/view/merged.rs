//! A collection under SERVER_MERGE: its documents, and what the client has of each.

use indexmap::IndexMap;

use super::document::MergedDocument;
use super::{Effect, Fields, Id, Publisher, changed, shrink_if_sparse};
use crate::ejson::{self, Object, Value};

#[derive(Debug, Default)]
pub(super) struct Merged {
    /// In the order in which they were added. Filled by `added`, drained by `removed` and `stop`;
    /// bounded by what the server's own publications publish.
    documents: IndexMap<Id, MergedDocument>,
}

impl Merged {
    pub(super) fn is_empty(&self) -> bool {
        self.documents.is_empty()
    }

    pub(super) fn publishes(&self, publisher: Publisher, id: &str) -> bool {
        let document = self.documents.get(id);
        document.is_some_and(|document| document.is_published_by(publisher))
    }

    pub(super) fn added(&mut self, publisher: Publisher, id: &str, fields: Fields) -> Effect {
        if let Some(document) = self.documents.get_mut(id) {
            return document.added(publisher, fields);
        }
        let document = MergedDocument::Single(publisher, fields.clone());
        self.documents.insert(id.into(), document);
        Effect::Added(fields)
    }

    pub(super) fn changed(&mut self, publisher: Publisher, id: &str, fields: &Fields) -> Effect {
        match self.documents.get_mut(id) {
            Some(document) if document.is_published_by(publisher) => {
                document.changed(publisher, fields)
            }
            _ => Effect::Nothing,
        }
    }

    pub(super) fn removed(&mut self, publisher: Publisher, id: &str) -> Effect {
        let Some(document) = self.documents.get_mut(id) else {
            return Effect::Nothing;
        };
        let effect = document.remove_publisher(publisher);
        if effect == Effect::Removed {
            self.documents.shift_remove(id);
            shrink_if_sparse(&mut self.documents);
        }
        effect
    }

    /// A publisher removes all its documents.
    pub(super) fn stop(&mut self, publisher: Publisher, mut show: impl FnMut(&str, Effect)) {
        // All in one pass: removing them one by one would move the others each time.
        self.documents.retain(|id, document| {
            let effect = document.remove_publisher(publisher);
            let stays = effect != Effect::Removed;
            show(id, effect);
            stays
        });
        shrink_if_sparse(&mut self.documents);
    }

    /// How document number `number` differs from before. Documents from before are counted first,
    /// then those that exist now. `None` after the last.
    pub(super) fn difference_at<'a>(
        &'a self,
        before: &'a Self,
        number: usize,
    ) -> Option<(&'a str, Effect)> {
        let Some((id, document)) = before.documents.get_index(number) else {
            let new = number.saturating_sub(before.documents.len());
            let (id, document) = self.documents.get_index(new)?;
            let effect = if before.documents.contains_key(id) {
                Effect::Nothing
            } else {
                Effect::Added(document.fields())
            };
            return Some((id, effect));
        };
        let effect = match self.documents.get(id) {
            Some(now) => changed(differing(&document.fields(), &now.fields())),
            None => Effect::Removed,
        };
        Some((id, effect))
    }
}

/// The fields that differ; removed ones are undefined.
fn differing(before: &Fields, now: &Fields) -> Object {
    let mut seen = Object::new();
    if before.is_same(now) {
        return seen;
    }
    for (key, former) in &**before {
        match now.get_text(key) {
            Some(value) if ejson::equals(former, value) => {}
            Some(value) => {
                seen.insert(key, value.clone());
            }
            None => {
                seen.insert(key, Value::Undefined);
            }
        }
    }
    for (key, value) in &**now {
        if before.get_text(key).is_none() {
            seen.insert(key, value.clone());
        }
    }
    seen
}
