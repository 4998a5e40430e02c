//! What can be a handler: an async function of a context and one typed value.
//!
//! There are three traits, so that the compiler can say which part of a function is wrong:
//! `HandlerFn` is about what it takes, `HandlerResult` about what it returns, [`Handler`] about
//! both.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde::de::DeserializeOwned;
use updraft_protocol::ejson::Value;

use super::params;
use crate::base::error::Result;

/// An async function that can serve a publication or a method: `async fn(Context) -> Result<T>` or
/// `async fn(Context, Params) -> Result<T>`, or a closure like these.
///
/// The context is a [`Subscription`](crate::Subscription), a [`Vent`](crate::Vent) or a
/// [`Call`](crate::Call).
///
/// `Params` is any type that serde can read. A tuple takes all parameters, any other type the
/// first. [`Args`](crate::Args) takes all parameters, as they came. Surplus parameters and unknown
/// members are ignored. Parameters that do not fit are answered with 400 `Match failed`.
///
/// A missing parameter is `None` for an `Option` and undefined for a [`Value`]. A struct is read
/// from `{}`, so it fits if each of its members may be missing. For any other type, such as
/// `String` or `Vec`, a missing parameter does not fit.
///
/// A method returns a [`Result`](crate::Result) of any type that serde can write, a publication a
/// `Result` of `()`, because it publishes through its context. The error is
/// [`Error`](crate::Error), so that closures need not name it, and `?` converts other errors to it.
/// The future is `Send`: a value that is not `Send` may not be held across an await.
///
/// The handler of a publication is dropped after 60 s
/// ([`publication_timeout`](crate::config::SessionSettings::publication_timeout)), the handler of a
/// method never.
///
/// A closure captures what a handler needs beside its parameters, and clones it for each call.
/// Either it calls a function with the clone, or it makes an `async` block that owns the clone. An
/// `async` closure that captures is not a handler, because it lends what it has captured to its
/// future.
///
/// ```
/// # use updraft::prelude::*;
/// # #[derive(Clone)] struct Pool;
/// # impl Pool { async fn add(&self, _: &str) -> std::io::Result<u32> { Ok(1) } }
/// async fn add(pool: Pool, call: Call, (title, done): (String, bool)) -> Result<u32> {
///     let title = if done { title + " ✓" } else { title };
///     Ok(pool.add(&title).await?)
/// }
///
/// let pool = Pool;
/// let for_notes = pool.clone();
/// let builder = Server::builder()
///     .method("version", async |_: Call| Ok(env!("CARGO_PKG_VERSION")))
///     .method("tasks.add", move |call, params| add(pool.clone(), call, params))
///     .method("notes.add", move |_: Call, text: String| {
///         let pool = for_notes.clone();
///         async move { Ok(pool.add(&text).await?) }
///     });
/// ```
#[diagnostic::on_unimplemented(
    message = "this function does not take what a handler of a `{C}` is given",
    label = "neither `async fn({C}) -> Result<_>` nor `async fn({C}, Params) -> Result<_>`",
    note = "its first parameter is the context, a `{C}`",
    note = "several parameters are one tuple: `(String, i64)`"
)]
pub trait Handler<C, M>: Send + Sync + 'static {
    /// Reads the parameters, calls the function, and makes a value of what it returns.
    #[doc(hidden)]
    fn handle(
        self: Arc<Self>,
        context: C,
        params: Vec<Value>,
    ) -> impl Future<Output = Result<Value>> + Send + 'static;
}

/// What a [`Handler`] takes: a context, or a context and one value. `M` tells the two apart.
#[diagnostic::on_unimplemented(
    message = "this function does not take what a handler of a `{C}` is given",
    label = "neither `async fn({C}) -> Result<_>` nor `async fn({C}, Params) -> Result<_>`",
    note = "its first parameter is the context, a `{C}`",
    note = "several parameters are one tuple: `(String, i64)`"
)]
pub trait HandlerFn<C, M> {
    /// The value; `()` where the function takes none.
    type Params;
    /// What the function returns.
    type Future;

    /// Calls the function.
    fn call(&self, context: C, params: Self::Params) -> Self::Future;
}

/// What a [`Handler`] of a `C` returns: a method a `Result` of any type that serde can write, a
/// publication `Result<()>`.
#[diagnostic::on_unimplemented(
    message = "a handler of a `{C}` cannot return `{Self}`",
    label = "returns `{Self}`",
    note = "a method returns `updraft::Result<T>`, where `T` implements `Serialize`",
    note = "a publication returns `updraft::Result<()>`: what it publishes goes through its context",
    note = "the error is `updraft::Error`, to which `?` converts others"
)]
pub trait HandlerResult<C> {
    /// The result as a value, undefined for `()`.
    #[doc(hidden)]
    fn into_value(self) -> Result<Value>;
}

impl<C, F, Fut> HandlerFn<C, fn() -> Fut> for F
where
    F: Fn(C) -> Fut,
{
    type Params = ();
    type Future = Fut;

    fn call(&self, context: C, (): ()) -> Fut {
        self(context)
    }
}

impl<C, P, F, Fut> HandlerFn<C, fn(P) -> Fut> for F
where
    F: Fn(C, P) -> Fut,
{
    type Params = P;
    type Future = Fut;

    fn call(&self, context: C, params: P) -> Fut {
        self(context, params)
    }
}

// The only implementation, so that the compiler checks each bound by itself.
impl<C, M, F> Handler<C, M> for F
where
    C: Send + 'static,
    M: 'static,
    F: HandlerFn<C, M> + Send + Sync + 'static,
    F::Params: DeserializeOwned + 'static,
    F::Future: Future + Send + 'static,
    <F::Future as Future>::Output: HandlerResult<C>,
{
    async fn handle(self: Arc<Self>, context: C, params: Vec<Value>) -> Result<Value> {
        let handling = self.call(context, params::read(params)?);
        drop(self);
        handling.await.into_value()
    }
}

/// A handler of any type, as registries hold it. None of its code runs before the future is polled.
pub(crate) type Body<C> =
    Box<dyn Fn(C, Vec<Value>) -> BoxFuture<'static, Result<Value>> + Send + Sync>;

pub(crate) fn body<C: 'static, M>(handler: impl Handler<C, M>) -> Body<C> {
    let handler = Arc::new(handler);
    Box::new(move |context, params| Box::pin(handler.clone().handle(context, params)))
}
