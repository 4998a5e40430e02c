//! What belongs to a subscription over all its runs, and is told what becomes of the client.

use std::any::Any;
use std::sync::Arc;

use super::Subscription;

/// Belongs to a subscription over all its runs, and is dropped with it. It is called on the thread
/// of the shard, so it must not block.
pub(crate) trait ClientObserver: Any + Send + Sync {
    /// The connection is lost. The client may come back.
    fn away(&self);

    /// The client is back.
    fn back(&self);

    /// The user changes: the run is over, and the next one has not begun.
    fn user_changes(&self);

    /// The client is gone, and has not said that it leaves. The subscription ends.
    fn lost(&self);
}

impl Subscription {
    /// The observer that an earlier run of the subscription had.
    pub(crate) fn observer(&self) -> Option<Arc<dyn ClientObserver>> {
        self.life().at_end.as_ref()?.observer.clone()
    }

    /// Gives the subscription an observer. If it is over, the observer is dropped.
    pub(crate) fn observed_by(&self, observer: Arc<dyn ClientObserver>) {
        let mut life = self.life();
        if life.over {
            // Dropping it may call this subscription.
            drop(life);
            return;
        }
        if life.is_away {
            observer.away();
        }
        life.at_end.get_or_insert_default().observer = Some(observer);
    }

    /// The connection of the client is lost, or replaced.
    pub(crate) fn client_is_away(&self, is_away: bool) {
        let mut life = self.life();
        life.is_away = is_away;
        let observer = life.at_end.as_ref().and_then(|it| it.observer.as_ref());
        match observer {
            Some(observer) if is_away => observer.away(),
            Some(observer) => observer.back(),
            None => {}
        }
    }

    /// The client is gone, and has not said that it leaves.
    pub(crate) fn client_is_lost(&self) {
        if let Some(observer) = self.observer() {
            observer.lost();
        }
    }

    /// The observer, for the next run: this one is about to end.
    pub(crate) fn take_observer(&self) -> Option<Arc<dyn ClientObserver>> {
        let observer = self.life().at_end.as_mut()?.observer.take()?;
        observer.user_changes();
        Some(observer)
    }
}
