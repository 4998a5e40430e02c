//! Methods: functions that a client calls. Each call is answered with one `result` and one
//! `updated`.

mod attempt;
mod context;

pub use context::{Call, WriteGuard};

use std::any::Any;
use std::fmt;
use std::pin::pin;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde::Serialize;
use updraft_protocol::ejson::{self, Value};
use updraft_protocol::session::{Run, SessionConfig};

use crate::base::error::{Error, Result};
use crate::handler::{self, Body, Connection, Handler, HandlerResult, Host, Start, guard};
use crate::mail::Mail;
use crate::telemetry::{GaugeGuard, SlowMethod};
use attempt::Attempt;

/// A registered method.
pub(crate) struct Method {
    /// The number by which sessions and rules know it.
    number: usize,
    name: Arc<str>,
    body: Body<Call>,
}

/// The methods of a server, which may call each other.
#[derive(Debug)]
pub(crate) struct Methods {
    /// Has the names of the methods.
    session: Arc<SessionConfig>,
    /// Indexed by the number that `session` gives them.
    all: Vec<Method>,
}

impl Methods {
    pub(crate) fn new(session: Arc<SessionConfig>, all: Vec<Method>) -> Self {
        Self { session, all }
    }

    /// The name of the method with this number.
    pub(crate) fn name(&self, number: usize) -> Option<&str> {
        self.all.get(number).map(Method::name)
    }

    fn find(&self, name: &str) -> Option<&Method> {
        self.all.get(self.session.names.find_method(name)?)
    }

    /// Prepares one call of the method with this number. It starts when there is memory for it.
    /// Once started it runs to its end, whether or not its client is still there.
    pub(crate) fn prepare(
        self: &Arc<Self>,
        number: usize,
        connection: Connection,
        user: Option<Arc<str>>,
        run: Run,
        params: Vec<Value>,
        seed: Option<String>,
    ) -> Option<Start> {
        let method = self.all.get(number)?;
        let attempt = method.attempt(&connection, user.as_deref(), &params);
        let counted = connection.count_parameters(&params);
        let call = Call::new(connection.clone(), self.clone(), user, run, seed);
        let body = method.call(call, params);
        let by = connection.clone();
        let body = async move {
            if !by.room().await {
                return Err(Error::disconnected());
            }
            let outcome = count_if_slow(body, by.host().clone()).await;
            drop(counted);
            outcome
        };
        Some(Start::new(guard(
            &connection,
            "method",
            method.name.clone(),
            async move {
                match attempt {
                    Some(attempt) => attempt.run(body).await,
                    None => body.await,
                }
            },
            move |connection, outcome| {
                connection.send(Mail::Returned(run, outcome.map_err(Error::into_wire)));
            },
        )))
    }
}

impl Method {
    pub(crate) fn new<M>(number: usize, name: &str, handler: impl Handler<Call, M>) -> Self {
        Self {
            number,
            name: name.into(),
            body: handler::body(handler),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The attempt to count, if a rule limits the failures of this method.
    fn attempt(
        &self,
        connection: &Connection,
        user: Option<&str>,
        params: &[Value],
    ) -> Option<Attempt> {
        let limiter = &connection.host().limiter;
        let is_counted = limiter.counts_failures(self.number);
        is_counted.then(|| Attempt {
            connection: connection.clone(),
            caller: connection.caller(user),
            method: self.number,
            name: self.name.clone(),
            is_resumption: &*self.name == "login" && attempt::is_resumption(params),
        })
    }

    fn call(&self, call: Call, params: Vec<Value>) -> BoxFuture<'static, Result<Value>> {
        (self.body)(call, params)
    }
}

impl<T: Serialize + 'static> HandlerResult<Call> for Result<T> {
    fn into_value(self) -> Result<Value> {
        let mut result = self?;
        let any: &mut dyn Any = &mut result;
        // JavaScript's undefined, not null.
        if any.is::<()>() {
            return Ok(Value::Undefined);
        }
        // A `Value` need not be converted.
        if let Some(value) = any.downcast_mut::<Value>() {
            return Ok(value.take());
        }
        Ok(ejson::to_value(&result)?)
    }
}

/// Counts a call as slow, from the time limit for that until the call ends.
async fn count_if_slow<T>(body: impl Future<Output = T>, host: Arc<Host>) -> T {
    let mut body = pin!(body);
    if let Ok(outcome) = tokio::time::timeout(host.settings.slow_method, body.as_mut()).await {
        return outcome;
    }
    let _slow = GaugeGuard::<SlowMethod>::new(&host.gauges);
    body.await
}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Method")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
