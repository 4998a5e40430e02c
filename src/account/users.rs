//! The interface of a store of users.

use std::fmt;
use std::sync::Arc;

use updraft_protocol::ejson::{Date, Object};

use super::token::{HashedToken, LoginToken, TokenKey};
use crate::base::error::Result;

/// A store of users, laid out like Meteor's `users` collection: `services.resume.loginTokens` is an
/// array of records `{when, hashedToken}`, where `when` is a date or a number of milliseconds.
/// Other members are kept and ignored.
///
/// A call sees what earlier calls have written. It may wait, but must end within a time that a
/// client accepts. Its error is logged and must not contain tokens; the client is told `Internal
/// server error`. A login by token is an exception: it waits while failed calls are repeated, and a
/// call that takes [too long](crate::config::HandlerSettings::login_patience) is dropped.
///
/// Its methods are written as `async fn`.
pub trait Users: fmt::Debug + Send + Sync + 'static {
    /// The user who has this token, and when it was issued.
    fn find_by_token(
        &self,
        token: TokenKey<'_>,
    ) -> impl Future<Output = Result<Option<TokenOwner>>> + Send;

    /// Adds a record `{when, hashedToken}` to the user's tokens, unless the same record exists. A
    /// user who does not exist is not an error.
    fn insert_token(
        &self,
        user: &str,
        token: &LoginToken,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Removes the user's records with this token, each exactly as it was read, and no others.
    fn remove_token(
        &self,
        user: &str,
        token: TokenKey<'_>,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Removes all of the user's records except those with this token, each exactly as it was read.
    /// With `None` removes all.
    fn remove_other_tokens(
        &self,
        user: &str,
        keep: Option<&HashedToken>,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Reads users: those of `ids` that exist, in any order, with the given fields of their
    /// documents. Each field is a path such as `profile` or `services.google.email`, never `_id`.
    ///
    /// One call reads many users: every ten seconds it is called for the users who are logged in,
    /// with at most 500 at a time.
    fn read(
        &self,
        ids: &[String],
        fields: &[String],
    ) -> impl Future<Output = Result<Vec<User>>> + Send;

    /// The user of a login by password, and the data to check the password. Names and addresses are
    /// found as in Meteor: exactly, or else ignoring case if only one user matches.
    fn find_password(
        &self,
        user: &UserSelector,
    ) -> impl Future<Output = Result<Option<PasswordRecord>>> + Send;

    /// Reports to `changes` which users have changed, until it fails or is dropped. It is called
    /// again some time after a failure. A store that cannot report changes returns `Ok`, like the
    /// default implementation. Then users are read every ten seconds.
    fn watch(&self, changes: &Changes) -> impl Future<Output = Result<()>> + Send {
        let _ = changes;
        std::future::ready(Ok(()))
    }
}

/// The owner of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenOwner {
    /// The user's id.
    pub user: String,
    /// The record's `when`.
    pub when: Date,
}

impl TokenOwner {
    /// A user, and when the token was issued.
    pub fn new(user: impl Into<String>, when: Date) -> Self {
        let user = user.into();
        Self { user, when }
    }
}

/// A user, as read from a store.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct User {
    /// The user's id.
    pub id: String,
    /// The user's hashed tokens; clear-text tokens are left out.
    pub tokens: Vec<LoginToken>,
    /// The fields that were asked for, nested as in the document.
    pub fields: Object,
}

impl User {
    /// A user with these tokens and fields.
    pub fn new(id: impl Into<String>, tokens: Vec<LoginToken>, fields: Object) -> Self {
        Self {
            id: id.into(),
            tokens,
            fields,
        }
    }
}

/// How a login by password names the user.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UserSelector {
    /// By the user's id.
    Id(String),
    /// By `username`.
    Username(String),
    /// By one of `emails.address`.
    Email(String),
}

/// The data to check a password.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PasswordRecord {
    /// The user's id.
    pub user: String,
    /// `services.password.bcrypt`; `None` for a user without such a password.
    pub bcrypt: Option<String>,
}

impl PasswordRecord {
    /// A user, and the hash if there is one.
    pub fn new(user: impl Into<String>, bcrypt: Option<String>) -> Self {
        let user = user.into();
        Self { user, bcrypt }
    }
}

impl fmt::Debug for PasswordRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordRecord")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// Receives a store's reports of changes.
pub struct Changes {
    told: Arc<dyn Fn(StoreChange<'_>) + Send + Sync>,
}

/// A report of a store.
pub(super) enum StoreChange<'a> {
    User(&'a str),
    Any,
}

impl Changes {
    pub(super) fn new(told: impl Fn(StoreChange<'_>) + Send + Sync + 'static) -> Self {
        Self {
            told: Arc::new(told),
        }
    }

    /// This user may have changed: tokens, or anything else. Cheap for a user who is not logged in
    /// here.
    pub fn user(&self, id: &str) {
        (self.told)(StoreChange::User(id));
    }

    /// Any user may have changed. To be called when the store starts to follow changes, and when it
    /// may have missed some.
    pub fn any(&self) {
        (self.told)(StoreChange::Any);
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes").finish_non_exhaustive()
    }
}
