//! Handlers that are started together begin one after the other, as in Meteor: each runs up to its first wait before the
//! next one begins. So what they publish without waiting has the order of their subscriptions.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

/// When a handler may begin, and who waits until it has.
#[derive(Clone, Debug)]
pub(crate) struct Turn(Arc<Ends>);

#[derive(Debug)]
struct Ends {
    before: Mutex<Option<Begun>>,
    /// Dropped, and with that told, when the handler waits or has ended.
    begun: Mutex<Option<oneshot::Sender<()>>>,
}

/// Resolves when the handler before has begun, however that went.
pub(crate) type Begun = oneshot::Receiver<()>;

impl Turn {
    /// The turn behind `before`, and what the next one comes behind.
    pub(crate) fn after(before: Option<Begun>) -> (Self, Begun) {
        let (sender, begun) = oneshot::channel();
        let ends = Ends {
            before: Mutex::new(before),
            begun: Mutex::new(Some(sender)),
        };
        (Self(Arc::new(ends)), begun)
    }

    /// Runs a handler when its turn has come. The next turn comes when it waits, or when all clones of this are gone.
    pub(super) async fn run<T>(self, mut handler: BoxFuture<'static, T>) -> T {
        if let Some(before) = take(&self.0.before) {
            // An error says that it is gone, and that is as good.
            before.await.ok();
        }
        match poll_fn(|context| Poll::Ready(handler.as_mut().poll(context))).await {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => {
                drop(take(&self.0.begun));
                handler.await
            }
        }
    }
}

fn take<T>(slot: &Mutex<Option<T>>) -> Option<T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}
