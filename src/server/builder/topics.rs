//! Registers the publication and the method by which clients reach topics that they name.

use std::sync::Arc;

use updraft_topics::Topic;

use super::Builder;
use crate::base::error::Error;
use crate::method::Call;
use crate::publication::Vent;
use crate::topic::{METHOD, PUBLICATION, PublishParams, ReadParams, TopicAccess, publish, read};

impl Builder {
    /// Lets clients name a topic, by the publication `topic` and the method `publish`, as far as
    /// `access` allows. The package `updraft-client` uses them.
    ///
    /// The [`Topics`](crate::topics::Topics) of the topic stay the program's: they must be open as
    /// long as the server runs. Publications of the program follow topics whether or not they are
    /// given here.
    #[must_use]
    pub fn topic(mut self, topic: &Topic, access: TopicAccess) -> Self {
        if !self.topics.add(topic, access) {
            let name = topic.name();
            let text = format!("the topic '{name}' is given twice; remove one");
            self.mistake
                .get_or_insert_with(|| Error::configuration(text));
        }
        self
    }

    pub(super) fn with_topics(mut self) -> Self {
        if self.topics.is_empty() {
            return self;
        }
        let topics = Arc::new(std::mem::take(&mut self.topics));
        let to_read = topics.clone();
        self.vent(PUBLICATION, move |vent: Vent, params: ReadParams| {
            let topics = to_read.clone();
            async move { read(&topics, vent, params).await }
        })
        .method(METHOD, move |call: Call, params: PublishParams| {
            let topics = topics.clone();
            async move { publish(&topics, call, params).await }
        })
    }
}
