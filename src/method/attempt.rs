//! Calls for which a rule limits the failures: mostly logins, which may be guesses.

use std::sync::Arc;

use updraft_protocol::ejson::Value;

use crate::base::clock;
use crate::base::error::{Error, ErrorKind, Result};
use crate::handler::Connection;
use crate::handler::Retry;
use crate::limit::{Caller, Reserved};

/// A call that counts as a failure until it has succeeded.
pub(super) struct Attempt {
    pub(super) connection: Connection,
    pub(super) caller: Caller,
    /// The number of the method.
    pub(super) method: usize,
    pub(super) name: Arc<str>,
    /// Whether it is a login by a token, which must not be refused because of other callers'
    /// failures.
    pub(super) is_resumption: bool,
}

impl Attempt {
    /// Runs the call, if one more failure is allowed.
    pub(super) async fn run<T>(self, call: impl Future<Output = Result<T>>) -> Result<T> {
        let reserved = self.reserve().await?;
        let outcome = call.await;
        if outcome.as_ref().err().is_none_or(Error::is_no_answer) {
            self.connection.host().limiter.take_back(reserved);
        }
        outcome
    }

    async fn reserve(&self) -> Result<Reserved> {
        let host = self.connection.host();
        let mut retry = Retry::within(host.settings.login_patience);
        loop {
            let now = clock::now();
            let wait = match host.limiter.reserve(self.method, &self.caller, now) {
                Ok(reserved) => return Ok(reserved),
                Err(wait) => wait,
            };
            if self.connection.has_ended() {
                return Err(Error::disconnected());
            }
            if self.is_resumption && retry.again().await {
                continue;
            }
            let refused = self.connection.limited("method", &self.name, wait, now);
            return Err(if self.is_resumption {
                self.connection.postpone_login()
            } else {
                Error::with(ErrorKind::Client, refused)
            });
        }
    }
}

/// Whether these are the parameters of a login by a token.
pub(super) fn is_resumption(params: &[Value]) -> bool {
    let token = params.first().and_then(|options| options.get("resume"));
    token.is_some_and(|token| !token.is_falsy())
}
