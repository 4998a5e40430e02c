//! The difference for a client after all publishers have started again. It is sent in pieces,
//! because it may be as large as the view.

use std::vec;

use super::merged::Merged;
use super::{Collection, Collections, Effect, Id};

/// What the client has while the publishers publish again, and how much of the difference it has
/// been sent.
#[derive(Debug)]
pub(super) struct Before {
    pub(super) collections: Collections,
    /// The current collection: first those from before, then those that exist now.
    section: usize,
    /// How many of its documents are done.
    at: usize,
    /// The remaining documents of a collection from before that is not merged.
    listed: Option<vec::IntoIter<Id>>,
}

impl Before {
    pub(super) fn new(collections: Collections) -> Self {
        Self {
            collections,
            section: 0,
            at: 0,
            listed: None,
        }
    }

    /// Shows how `now` differs, from where the last call ended. `show` returns the room that it
    /// used. When none is left this returns `false`, and more may follow.
    pub(super) fn show(
        &mut self,
        now: Option<&Collections>,
        mut room: usize,
        mut show: impl FnMut(&str, &str, Effect) -> usize,
    ) -> bool {
        let mut has_room = |name: &str, id: &str, effect| {
            if effect != Effect::Nothing {
                room = room.saturating_sub(show(name, id, effect));
            }
            room > 0
        };
        let nothing = Merged::default();
        loop {
            match self.collections.get_index(self.section) {
                Some((name, Collection::Merged(before))) => {
                    let now = match now.and_then(|now| now.get(name)) {
                        Some(Collection::Merged(now)) => now,
                        _ => &nothing,
                    };
                    while let Some((id, effect)) = now.difference_at(before, self.at) {
                        self.at = self.at.saturating_add(1);
                        if !has_room(name, id, effect) {
                            return false;
                        }
                    }
                }
                Some((name, Collection::Listed(before))) => {
                    let now = now.and_then(|now| now.get(name));
                    let ids = || before.ids().into_iter().cloned().collect::<Vec<_>>();
                    for id in self.listed.get_or_insert_with(|| ids().into_iter()) {
                        let is_there = matches!(now, Some(Collection::Listed(now)) if now.has(&id));
                        if !is_there && !has_room(name, &id, Effect::Removed) {
                            return false;
                        }
                    }
                }
                None => {
                    let new = self.section.saturating_sub(self.collections.len());
                    let Some((name, now)) = now.and_then(|now| now.get_index(new)) else {
                        return true;
                    };
                    if let Collection::Merged(now) = now
                        && !self.collections.contains_key(name)
                    {
                        while let Some((id, effect)) = now.difference_at(&nothing, self.at) {
                            self.at = self.at.saturating_add(1);
                            if !has_room(name, id, effect) {
                                return false;
                            }
                        }
                    }
                }
            }
            self.section = self.section.saturating_add(1);
            self.at = 0;
            self.listed = None;
        }
    }
}
