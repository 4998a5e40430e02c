//! A collection under NO_MERGE or NO_MERGE_MULTI: only the ids of what each subscription publishes.

use indexmap::{IndexMap, IndexSet};

use super::{Id, Publisher};

#[derive(Debug)]
pub(super) struct Listed {
    /// Whether a document is removed with the last of its publishers (MULTI), or with each.
    outlives: bool,
    /// In the order in which they were added; no set is empty. Filled by `added`, drained by `removed` and `stop`;
    /// bounded by what the server's own publications publish.
    ids: IndexMap<Publisher, IndexSet<Id>>,
}

impl Listed {
    pub(super) fn new(outlives: bool) -> Self {
        Self {
            outlives,
            ids: IndexMap::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Whether anybody publishes the document.
    pub(super) fn has(&self, id: &str) -> bool {
        self.ids.values().any(|ids| ids.contains(id))
    }

    pub(super) fn publishes(&self, publisher: Publisher, id: &str) -> bool {
        self.ids.get(&publisher).is_some_and(|ids| ids.contains(id))
    }

    /// Whether an `added` of this document is a change to a client that has it.
    pub(super) fn is_change(&self, id: &str) -> bool {
        self.outlives && self.has(id)
    }

    pub(super) fn added(&mut self, publisher: Publisher, id: &str) {
        let ids = self.ids.entry(publisher).or_default();
        if !ids.contains(id) {
            ids.insert(id.into());
        }
    }

    /// A publisher lets go of a document; whether the client is to be told.
    pub(super) fn removed(&mut self, publisher: Publisher, id: &str) -> bool {
        let Some(ids) = self.ids.get_mut(&publisher) else {
            return false;
        };
        let was_published = ids.shift_remove(id);
        if ids.is_empty() {
            self.ids.shift_remove(&publisher);
        }
        was_published && self.is_over(id)
    }

    /// A publisher lets go of all its documents; those of which the client is to be told.
    pub(super) fn stop(&mut self, publisher: Publisher) -> Vec<Id> {
        let ids = self.ids.shift_remove(&publisher).unwrap_or_default();
        ids.into_iter().filter(|id| self.is_over(id)).collect()
    }

    /// The client no longer has the document, whoever publishes it.
    pub(super) fn forget(&mut self, id: &str) {
        self.ids.retain(|_, ids| {
            ids.shift_remove(id);
            !ids.is_empty()
        });
    }

    /// Takes over what another list has.
    pub(super) fn extend(&mut self, other: Self) {
        for (publisher, ids) in other.ids {
            self.ids.entry(publisher).or_default().extend(ids);
        }
    }

    /// Each id once.
    pub(super) fn ids(&self) -> IndexSet<&Id> {
        self.ids.values().flatten().collect()
    }

    /// Whether the end of one publisher is the end of the document.
    fn is_over(&self, id: &str) -> bool {
        !self.is_change(id)
    }
}
