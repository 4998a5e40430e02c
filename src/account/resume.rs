//! Login by a token that the client got at an earlier login: `{resume: TOKEN}`.

use std::time::Duration;

use tokio::time::timeout_at;
use updraft_protocol::ejson::Date;

use super::authenticator::{Authenticator, Login, LoginRequest};
use super::store::UserStore;
use super::token::{LoginToken, Token, TokenKey};
use super::users::Users;
use crate::base::ThrottledLog;
use crate::base::clock;
use crate::base::error::{Error, Result};
use crate::handler::{Retry, unpanicked};

/// The authenticator that is always there, and asked first.
#[derive(Debug)]
pub(super) struct Resume {
    /// How long a token is valid.
    lifetime: Duration,
    /// Throttles the log line about a store that fails.
    log: ThrottledLog,
}

impl Authenticator for Resume {
    async fn login(&self, request: &LoginRequest) -> Result<Option<Login>> {
        // As in Meteor: a falsy value is not a token, and may be part of another kind of login.
        let resume = request.options().get("resume");
        let Some(resume) = resume.filter(|value| !value.is_falsy()) else {
            return Ok(None);
        };
        let token = Token::new(resume.as_str().ok_or_else(Error::match_failed)?);
        self.resume(request, token).await.map(Some)
    }
}

impl Resume {
    pub(super) fn new(lifetime: Duration) -> Self {
        Self {
            lifetime,
            log: ThrottledLog::default(),
        }
    }

    async fn resume(&self, request: &LoginRequest, token: Token) -> Result<Login> {
        let mut store = RetryingStore {
            request,
            retry: Retry::within(request.connection().host().settings.login_patience),
            log: &self.log,
        };
        let hashed = token.hashed();
        let key = TokenKey::Hashed(&hashed);
        let mut found = store.ask(|users| users.find_by_token(key)).await?;
        let is_legacy = found.is_none();
        if is_legacy {
            let key = TokenKey::Clear(&token);
            found = store.ask(|users| users.find_by_token(key)).await?;
        }
        let owner = found.ok_or_else(|| {
            Error::forbidden("You've been logged out by the server. Please log in again.")
        })?;
        if expiry(owner.when, self.lifetime) <= clock::date() {
            return Err(Error::forbidden(
                "Your session has expired. Please log in again.",
            ));
        }
        let record = LoginToken {
            hashed,
            when: owner.when,
        };
        if is_legacy {
            // In this order, so that a failure in between loses no login.
            let (user, clear) = (&owner.user, TokenKey::Clear(&token));
            store.ask(|users| users.insert_token(user, &record)).await?;
            store.ask(|users| users.remove_token(user, clear)).await?;
        }
        Ok(Login::resumed(owner.user, token, record))
    }
}

/// The store of users, which may be out of reach for a moment. That is no reason to refuse a token.
struct RetryingStore<'a> {
    request: &'a LoginRequest,
    /// For all calls together.
    retry: Retry,
    log: &'a ThrottledLog,
}

impl<'a> RetryingStore<'a> {
    /// Calls the store until it answers. When that takes too long, the connection is closed, so
    /// that the client tries again.
    async fn ask<T, Fut>(&mut self, question: impl Fn(&'a UserStore) -> Fut) -> Result<T>
    where
        Fut: Future<Output = Result<T>>,
    {
        let (users, connection) = (self.request.users(), self.request.connection());
        loop {
            let answer = unpanicked(async { question(users).await });
            match timeout_at(self.retry.until().into(), answer).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => self.failed(&error),
                Err(late) => self.failed(&late.into()),
            }
            if connection.has_ended() {
                return Err(Error::disconnected());
            }
            if !self.retry.again().await {
                return Err(connection.postpone_login());
            }
        }
    }

    fn failed(&self, error: &Error) {
        if let Some(left_out) = self.log.left_out(clock::now()) {
            tracing::warn!(
                ?error,
                left_out,
                "A token could not be looked up; its login waits."
            );
        }
    }
}

/// When a token that was issued at `when` expires. For an invalid `when` an invalid date, which
/// counts as past.
pub(super) fn expiry(when: Date, lifetime: Duration) -> Date {
    let lifetime = lifetime.as_secs_f64() * 1000.0;
    let issued = when.millis().map(|millis| millis as f64);
    issued.map_or(Date::INVALID, |issued| Date::from_millis(issued + lifetime))
}
