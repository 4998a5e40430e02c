//! The methods and publications of Meteor's accounts, as its stock client calls them.

use std::slice;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use updraft_protocol::ejson::{Date, Object, Value};

use super::authenticator::{AnyAuthenticator, Grant, Login, LoginRequest};
use super::directory::{ActiveLogin, Directory};
use super::resume::{Resume, expiry};
use super::token::{LoginToken, Token, TokenKey};
use super::users::Users;
use super::watcher::Watcher;
use super::{Accounts, UserStore};
use crate::base::clock;
use crate::base::error::{Error, Result};
use crate::handler::Args;
use crate::method::Call;
use crate::publication::Subscription;

/// A server's accounts, shared by these methods.
#[derive(Debug)]
pub(crate) struct Logins {
    users: UserStore,
    /// In the order in which they are asked.
    authenticators: Vec<Box<dyn AnyAuthenticator>>,
    lifetime: Duration,
    own_fields: Vec<String>,
    poll_interval: Duration,
    directory: Arc<Directory>,
}

impl Logins {
    pub(crate) fn new(accounts: Accounts, others: Vec<Box<dyn AnyAuthenticator>>) -> Self {
        let Accounts {
            users,
            lifetime,
            own_fields,
            poll_interval,
        } = accounts;
        let mut authenticators: Vec<Box<dyn AnyAuthenticator>> =
            vec![Box::new(Resume::new(lifetime))];
        authenticators.extend(others);
        Self {
            users,
            authenticators,
            lifetime,
            own_fields,
            poll_interval,
            directory: Arc::default(),
        }
    }

    /// The task that follows changes in the store, until cancelled.
    pub(crate) fn watch(&self, closing: CancellationToken) -> impl Future<Output = ()> + use<> {
        let watcher = Watcher {
            users: self.users.clone(),
            own_fields: self.own_fields.clone(),
            poll_interval: self.poll_interval,
            directory: self.directory.clone(),
        };
        watcher.run(closing)
    }

    /// `login [OPTIONS]`.
    pub(crate) async fn login(self: Arc<Self>, call: Call, Args(params): Args) -> Result<Value> {
        let Some(Value::Object(options)) = params.into_iter().next() else {
            let missing = "the first parameter is no object of options; login takes one";
            return Err(Error::match_failed().because_for_log(missing));
        };
        let users = self.users.clone();
        let request = LoginRequest::new(options, users, call.connection().clone());
        for authenticator in &self.authenticators {
            if let Some(login) = authenticator.login(&request).await? {
                return self.log_in(&call, login).await;
            }
        }
        Err(Error::bad_request("Unrecognized options for login request"))
    }

    /// `logout`: removes the token with which the connection is logged in.
    pub(crate) async fn logout(self: Arc<Self>, call: Call) -> Result<()> {
        // Before the token is removed, or the connection would be closed with it.
        if let Some(login) = self.directory.leave(call.connection())
            && let Some(token) = &login.token
        {
            let key = TokenKey::Hashed(token);
            if let Err(error) = self.users.remove_token(&login.user, key).await {
                self.directory.enter_again(call.connection(), login);
                return Err(error);
            }
        }
        call.set_user_id(None::<String>).await
    }

    /// `getNewToken`: another token for the same login, with the expiry of the old one.
    pub(crate) async fn get_new_token(self: Arc<Self>, call: Call) -> Result<Value> {
        let user = String::from(call.user_id().ok_or_else(not_logged_in)?);
        let found = self.users.read(slice::from_ref(&user), &[]).await?.pop();
        let found = found.ok_or_else(not_logged_in)?;
        let hashed = self.directory.token(call.connection());
        let current = hashed.and_then(|it| found.tokens.into_iter().find(|at| at.hashed == it));
        let current = current.ok_or_else(|| Error::bare("You have been logged out."))?;
        let result = self.enter_anew(&call, user, current.when).await?;
        Ok(Value::Object(result))
    }

