//! What a subscription knows of the topic that it follows.

use updraft_topics::{Position, Topic};

use super::Subscription;

/// Where a subscription was in the topic that it followed, when its user changed.
#[derive(Clone, Debug)]
pub(crate) struct Continuation {
    pub(crate) topic: Topic,
    pub(crate) position: Position,
}

impl Subscription {
    /// Whether the events of its publication are a streamer's.
    pub(in crate::publication) fn is_streamer(&self) -> bool {
        self.0.publication.is_streamer
    }

    /// It follows a topic from here on. Returns `false` if it does already.
    pub(in crate::publication) fn begin_following(&self) -> bool {
        !std::mem::replace(&mut self.life().is_following, true)
    }

    pub(in crate::publication) fn continues_at(&self, continuation: Option<Continuation>) {
        if continuation.is_some() {
            self.life().continuation = continuation.map(Box::new);
        }
    }

    /// Where the run before this one was in a topic.
    pub(in crate::publication) fn continuation(&self, topic: &Topic) -> Option<Position> {
        let life = self.life();
        let continuation = life.continuation.as_deref();
        continuation
            .filter(|it| it.topic == *topic)
            .map(|it| it.position)
    }
}
