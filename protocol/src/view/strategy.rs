//! Meteor's publication strategies: how much a session remembers of what it has sent of a
//! collection.

use std::collections::HashMap;
use std::sync::Arc;

/// What a session remembers of the documents of one collection, and which messages that saves.
///
/// | | remembers | second `added` | `changed` to equal values | end of one of two subscriptions |
/// | --- | --- | --- | --- | --- |
/// | `ServerMerge` | fields, shared while one subscription publishes them | `changed`, with what is new | not sent | what that changes |
/// | `NoMerge` | ids of each subscription | `added` | sent | `removed` of all its documents |
/// | `NoMergeNoHistory` | nothing | `added` | sent | nothing is sent |
/// | `NoMergeMulti` | ids of each subscription | `changed`, with all fields | sent | `removed` of documents that the other does not have |
///
/// All but `NoMergeNoHistory` ignore a subscription's `changed` and `removed` of documents that it
/// has not added.
///
/// # When the user changes
///
/// All subscriptions run again, and afterwards the client should have what the new runs publish.
/// Meteor does that for `ServerMerge` only (deviation 023). Here:
///
/// - `ServerMerge` sends nothing before all have run, then the difference.
/// - `NoMerge` and `NoMergeMulti` send at once what the new runs publish (`NoMergeMulti` as
///   `changed` if the client has the document). When all have run, they send `removed` for the
///   documents that no new run published. If the new run leaves out a field, the client keeps it,
///   because the fields are not remembered; a publication that must remove the field sets it to
///   undefined.
/// - `NoMergeNoHistory` sends what the new runs publish, and removes nothing. A publication must
///   itself remove the documents that only the former user may see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PublicationStrategy {
    /// Meteor's `SERVER_MERGE`: the documents of all subscriptions are merged, and the client is
    /// sent only what it lacks.
    #[default]
    ServerMerge,
    /// `NO_MERGE`: for collections of which no two subscriptions publish the same document.
    NoMerge,
    /// `NO_MERGE_NO_HISTORY`: for documents that are sent and forgotten, as in a queue.
    NoMergeNoHistory,
    /// `NO_MERGE_MULTI`: as `NO_MERGE`, where several subscriptions may publish the same document.
    NoMergeMulti,
}

/// The strategies of a server's collections. Collections that are not named have
/// [`PublicationStrategy::ServerMerge`].
///
/// A clone is cheap: every session has one.
#[derive(Clone, Debug, Default)]
pub struct Strategies(Option<Arc<HashMap<Box<str>, PublicationStrategy>>>);

impl Strategies {
    /// Sets a collection's strategy and replaces any earlier one.
    pub fn set(&mut self, collection: &str, strategy: PublicationStrategy) {
        let strategies = self.0.get_or_insert_default();
        Arc::make_mut(strategies).insert(collection.into(), strategy);
    }

    /// A collection's strategy.
    pub fn of(&self, collection: &str) -> PublicationStrategy {
        let strategies = self.0.as_deref();
        strategies
            .and_then(|strategies| strategies.get(collection))
            .copied()
            .unwrap_or_default()
    }
}
