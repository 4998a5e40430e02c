//! Login by a token that the client got at an earlier login: `{resume: TOKEN}`.

use std::time::Duration;

use futures_util::future::BoxFuture;
use updraft_protocol::ejson::Date;

use super::authenticator::{Authenticator, Login, LoginRequest};
use super::token::{LoginToken, Token, TokenKey};
use crate::clock;
use crate::error::{Error, Result};

/// The authenticator that is always there, and asked first.
#[derive(Debug)]
pub(super) struct Resume {
    /// How long a token is good.
    pub(super) lifetime: Duration,
}

impl Authenticator for Resume {
    fn login<'a>(&'a self, request: &'a LoginRequest) -> BoxFuture<'a, Result<Option<Login>>> {
        Box::pin(async move {
            // As Meteor's: what is falsy is no token, and perhaps somebody else's request.
            let resume = request.options().get("resume");
            let Some(resume) = resume.filter(|value| !value.is_falsy()) else {
                return Ok(None);
            };
            let token = Token::new(resume.as_str().ok_or_else(Error::match_failed)?);
            self.resume(request, token).await.map(Some)
        })
    }
}

impl Resume {
    async fn resume(&self, request: &LoginRequest, token: Token) -> Result<Login> {
        let users = request.users();
        let hashed = token.hashed();
        let mut found = users.find_by_token(TokenKey::Hashed(&hashed)).await?;
        let is_legacy = found.is_none();
        if is_legacy {
            found = users.find_by_token(TokenKey::Clear(&token)).await?;
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
            // In this order, so that whatever fails in between costs nobody the login.
            users.insert_token(&owner.user, &record).await?;
            let clear = TokenKey::Clear(&token);
            users.remove_token(&owner.user, clear).await?;
        }
        Ok(Login::resumed(owner.user, token, record))
    }
}

/// When a token that was issued then is no longer good; an invalid date, which is in the past, if it never was.
pub(super) fn expiry(when: Date, lifetime: Duration) -> Date {
    let lifetime = lifetime.as_secs_f64() * 1000.0;
    let issued = when.millis().map(|millis| millis as f64);
    issued.map_or(Date::INVALID, |issued| Date::from_millis(issued + lifetime))
}
