//! A collection under NO_MERGE or NO_MERGE_MULTI: only the ids of what each subscription publishes.

use indexmap::{IndexMap, IndexSet};

use super::{Id, Publisher};

#[derive(Debug)]
pub(super) struct Listed {
    /// Whether a document is removed with the last of its publishers (MULTI), or with each.
    is_multi: bool,
    /// The ids of each publisher, in the order in which they were added; no set is empty. Filled by
    /// `added`, drained by `removed` and `stop`; bounded by what the server's own publications
    /// publish.
    ids: IndexMap<Publisher, IndexSet<Id>>,
}

impl Listed {
    pub(super) fn new(is_multi: bool) -> Self {
        Self {
            is_multi,
            ids: IndexMap::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Whether any publisher publishes the document.
    pub(super) fn has(&self, id: &str) -> bool {
        self.ids.values().any(|ids| ids.contains(id))
    }

    pub(super) fn publishes(&self, publisher: Publisher, id: &str) -> bool {
        self.ids.get(&publisher).is_some_and(|ids| ids.contains(id))
    }

    /// Whether `added` of this document is a change, because the client has it already.
    pub(super) fn is_change(&self, id: &str) -> bool {
        self.is_multi && self.has(id)
    }

    pub(super) fn added(&mut self, publisher: Publisher, id: &str) {
        let ids = self.ids.entry(publisher).or_default();
        if !ids.contains(id) {
            ids.insert(id.into());
        }
    }

    /// A publisher removes a document. Returns whether the client is told.
    pub(super) fn removed(&mut self, publisher: Publisher, id: &str) -> bool {
        let Some(ids) = self.ids.get_mut(&publisher) else {
            return false;
        };
        let was_published = ids.shift_remove(id);
        if ids.is_empty() {
            self.ids.shift_remove(&publisher);
        }
        was_published && self.ends_with(id)
    }

    /// A publisher removes all its documents. Returns those of which the client is told.
    pub(super) fn stop(&mut self, publisher: Publisher) -> Vec<Id> {
        let ids = self.ids.shift_remove(&publisher).unwrap_or_default();
        ids.into_iter().filter(|id| self.ends_with(id)).collect()
    }

    /// The client no longer has the document, whichever publishers have it.
    pub(super) fn forget(&mut self, id: &str) {
        self.ids.retain(|_, ids| {
            ids.shift_remove(id);
            !ids.is_empty()
        });
    }

    /// Adds all entries of another list.
    pub(super) fn extend(&mut self, other: Self) {
        for (publisher, ids) in other.ids {
            self.ids.entry(publisher).or_default().extend(ids);
        }
    }

    /// Each id once.
    pub(super) fn ids(&self) -> IndexSet<&Id> {
        self.ids.values().flatten().collect()
    }

    /// Whether the document ends when one publisher removes it.
    fn ends_with(&self, id: &str) -> bool {
        !self.is_change(id)
    }
}
