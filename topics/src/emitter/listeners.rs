//! The listeners of an emitter. One that panics is counted and logged, and harms nothing else.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, PoisonError, RwLock};
use std::task::Poll;

use super::{Counts, Event, Filter, Shared};

/// Names a listener, to remove it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerId(u64);

/// What is called for an event.
pub(super) enum Handler {
    Sync(Box<dyn Fn(&Event) + Send + Sync>),
    Future(Box<dyn Fn(Event) -> HandlerFuture + Send + Sync>),
}

type HandlerFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// All listeners.
#[derive(Default)]
pub(super) struct Listeners(RwLock<Table>);

/// Filled by `on`, drained by `off`.
#[derive(Default)]
struct Table {
    /// Replaced as a whole, so that no lock is held while one of them is called.
    listeners: Arc<[Arc<Listener>]>,
    last: u64,
}

struct Listener {
    id: ListenerId,
    filter: Filter,
    handler: Handler,
}

impl Handler {
    pub(super) fn sync(f: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        Self::Sync(Box::new(f))
    }

    pub(super) fn future<F, R>(f: F) -> Self
    where
        F: Fn(Event) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        Self::Future(Box::new(move |event| Box::pin(f(event))))
    }

    /// An error is what the panic has said.
    async fn call(&self, event: &Event) -> Result<(), Box<dyn Any + Send>> {
        match self {
            Self::Sync(f) => catch_unwind(AssertUnwindSafe(|| f(event))),
            Self::Future(f) => {
                let handling = catch_unwind(AssertUnwindSafe(|| f(event.clone())))?;
                unwinding(handling).await
            }
        }
    }
}

impl Listeners {
    pub(super) fn add(&self, filter: Filter, handler: Handler) -> ListenerId {
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        table.last = table.last.saturating_add(1);
        let id = ListenerId(table.last);
        let listener = Arc::new(Listener {
            id,
            filter,
            handler,
        });
        let listeners = table.listeners.iter().cloned();
        table.listeners = listeners.chain([listener]).collect();
        id
    }

    pub(super) fn remove(&self, id: ListenerId) -> bool {
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let before = table.listeners.len();
        let left = table.listeners.iter().filter(|listener| listener.id != id);
        table.listeners = left.cloned().collect();
        table.listeners.len() < before
    }

    /// Drops all of them: they may hold the emitter, which would never be dropped.
    pub(super) fn clear(&self) {
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let listeners = std::mem::take(&mut table.listeners);
        drop(table);
        drop(listeners);
    }

    fn all(&self) -> Arc<[Arc<Listener>]> {
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&table.listeners)
    }
}

impl Shared {
    /// Calls all listeners for an event.
    pub(super) async fn fire(&self, event: &Event) {
        let (topic, offset) = (self.topic.name(), event.message().offset());
        tracing::debug!(%topic, offset, "An event fires.");
        let listeners = self.listeners.all();
        for listener in listeners.iter().filter(|it| it.filter.matches(event)) {
            Counts::add(&self.counts.fired, 1);
            let Err(panic) = listener.handler.call(event).await else {
                continue;
            };
            Counts::add(&self.counts.failed, 1);
            tracing::error!(%topic, offset, panic = panic_text(&*panic), "A listener has panicked.");
        }
    }
}

/// A future whose panic is an error.
async fn unwinding(future: HandlerFuture) -> Result<(), Box<dyn Any + Send>> {
    let mut future = pin!(future);
    std::future::poll_fn(|context| {
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    })
    .await
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("nothing")
}
