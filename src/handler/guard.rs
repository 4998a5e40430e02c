//! Runs handlers, and reports exactly once how each ended.

use std::fmt;
use std::marker::PhantomData;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use updraft_protocol::message::ErrorCode;

use super::Connection;
use crate::base::clock;
use crate::base::error::{Error, Result};
use crate::base::redact::Redacted;

/// If a handler begins so much later than it was asked for, all threads were blocked.
const LATE: Duration = Duration::from_millis(100);

/// The task that runs a handler. It calls `done` exactly once with how the handler ended, also when
/// the handler panics and when the task is dropped before its end.
pub(crate) fn guard<T: Send + 'static>(
    connection: &Connection,
    what: &'static str,
    name: Arc<str>,
    handling: impl Future<Output = Result<T>> + Send + 'static,
    done: impl FnOnce(&Connection, Result<T>) + Send + 'static,
) -> impl Future<Output = ()> + Send + 'static {
    let mut ending = CompletionGuard {
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
            tracing::warn!(
                %what, ?name, ?late,
                "A handler began late: something blocks the runtime's threads."
            );
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
        if let Err(error) = &outcome {
            let id = ending.connection.log_id();
            host.mismatches.refused(id, what, &name, error);
        }
        let told = |error| {
            host.mismatches
                .report(ending.connection.log_id(), what, &name, error)
        };
        let outcome = outcome.map_err(told);
        if tracing::enabled!(tracing::Level::DEBUG) {
            let (connection, took) = (ending.connection.log_id(), asked.elapsed());
            let outcome = OutcomeForLog::of(what, &outcome);
            tracing::debug!(%connection, %what, ?name, %outcome, ?took, "A handler has ended.");
        }
        ending.finish(outcome);
    }
}

/// Makes a panic of the future an internal error.
pub(crate) async fn unpanicked<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    let outcome = AssertUnwindSafe(future).catch_unwind().await;
    outcome.unwrap_or_else(|panic| Err(Error::panicked(&*panic)))
}

/// What the client is sent when a handler has ended.
enum OutcomeForLog<'a> {
    Ready,
    Nosub(&'a ErrorCode),
    Result,
    Error(&'a ErrorCode),
}

impl<'a> OutcomeForLog<'a> {
    fn of<T>(what: &str, outcome: &'a Result<T>) -> Self {
        let code = outcome.as_ref().err().map(|error| &error.wire().error);
        match (what, code) {
            ("publication", None) => Self::Ready,
            ("publication", Some(code)) => Self::Nosub(code),
            (_, None) => Self::Result,
            (_, Some(code)) => Self::Error(code),
        }
    }
}

impl fmt::Display for OutcomeForLog<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => f.write_str("ready"),
            Self::Result => f.write_str("result"),
            Self::Nosub(code) => write!(f, "nosub {}", Redacted(&code.to_string())),
            Self::Error(code) => write!(f, "error {}", Redacted(&code.to_string())),
        }
    }
}

/// Calls `done` when the handler has ended or, at the latest, when this is dropped.
struct CompletionGuard<T, F: FnOnce(&Connection, Result<T>)> {
    connection: Connection,
    /// None once it was called.
    done: Option<F>,
    _value: PhantomData<fn(T)>,
}

impl<T, F: FnOnce(&Connection, Result<T>)> CompletionGuard<T, F> {
    fn finish(&mut self, outcome: Result<T>) {
        if let Some(done) = self.done.take() {
            done(&self.connection, outcome);
        }
    }
}

impl<T, F: FnOnce(&Connection, Result<T>)> Drop for CompletionGuard<T, F> {
    fn drop(&mut self) {
        self.finish(Err(Error::internal("the handler was dropped")));
    }
}
