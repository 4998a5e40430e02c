//! One who listens to one channel, at whatever speed: a stream of messages, and of gaps where some
//! may be missing.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::Stream;

use crate::Received;
use crate::received::ListenerQueue;
use crate::registry::Lease;

/// What comes on one channel: see [`Channels::listen`](crate::Channels::listen).
///
/// It is a [`Stream`] too, which ends when the channels are closed and all that came before is
/// taken. Dropping it gives the channel up.
#[derive(Debug)]
#[must_use = "a listener that is dropped hears nothing"]
pub struct Listener {
    /// Filled by the bus, drained here.
    queue: Arc<ListenerQueue>,
    lease: Lease,
}

impl Listener {
    pub(crate) fn new(lease: Lease) -> Self {
        Self {
            queue: lease.listeners().add(lease.channel()),
            lease,
        }
    }

    /// The name of the channel.
    pub fn channel(&self) -> &str {
        self.lease.channel()
    }

    /// Waits for the next message or gap; `None` when the channels are closed and nothing is left.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped has taken nothing.
    pub async fn next(&mut self) -> Option<Received> {
        poll_fn(|context| self.queue.poll_next(context)).await
    }
}

impl Stream for Listener {
    type Item = Received;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Received>> {
        self.queue.poll_next(context)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let channel = self.lease.channel();
        self.lease.listeners().remove(channel, &self.queue);
    }
}
