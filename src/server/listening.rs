//! What a program listens to itself: a channel of the bus, and a function for what comes on it.

use std::sync::Arc;

use tokio::task::AbortHandle;
use updraft_bus::{Channel, Listener, Received};

use crate::base::error::{Error, Result};
use crate::handler::unpanicked;
use crate::shard::Shared;

/// Keeps a channel listened to: see [`Handle::on`](crate::Handle::on). Dropping it ends that, and
/// drops a call of the function where it awaits.
#[derive(Debug)]
#[must_use = "what listens ends when this is dropped"]
pub struct ListenerGuard {
    /// None once it was detached.
    task: Option<AbortHandle>,
}

impl ListenerGuard {
    pub(super) async fn new<F, Fut>(shared: &Arc<Shared>, channel: Channel, f: F) -> Result<Self>
    where
        F: FnMut(Received) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let host = &shared.host;
        let listener = host.channels.listen(&channel).await;
        let listener = listener.map_err(Error::not_followed)?;
        let task = shared.background.spawn_on(hear(listener, f), &host.runtime);
        let task = Some(task.abort_handle());
        Ok(Self { task })
    }

    /// Listens as long as there is the server.
    pub fn detach(mut self) {
        self.task = None;
    }
}

impl Drop for ListenerGuard {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Calls `f` for all that comes, one after the other, until the channels are closed. A panic costs
/// one call.
async fn hear<F, Fut>(mut listener: Listener, mut f: F)
where
    F: FnMut(Received) -> Fut,
    Fut: Future<Output = ()>,
{
    while let Some(received) = listener.next().await {
        let call = async {
            f(received).await;
            Ok(())
        };
        if let Err(error) = unpanicked(call).await {
            let channel = listener.channel();
            tracing::error!(
                ?channel,
                ?error,
                "A function that listens to a channel failed."
            );
        }
    }
}
