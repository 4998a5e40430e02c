//! What a subscription knows of the topic that it follows.

use tokio::sync::oneshot;
use updraft_topics::Topic;

use super::Subscription;
use crate::cursor::{CursorKey, Kept, Reader};
use crate::mail::Mail;

/// Where a subscription was in the topic that it followed, when its user changed.
#[derive(Clone, Debug)]
pub(crate) struct Continuation {
    pub(crate) topic: Topic,
    /// What it had sent.
    pub(crate) sent: Kept,
    /// What its client had confirmed, if it had a cursor; else the same.
    pub(crate) confirmed: Kept,
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

    /// What its cursor in a topic is found by. `None` if its Vent id may be one of several
    /// subscriptions, or if it is over.
    pub(in crate::publication) async fn cursor_key(&self, topic: &Topic) -> Option<CursorKey> {
        let (answer, request) = oneshot::channel();
        self.send(Mail::Requested(self.0.run, answer));
        let (vent_id, params) = request.await.ok()?;
        let reader = Reader {
            publication: self.publication(),
            user: self.0.user.as_deref(),
            vent_id: &vent_id,
            params: &params,
        };
        CursorKey::new(topic.name(), reader)
    }

    /// Where the run before this one was in a topic.
    pub(in crate::publication) fn continuation(&self, topic: &Topic) -> Option<Continuation> {
        let life = self.life();
        let continuation = life.continuation.as_deref();
        continuation.filter(|it| it.topic == *topic).cloned()
    }
}
