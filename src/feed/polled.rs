//! What a topic holds, as the lists of a process look from time to time: one look is for all of
//! them.

use tokio::sync::Mutex;
use tokio::time::Instant;
use updraft_topics::{Bounds, Topic, TopicError};

/// The latest look at a topic.
#[derive(Default)]
pub(super) struct PolledBounds(Mutex<Option<Look>>);

/// What was found, and when that is too old.
#[derive(Clone)]
pub(super) struct Look {
    pub(super) bounds: Result<Bounds, TopicError>,
    pub(super) next: Instant,
}

impl PolledBounds {
    /// The latest look, or another one if the topic's poll is over since. So those who look again
    /// when they are told to look together.
    pub(super) async fn look(&self, topic: &Topic) -> Look {
        let mut latest = self.0.lock().await;
        let now = Instant::now();
        if let Some(look) = latest.as_ref().filter(|look| now < look.next) {
            return look.clone();
        }
        let look = Look {
            bounds: topic.bounds().await,
            next: now.checked_add(topic.settings().poll).unwrap_or(now),
        };
        latest.insert(look).clone()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, pause};
    use updraft_topics::{Entry, Memory, Settings, Topics};

    use super::*;

    #[tokio::test]
    async fn topic_041_107_one_look_in_each_poll_is_for_all() {
        let topics = Topics::open(Memory::new());
        let topic = topics.topic("orders", Settings::default()).await.unwrap();
        let polled = PolledBounds::default();
        let last = async || {
            let look = polled.look(&topic).await;
            (look.bounds.unwrap().last, look.next)
        };
        pause();
        let poll = topic.settings().poll;
        let (none, next) = last().await;
        topic.publish(Entry::value(&1)).await.unwrap();
        advance(poll / 2).await;
        // Who comes in between looks with the others the next time.
        assert_eq!((none, last().await), (0, (0, next)));
        advance(poll / 2).await;
        assert_eq!(last().await, (1, next + poll));
        // What has failed is not asked for again by each of them either.
        topics.close();
        advance(poll).await;
        let failed = polled.look(&topic).await;
        assert_eq!(failed.bounds.unwrap_err().code(), "shutting-down");
        assert_eq!(failed.next, next + poll + poll);
    }
}
