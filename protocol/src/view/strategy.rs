//! Meteor's publication strategies: how much a session remembers of what it has sent of a collection.

use std::collections::HashMap;
use std::sync::Arc;

/// What a session remembers of the documents of one collection, and what it spares the client by that.
///
/// | | remembers | second `added` | `changed` to equal values | end of one of two subscriptions |
/// | --- | --- | --- | --- | --- |
/// | `ServerMerge` | fields, shared while one subscription publishes them | `changed`, with what is new | not sent | what that changes |
/// | `NoMerge` | ids of each subscription | `added` | sent | `removed` of all its documents |
/// | `NoMergeNoHistory` | nothing | `added` | sent | nothing is sent |
/// | `NoMergeMulti` | ids of each subscription | `changed`, with all fields | sent | `removed` of what the other has not |
///
/// All but `NoMergeNoHistory` ignore a subscription's `changed` and `removed` of documents that it has not added.
///
/// # When the user changes
///
/// All subscriptions run again, and the client is to be left with what the new runs publish. Meteor does that for
/// `ServerMerge` only (deviation 023); here:
///
/// - `ServerMerge` sends nothing before all have run, then the difference.
/// - `NoMerge` and `NoMergeMulti` send what the new runs publish at once (`NoMergeMulti` as `changed` where the client
///   has the document), and when all have run, `removed` for the documents that none of them published. A field that the
///   new run leaves out of a document stays with the client, for nobody remembers it; a publication that must take it
///   back sets it to undefined.
/// - `NoMergeNoHistory` sends what the new runs publish, and removes nothing: what only the former user may see has to
///   be removed by the publication itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PublicationStrategy {
    /// Meteor's `SERVER_MERGE`: the documents of all subscriptions are merged, the client is sent what it lacks.
    #[default]
    ServerMerge,
    /// `NO_MERGE`: for collections of which no two subscriptions publish the same document.
    NoMerge,
    /// `NO_MERGE_NO_HISTORY`: for documents that are sent and forgotten, as in a queue.
    NoMergeNoHistory,
    /// `NO_MERGE_MULTI`: as `NO_MERGE`, where several subscriptions may publish the same document.
    NoMergeMulti,
}

/// The strategies of a server's collections; those that are not named have [`PublicationStrategy::ServerMerge`].
///
/// A clone is cheap: every session has one.
#[derive(Clone, Debug, Default)]
pub struct Strategies(Option<Arc<HashMap<Box<str>, PublicationStrategy>>>);

impl Strategies {
    /// Sets a collection's strategy, in place of a former one.
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
