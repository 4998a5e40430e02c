//! Handlers that are about to begin. Those that a shard has asked for together are started by one task, so that the
//! runtime is woken once for all of them. Which of them runs first is left to it: publications that must be in order wait
//! for their turn, and a session asks for one method after the other.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::publication::Subscription;
use crate::services::Services;

/// A handler that has not begun. Dropped, it ends as one that is aborted.
pub(crate) struct Start {
    handling: BoxFuture<'static, ()>,
    /// What stops it when it is over.
    subscription: Option<Subscription>,
}

/// Those that a shard has asked for together.
#[derive(Default)]
pub(crate) struct Starts(Vec<Start>);

impl Start {
    pub(crate) fn new(handling: impl Future<Output = ()> + Send + 'static) -> Self {
        Self {
            handling: Box::pin(handling),
            subscription: None,
        }
    }

    /// One that is dropped with its subscription.
    pub(crate) fn of(
        subscription: Subscription,
        handling: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        Self {
            subscription: Some(subscription),
            ..Self::new(handling)
        }
    }

    fn begin(self, services: &Services) {
        if self
            .subscription
            .as_ref()
            .is_some_and(Subscription::is_stopped)
        {
            return;
        }
        let task = services.spawn(self.handling);
        if let Some(subscription) = self.subscription {
            subscription.handler_started(task.abort_handle());
        }
    }
}

impl Starts {
    pub(crate) fn push(&mut self, start: Start) {
        self.0.push(start);
    }

    /// Begins all of them.
    pub(crate) fn begin(&mut self, services: &Arc<Services>) {
        if self.0.len() > 1 {
            let (starts, with) = (std::mem::take(&mut self.0), services.clone());
            services.spawn(async move { starts.into_iter().for_each(|start| start.begin(&with)) });
        } else if let Some(start) = self.0.pop() {
            start.begin(services);
        }
    }
}
