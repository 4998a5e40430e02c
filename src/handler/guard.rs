//! Handlers: async functions of a context and one typed value, made callable with what a client sent.

use std::any::Any;
use std::marker::PhantomData;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use updraft_protocol::ejson::{self, Value};

use super::{Connection, params};
use crate::base::error::{Error, Result};
use crate::base::{clock, panics};

/// An async function that can serve a publication or a method: `async fn(Context) -> Result<T>` or
/// `async fn(Context, Params) -> Result<T>`.
///
/// `Params` is any type that serde can read. A tuple takes all parameters, anything else the first; a missing one reads
/// as `{}` for a struct and as absent for an `Option`; surplus parameters and unknown members are ignored;
/// [`Args`](crate::Args) is all of them, as they came. What does not fit is 400 `Match failed`.
#[diagnostic::on_unimplemented(
    message = "this cannot handle a `{C}`",
    label = "not an `async fn({C}) -> Result<T>` or `async fn({C}, Params) -> Result<T>`",
    note = "its future must be `Send`: nothing that is not may be held across an await",
    note = "`Params` must implement `Deserialize`, and `T` `Serialize`"
)]
pub trait Handler<C, M>: Send + Sync + 'static {
    /// Calls the function; its result as a value, undefined for `()`.
    fn handle(&self, context: C, params: Vec<Value>) -> BoxFuture<'static, Result<Value>>;
}

impl<C, F, Fut, T, E> Handler<C, fn() -> Result<T, E>> for F
where
    F: Fn(C) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<T, E>> + Send + 'static,
    T: Serialize + 'static,
    E: Into<Error>,
{
    fn handle(&self, context: C, _: Vec<Value>) -> BoxFuture<'static, Result<Value>> {
        let handling = self(context);
        Box::pin(async move { result(handling.await) })
    }
}

impl<C, F, P, Fut, T, E> Handler<C, fn(P) -> Result<T, E>> for F
where
    F: Fn(C, P) -> Fut + Send + Sync + 'static,
    P: DeserializeOwned + 'static,
    Fut: Future<Output = Result<T, E>> + Send + 'static,
    T: Serialize + 'static,
    E: Into<Error>,
{
    fn handle(&self, context: C, params: Vec<Value>) -> BoxFuture<'static, Result<Value>> {
        match params::read(params) {
            Ok(params) => {
                let handling = self(context, params);
                Box::pin(async move { result(handling.await) })
            }
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }
}

/// `()` is JavaScript's undefined, not null.
fn result<T: Serialize + 'static, E: Into<Error>>(outcome: Result<T, E>) -> Result<Value> {
    let mut value = outcome.map_err(E::into)?;
    let any: &mut dyn Any = &mut value;
    if any.is::<()>() {
        return Ok(Value::Undefined);
    }
    // What is a value already need not be copied.
    if let Some(value) = any.downcast_mut::<Value>() {
        return Ok(value.take());
    }
    Ok(ejson::to_value(&value)?)
}

/// How long handlers may keep others waiting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// How long one subscription may hold its session's queue while it waits for the bus.
    pub(crate) bus: Duration,
    /// From when on a method that runs counts as slow.
    pub(crate) method: Duration,
    /// How long a login by token may wait for an answer that is about the token.
    pub(crate) login: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            bus: Duration::from_millis(250),
            method: Duration::from_secs(30),
            login: Duration::from_secs(10),
        }
    }
}

/// A handler that begins so much later than it was asked for found all threads blocked.
const LATE: Duration = Duration::from_millis(100);

/// Runs a handler, as a task to be spawned, and tells `done` how it ended, exactly once: also when it panics, and when
/// the task is dropped before its end.
pub(crate) fn guard<T: Send + 'static>(
    connection: &Connection,
    what: &'static str,
    name: Arc<str>,
    handling: impl Future<Output = Result<T>> + Send + 'static,
    done: impl FnOnce(&Connection, Result<T>) + Send + 'static,
) -> impl Future<Output = ()> + Send + 'static {
    let mut ending = Ending {
        connection: connection.clone(),
        done: Some(done),
        _value: PhantomData,
    };
    let asked = clock::now();
    async move {
        let gauges = &ending.connection.host().gauges;
        let late = asked.elapsed();
        if late >= LATE {
            gauges.late_handlers.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(%what, ?name, ?late, "A handler began late: something blocks the runtime's threads.");
        }
        let outcome = unpanicked(handling).await;
        if let Err(error) = &outcome
            && error.is_internal()
        {
            gauges.failed_handlers.fetch_add(1, Ordering::Relaxed);
            let id = ending.connection.log_id();
            tracing::error!(connection = %id, %what, ?name, ?error, "A handler failed.");
        }
        let host = ending.connection.host();
        let told = |error| {
            host.mismatches
                .noted(&ending.connection, what, &name, error)
        };
        let outcome = outcome.map_err(told);
        ending.tell(outcome);
    }
}

/// Turns a panic into an internal error.
pub(crate) async fn unpanicked<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    let outcome = AssertUnwindSafe(future).catch_unwind().await;
    outcome.unwrap_or_else(|panic| {
        let text = panics::text_of(&*panic);
        Err(Error::internal(format!("panicked: {text}")))
    })
}

/// Sees to it that an ending is told.
struct Ending<T, F: FnOnce(&Connection, Result<T>)> {
    connection: Connection,
    done: Option<F>,
    _value: PhantomData<fn(T)>,
}

impl<T, F: FnOnce(&Connection, Result<T>)> Ending<T, F> {
    fn tell(&mut self, outcome: Result<T>) {
        if let Some(done) = self.done.take() {
            done(&self.connection, outcome);
        }
    }
}

impl<T, F: FnOnce(&Connection, Result<T>)> Drop for Ending<T, F> {
    fn drop(&mut self) {
        self.tell(Err(Error::internal("the handler was dropped")));
    }
}
