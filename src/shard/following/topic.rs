//! A topic that this shard follows, and who does.

use std::collections::HashMap;
use std::sync::Arc;

use updraft_topics::{Offset, Place};

use super::TopicFollowerId;
use crate::feed::{Feed, FeedPort};

/// A topic, with its followers on this shard.
pub(super) struct FollowedTopic {
    pub(super) feed: Arc<Feed>,
    /// Where the live followers are.
    pub(super) delivered: Place,
    pub(super) followers: Vec<TopicFollowerId>,
    /// Who waits for the page behind an offset; some may be gone. Filled by `look`, drained as
    /// pages come.
    pub(super) fetching: HashMap<Offset, Vec<TopicFollowerId>>,
    /// Whether it stands in `grown`.
    pub(super) is_listed: bool,
}

impl FollowedTopic {
    /// A topic without followers, whose news this shard gets from here on.
    pub(super) fn new(feed: Arc<Feed>, shard: Arc<dyn FeedPort>) -> Self {
        Self {
            delivered: feed.join(shard),
            feed,
            followers: Vec::new(),
            fetching: HashMap::new(),
            is_listed: false,
        }
    }
}
