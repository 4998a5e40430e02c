//! What a client's subscriptions are told of it.

use super::Client;

impl Client {
    /// The client is away, or back.
    pub(in crate::shard) fn tell_observers(&self, is_away: bool) {
        for running in &self.subscriptions {
            running.subscription.client_is_away(is_away);
        }
        for (_, observer) in self.change.iter().flat_map(|change| &change.observers) {
            if is_away {
                observer.away();
            } else {
                observer.back();
            }
        }
    }

    /// The client is gone, and has not said that it leaves. Its session ends.
    pub(in crate::shard) fn tell_observers_of_loss(&self) {
        for running in &self.subscriptions {
            running.subscription.client_is_lost();
        }
        for (_, observer) in self.change.iter().flat_map(|change| &change.observers) {
            observer.lost();
        }
    }
}
