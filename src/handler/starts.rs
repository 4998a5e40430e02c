//! Handlers that are about to begin. Those that a shard has asked for together are started by one task, so that the
//! runtime is woken once for all of them. Which of them runs first is left to it: publications that must be in order wait
//! for their turn, and a session asks for one method after the other.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::task::AbortHandle;

use super::Host;

/// A handler that has not begun. Dropped, it ends as one that is aborted.
pub(crate) struct Start {
    handling: BoxFuture<'static, ()>,
    /// What it ends with, if that is not itself.
    lifetime: Option<Box<dyn Lifetime>>,
}

/// What a handler is dropped with.
pub(crate) trait Lifetime: Send {
    /// Whether it is over: the handler need not begin.
    fn is_over(&self) -> bool;

    /// The handler has begun, and is to be aborted at the end.
    fn began(&self, handler: AbortHandle);
}

/// Those that a shard has asked for together.
#[derive(Default)]
pub(crate) struct Starts(Vec<Start>);

impl Start {
    pub(crate) fn new(handling: impl Future<Output = ()> + Send + 'static) -> Self {
        Self {
            handling: Box::pin(handling),
            lifetime: None,
        }
    }

    /// One that is dropped with something else.
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