    /// `removeOtherTokens`: logs out all other clients of this user.
    pub(crate) async fn remove_other_tokens(self: Arc<Self>, call: Call) -> Result<()> {
        let user = call.user_id().ok_or_else(not_logged_in)?;
        let own = self.directory.token(call.connection());
        self.users.remove_other_tokens(&user, own.as_ref()).await
    }

    /// `configureLoginService`: always refused, because services are configured in the program.
    pub(crate) async fn configure_login_service(_: Call, Args(params): Args) -> Result<()> {
        let service = params.first().and_then(|options| options.get("service"));
        match service.and_then(Value::as_text) {
            Some(_) => Err(Error::forbidden("Service unknown")),
            None => Err(Error::match_failed()),
        }
    }

    /// The universal publication of the user's own document.
    pub(crate) async fn own_document(self: Arc<Self>, subscription: Subscription) -> Result<()> {
        let Some(user) = subscription.user_id() else {
            return Ok(());
        };
        let user = String::from(user);
        self.directory.show(&user, &subscription);
        let reading = self.directory.reading();
        match self
            .users
            .read(slice::from_ref(&user), &self.own_fields)
            .await
        {
            Ok(mut found) => self.directory.found(reading, &user, found.pop()),
            Err(error) => {
                tracing::warn!(?error, "A user's own document could not be read.");
                self.directory.not_read(vec![user]);
            }
        }
        Ok(())
    }

    async fn log_in(&self, call: &Call, login: Login) -> Result<Value> {
        let Login {
            user,
            kind,
            token,
            members,
        } = login;
        let mut result = match token {
            Grant::Stored { token, record } => {
                self.enter(call, user, Some((token, record)), None).await?
            }
            Grant::New => self.enter_anew(call, user, clock::date()).await?,
            Grant::Bare { expires } => self.enter(call, user, None, expires).await?,
        };
        result.extend(members);
        // Last, so that no member replaces it.
        result.remove("type");
        result.insert("type", kind);
        Ok(Value::Object(result))
    }

    /// Sets the user of the session, with a new token.
    async fn enter_anew(&self, call: &Call, user: String, when: Date) -> Result<Object> {
        let token = Token::random()?;
        let hashed = token.hashed();
        let record = LoginToken {
            hashed: hashed.clone(),
            when,
        };
        let inserted = self.users.insert_token(&user, &record).await;
        inserted.map_err(Error::of_users)?;
        let entered = self
            .enter(call, user.clone(), Some((token, record)), None)
            .await;
        if entered.is_err() {
            // Nobody knows the token.
            let removed = self.users.remove_token(&user, TokenKey::Hashed(&hashed));
            if let Err(error) = removed.await {
                tracing::warn!(?error, "An unused token could not be removed.");
            }
        }
        entered
    }

    /// Sets the user of the session. Returns the members of the result.
    async fn enter(
        &self,
        call: &Call,
        user: String,
        token: Option<(Token, LoginToken)>,
        expires: Option<Date>,
    ) -> Result<Object> {
        let mut result = Object::new();
        result.insert("id", user.as_str());
        let mut expires = expires;
        let mut hashed = None;
        if let Some((token, record)) = token {
            result.insert("token", token.as_str());
            expires = Some(expiry(record.when, self.lifetime));
            hashed = Some(record.hashed);
        }
        if let Some(expires) = expires {
            result.insert("tokenExpires", expires);
        }
        // Before the subscriptions run again: the user's own document is read then, together with
        // the tokens, so that a token which was removed meanwhile is noticed.
        let login = ActiveLogin::new(&user, hashed, expires);
        let former = self.directory.enter(call.connection(), login);
        if let Err(error) = call.set_user_id(Some(user)).await {
            self.directory.leave(call.connection());
            // The user of the session has not changed.
            if let Some(former) = former {
                self.directory.enter_again(call.connection(), former);
            }
            return Err(error);
        }
        Ok(result)
    }
}

fn not_logged_in() -> Error {
    Error::bare("You are not logged in.")
}

/// A publication that stock clients subscribe to, without documents.
pub(crate) async fn nothing(_: Subscription) -> Result<()> {
    Ok(())
}
