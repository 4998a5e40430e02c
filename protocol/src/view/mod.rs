//! What a client has been sent: the merge box, which merges the documents of a session's
//! subscriptions, and Meteor's other strategies, which remember less.
//!
//! ```
//! use updraft_protocol::ejson;
//! use updraft_protocol::view::{Effect, Fields, View};
//!
//! let (first, second) = (1, 2);
//! let mut view = View::default();
//! let fields = Fields::new(ejson!({ "n": 1 }))?;
//! assert_eq!(view.added(first, "things", "a", fields.clone()), Effect::Added(fields.clone()));
//! assert_eq!(view.added(second, "things", "a", fields), Effect::Nothing);
//! assert_eq!(view.removed(first, "things", "a"), Effect::Nothing);
//! assert_eq!(view.removed(second, "things", "a"), Effect::Removed);
//! # Ok::<(), ejson::SerdeError>(())
//! ```

mod difference;
mod document;
mod fields;
mod listed;
mod merged;
mod strategy;
#[cfg(test)]
mod tests;

use std::hash::Hash;

use compact_str::CompactString;
use indexmap::IndexMap;

use difference::Before;
pub use fields::{Fields, IntoFields};
use listed::Listed;
use merged::Merged;
pub use strategy::{PublicationStrategy, Strategies};

/// A publisher: a number that identifies one run of one subscription.
pub type Publisher = u64;

/// A document's id as sent to the client. Meteor's random ids and MongoDB's fit without an
/// allocation.
type Id = CompactString;

/// The documents that the subscriptions of one session publish.
///
/// Of each document it keeps the id, and for each of its publishers a reference to the fields.
/// 10,000 sessions that show the same 100 documents of 1 KiB take 7.6 KiB each beside the one copy
/// (`benches/merge_box.rs`). A session gets its own copy of the fields when a subscription changes
/// them.
#[derive(Debug, Default)]
pub struct View {
    strategies: Strategies,
    /// `None` while there are no documents: many sessions have only events. Filled by `added`,
    /// drained by `removed` and `stop`; bounded by what the server's own publications publish.
    collections: Option<Box<Collections>>,
    /// What the client has, from [`begin_again`](Self::begin_again) until
    /// [`difference`](Self::difference).
    before: Option<Box<Before>>,
}

/// By name, in the order in which they came. None is empty.
type Collections = IndexMap<Box<str>, Collection>;

/// What a change means for the client.
#[derive(Debug, PartialEq)]
#[allow(
    clippy::exhaustive_enums,
    reason = "nothing else can become of a document"
)]
pub enum Effect {
    /// The document is new to the client.
    Added(Fields),
    /// These fields differ; undefined ones are removed. Never empty.
    Changed(Fields),
    /// The document is removed.
    Removed,
    /// Nothing is sent to the client.
    Nothing,
}

#[derive(Debug)]
enum Collection {
    Merged(Merged),
    Listed(Listed),
}

impl View {
    /// An empty view.
    pub fn new(strategies: Strategies) -> Self {
        Self {
            strategies,
            ..Self::default()
        }
    }

    /// Whether the client has documents of this collection. Under `NoMergeNoHistory` nothing is
    /// recorded, and this returns `true`.
    pub fn has_collection(&self, collection: &str) -> bool {
        let before = self.before.as_deref();
        self.strategies.of(collection) == PublicationStrategy::NoMergeNoHistory
            || self.known(collection).is_some()
            || before.is_some_and(|before| before.collections.contains_key(collection))
    }

    /// Whether a publisher has added this document, and may change and remove it.
    pub fn publishes(&self, publisher: Publisher, collection: &str, id: &str) -> bool {
        match self.known(collection) {
            Some(Collection::Merged(found)) => found.publishes(publisher, id),
            Some(Collection::Listed(found)) => found.publishes(publisher, id),
            None => self.strategies.of(collection) == PublicationStrategy::NoMergeNoHistory,
        }
    }

    /// A publisher adds a document, or adds fields to its own.
    pub fn added(
        &mut self,
        publisher: Publisher,
        collection: &str,
        id: &str,
        fields: Fields,
    ) -> Effect {
        let is_rerun = self.before.is_some();
        let was_there = self
            .listed_before(collection)
            .is_some_and(|before| before.is_change(id));
        match self.collection(collection) {
            None => Effect::Added(fields),
            Some(Collection::Merged(found)) => found.added(publisher, id, fields).unless(is_rerun),
            Some(Collection::Listed(found)) => {
                let is_change = was_there || found.is_change(id);
                found.added(publisher, id);
                if is_change {
                    changed(fields)
                } else {
                    Effect::Added(fields)
                }
            }
        }
    }

    /// A publisher changes fields of a document that it publishes; an undefined value removes the
    /// field.
    pub fn changed(
        &mut self,
        publisher: Publisher,
        collection: &str,
        id: &str,
        fields: Fields,
    ) -> Effect {
        if let Some(Collection::Merged(found)) = self.known_mut(collection) {
            // The document knows its publishers, and this is called often.
            let effect = found.changed(publisher, id, &fields);
            return effect.unless(self.before.is_some());
        }
        if self.publishes(publisher, collection, id) {
            changed(fields)
        } else {
            Effect::Nothing
        }
    }

