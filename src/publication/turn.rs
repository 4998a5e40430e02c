//! Handlers that are started together run one after the other, as in Meteor: each runs up to its
//! first wait before the next one starts. So what they publish without waiting keeps the order of
//! their subscriptions.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

/// When a handler may start, and how the next one learns that it has started.
#[derive(Clone, Debug)]
pub(crate) struct Turn(Arc<TurnState>);

#[derive(Debug)]
struct TurnState {
    before: Mutex<Option<Begun>>,
    /// Dropped when the handler waits or has ended, which tells the next one.
    begun: Mutex<Option<oneshot::Sender<()>>>,
}

/// Resolves when the previous handler has started, whatever its outcome.
pub(crate) type Begun = oneshot::Receiver<()>;

impl Turn {
    /// The turn after `before`, and the signal for the turn after this one.
    pub(crate) fn after(before: Option<Begun>) -> (Self, Begun) {
        let (sender, begun) = oneshot::channel();
        let state = TurnState {
            before: Mutex::new(before),
            begun: Mutex::new(Some(sender)),
        };
        (Self(Arc::new(state)), begun)
    }

    /// Runs a handler when its turn has come. The next turn comes when the handler waits, or when
    /// all clones of this turn are dropped.
    pub(super) async fn run<T>(self, mut handler: BoxFuture<'static, T>) -> T {
        if let Some(before) = take(&self.0.before) {
            // An error means that the previous handler is gone, which is just as good.
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
