//! A listener of one channel, at its own pace: a stream of messages, with a gap wherever some may
//! be missing.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::Stream;

use crate::Received;
use crate::received::ListenerQueue;
use crate::registry::Lease;

/// The messages of one channel: see [`Channels::listen`](crate::Channels::listen).
///
/// It is also a [`Stream`], which ends when the channels are closed and all earlier messages have
/// been taken. Dropping it gives up the channel.
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

    /// Waits for the next message or gap; `None` if the channels are closed and nothing is left.
    ///
    /// # Cancel safety
    ///
    /// A dropped future has taken no message.
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