    /// A publisher removes a document.
    pub fn removed(&mut self, publisher: Publisher, collection: &str, id: &str) -> Effect {
        if !self.publishes(publisher, collection, id) {
            return Effect::Nothing;
        }
        let is_rerun = self.before.is_some();
        let Some(found) = self.known_mut(collection) else {
            return Effect::Removed;
        };
        let effect = match found {
            Collection::Merged(found) => found.removed(publisher, id).unless(is_rerun),
            Collection::Listed(found) => {
                if found.removed(publisher, id) {
                    if let Some(before) = self.listed_before(collection) {
                        before.forget(id);
                    }
                    Effect::Removed
                } else {
                    Effect::Nothing
                }
            }
        };
        if self.known(collection).is_some_and(Collection::is_empty) {
            self.forget_empty();
        }
        effect
    }

    /// A publisher removes everything that it publishes: collection by collection, and in each its
    /// documents, in the order in which they came to the session. `show` gets each effect in turn.
    ///
    /// Meteor uses the order in which this publisher added them, which differs only if several
    /// publishers add the same documents in different orders (deviation 021).
    pub fn stop(&mut self, publisher: Publisher, mut show: impl FnMut(&str, &str, Effect)) {
        let is_rerun = self.before.is_some();
        for (name, collection) in self.collections.iter_mut().flat_map(|all| &mut **all) {
            match collection {
                Collection::Merged(found) => found.stop(publisher, |id, effect| {
                    effect.unless(is_rerun).show(name, id, &mut show);
                }),
                Collection::Listed(found) => {
                    for id in found.stop(publisher) {
                        if let Some(before) = listed(&mut self.before, name) {
                            before.forget(&id);
                        }
                        show(name, &id, Effect::Removed);
                    }
                }
            }
        }
        self.forget_empty();
    }

    /// All publishers have ended and will publish again: the view becomes empty, and its contents
    /// are kept for the [`difference`](Self::difference).
    ///
    /// Until then changes in merged collections have no effects. For other collections the effects
    /// depend on their [`PublicationStrategy`].
    pub fn begin_again(&mut self) {
        let shown = self.collections.take().unwrap_or_default();
        let Some(before) = &mut self.before else {
            self.before = Some(Box::new(Before::new(*shown)));
            return;
        };
        let before = &mut before.collections;
        // A second change before the difference: the client has seen only the collections that are
        // not merged.
        for (name, collection) in *shown {
            if let Collection::Listed(found) = collection {
                match before.get_mut(&name) {
                    Some(Collection::Listed(before)) => before.extend(found),
                    Some(Collection::Merged(_)) => {}
                    None => {
                        before.insert(name, Collection::Listed(found));
                    }
                }
            }
        }
    }

    /// All publishers have published again: shows what that changes for the client.
    ///
    /// The collections from before come first, each with its documents from before and then its new
    /// ones; new collections follow. Without [`begin_again`](Self::begin_again) there is no
    /// difference.
    ///
    /// `show` returns the room that it used. With no `room` left this returns `false`, and the next
    /// call continues from there. Until a call has returned `true`, call no other function of the
    /// view.
    pub fn difference(
        &mut self,
        room: usize,
        show: impl FnMut(&str, &str, Effect) -> usize,
    ) -> bool {
        let Some(mut before) = self.before.take() else {
            return true;
        };
        let is_whole = before.show(self.collections.as_deref(), room, show);
        if !is_whole {
            self.before = Some(before);
        }
        is_whole
    }

    /// The collection, created if needed; `None` if its strategy records nothing.
    fn collection(&mut self, name: &str) -> Option<&mut Collection> {
        if self.known(name).is_none() {
            let collection = match self.strategies.of(name) {
                PublicationStrategy::ServerMerge => Collection::Merged(Merged::default()),
                PublicationStrategy::NoMerge => Collection::Listed(Listed::new(false)),
                PublicationStrategy::NoMergeMulti => Collection::Listed(Listed::new(true)),
                PublicationStrategy::NoMergeNoHistory => return None,
            };
            let collections = self.collections.get_or_insert_default();
            collections.insert(name.into(), collection);
        }
        self.known_mut(name)
    }

    fn known(&self, name: &str) -> Option<&Collection> {
        self.collections.as_ref()?.get(name)
    }

    fn known_mut(&mut self, name: &str) -> Option<&mut Collection> {
        self.collections.as_mut()?.get_mut(name)
    }

    fn forget_empty(&mut self) {
        if let Some(collections) = &mut self.collections {
            collections.retain(|_, found| !found.is_empty());
        }
        self.collections
            .take_if(|collections| collections.is_empty());
    }

    fn listed_before(&mut self, name: &str) -> Option<&mut Listed> {
        listed(&mut self.before, name)
    }
}

impl Collection {
    fn is_empty(&self) -> bool {
        match self {
            Self::Merged(found) => found.is_empty(),
            Self::Listed(found) => found.is_empty(),
        }
    }
}

impl Effect {
    fn unless(self, is_suppressed: bool) -> Self {
        if is_suppressed { Self::Nothing } else { self }
    }

    fn show(self, collection: &str, id: &str, show: &mut impl FnMut(&str, &str, Self)) {
        if self != Self::Nothing {
            show(collection, id, self);
        }
    }
}

fn listed<'a>(before: &'a mut Option<Box<Before>>, name: &str) -> Option<&'a mut Listed> {
    match before.as_deref_mut()?.collections.get_mut(name)? {
        Collection::Listed(found) => Some(found),
        Collection::Merged(_) => None,
    }
}

fn changed(seen: impl Into<Fields>) -> Effect {
    let seen = seen.into();
    if seen.is_empty() {
        Effect::Nothing
    } else {
        Effect::Changed(seen)
    }
}

/// Frees memory when most of it is unused.
fn shrink_if_sparse<K: Hash + Eq, V>(map: &mut IndexMap<K, V>) {
    let room = map.len().saturating_mul(2);
    if room < map.capacity() / 2 {
        map.shrink_to(room);
    }
}
