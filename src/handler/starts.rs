//! Handlers that are about to begin. One task starts all handlers that a shard has asked for
//! together, so that the runtime is woken once. The runtime chooses which of them runs first:
//! publications that must keep an order wait for their turn, and a session asks for one method
//! after the other.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::task::AbortHandle;

use super::Host;

/// A handler that has not begun. Dropping it ends it as aborting it would.
pub(crate) struct Start {
    handling: BoxFuture<'static, ()>,
    /// Ends the handler from outside, if anything does.
    lifetime: Option<Box<dyn Lifetime>>,
}

/// A subscription or the like, with which a handler ends.
pub(crate) trait Lifetime: Send {
    /// Whether it is over, so that the handler need not begin.
    fn is_over(&self) -> bool;

    /// Takes the handle of a handler that has begun, to abort it at the end.
    fn began(&self, handler: AbortHandle);
}

/// The handlers that a shard has asked for together. Filled by `push`, drained by `begin` each
/// turn.
#[derive(Default)]
pub(crate) struct Starts(Vec<Start>);

impl Start {
    pub(crate) fn new(handling: impl Future<Output = ()> + Send + 'static) -> Self {
        Self {
            handling: Box::pin(handling),
            lifetime: None,
        }
    }

    /// A handler that ends with `lifetime`.
    pub(crate) fn within(
        lifetime: impl Lifetime + 'static,
        handling: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        Self {
            lifetime: Some(Box::new(lifetime)),
            ..Self::new(handling)
        }
    }

    fn begin(self, host: &Host) {
        if self.lifetime.as_ref().is_some_and(|it| it.is_over()) {
            return;
        }
        let task = host.spawn(self.handling);
        if let Some(lifetime) = self.lifetime {
            lifetime.began(task.abort_handle());
        }
    }
}

impl Starts {
    pub(crate) fn push(&mut self, start: Start) {
        self.0.push(start);
    }

    /// Begins all of them.
    pub(crate) fn begin(&mut self, host: &Arc<Host>) {
        if self.0.len() > 1 {
            let (starts, with) = (std::mem::take(&mut self.0), host.clone());
            host.spawn(async move { starts.into_iter().for_each(|start| start.begin(&with)) });
        } else if let Some(start) = self.0.pop() {
            start.begin(host);
        }
    }
}
