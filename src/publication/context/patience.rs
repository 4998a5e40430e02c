//! How long a handler that waits for the bus or for a store may hold up its client's other messages.

use std::pin::Pin;
use std::time::Duration;

use super::Subscription;
use crate::base::clock;

impl Subscription {
    /// Waits for the bus or for a store. If that takes long, the client's other messages need not
    /// wait for it.
    pub(in crate::publication) async fn patiently<T>(
        &self,
        mut waiting: Pin<&mut impl Future<Output = T>>,
    ) -> T {
        let begun = clock::now();
        let outcome = tokio::time::timeout(self.patience(), waiting.as_mut()).await;
        self.has_waited(begun.elapsed());
        match outcome {
            Ok(outcome) => outcome,
            Err(_) => {
                self.unblock();
                waiting.await
            }
        }
    }

    /// How much longer this subscription may block its client's queue.
    fn patience(&self) -> Duration {
        let patience = self.connection().host().settings.bus_patience;
        patience.saturating_sub(self.life().waited_for_bus)
    }

    fn has_waited(&self, time: Duration) {
        let mut life = self.life();
        life.waited_for_bus = life.waited_for_bus.saturating_add(time);
    }
}
