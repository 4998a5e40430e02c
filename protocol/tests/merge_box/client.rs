//! What a client makes of what it is sent: Meteor's own, whose store takes a second `added` for a
//! change.

use updraft_protocol::ejson::{self, Object};
use updraft_protocol::view::{Effect, PublicationStrategy};

use crate::{Document, Documents, places, strategy_of};

#[derive(Default)]
pub(crate) struct Client {
    documents: Documents,
}

impl Client {
    pub(crate) fn documents(&self) -> &Documents {
        &self.documents
    }

    /// Takes in a message; what no server should send fails the test.
    pub(crate) fn see(&mut self, collection: &str, id: &str, effect: Effect) {
        let at = places().find(|at| *at == (collection, id)).unwrap();
        let strategy = strategy_of(collection);
        let keeps_account = matches!(
            strategy,
            PublicationStrategy::ServerMerge | PublicationStrategy::NoMergeMulti
        );
        let is_known = self.documents.contains_key(&at);
        match effect {
            Effect::Added(fields) => {
                assert!(!keeps_account || !is_known, "{at:?} is added twice");
                apply(self.documents.entry(at).or_default(), &fields);
            }
            Effect::Changed(fields) => {
                assert!(!keeps_account || is_known, "{at:?} is changed, but unknown");
                assert!(!fields.is_empty(), "an empty change of {at:?}");
                let document = self.documents.entry(at).or_default();
                if strategy == PublicationStrategy::ServerMerge {
                    for (key, value) in &*fields {
                        let known = document.get(&key.to_string());
                        let is_news = known.is_none_or(|known| !ejson::equals(known, value));
                        assert!(is_news, "{at:?} has this {key} already");
                    }
                }
                apply(document, &fields);
            }
            Effect::Removed => {
                let was_known = self.documents.remove(&at).is_some();
                assert!(
                    !keeps_account || was_known,
                    "{at:?} is removed, but unknown"
                );
            }
            Effect::Nothing => {}
        }
    }
}

/// Sets fields; undefined ones are gone.
pub(crate) fn apply(document: &mut Document, fields: &Object) {
    for (key, value) in fields {
        if value.is_undefined() {
            document.remove(&key.to_string());
        } else {
            document.insert(key.to_string(), value.clone());
        }
    }
}
