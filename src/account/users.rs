//! Where users are kept: what the account layer asks of a store, whatever it is.

use std::fmt;
use std::sync::Arc;

use futures_util::future::{BoxFuture, ready};
use updraft_protocol::ejson::{Date, Object};

use super::token::{HashedToken, LoginToken, TokenKey};
use crate::base::error::Result;

/// A store of users, laid out as Meteor's `users` collection: `services.resume.loginTokens` is an array of records
/// `{when, hashedToken}`, where `when` is a date or a number of milliseconds, and other members are kept and ignored.
///
/// A call sees what earlier ones have written. It may wait, and must end in a time that a client
/// would bear. Its error is logged, and must not contain tokens; a client is told `Internal server
/// error`. But a login by token is not told so: while that waits, what it asks for is asked again,
/// and what has taken [too long](crate::config::HandlerSettings::login_patience) is dropped.
pub trait Users: fmt::Debug + Send + Sync + 'static {
    /// The user who has this token, and since when.
    fn find_by_token<'a>(
        &'a self,
        token: TokenKey<'a>,
    ) -> BoxFuture<'a, Result<Option<TokenOwner>>>;

    /// Adds a record `{when, hashedToken}` to the user's tokens, unless the same is there. A user who does not exist is
    /// no error.
    fn insert_token<'a>(
        &'a self,
        user: &'a str,
        token: &'a LoginToken,
    ) -> BoxFuture<'a, Result<()>>;

    /// Removes the user's records with this token, each exactly as it was read, and no others.
    fn remove_token<'a>(&'a self, user: &'a str, token: TokenKey<'a>) -> BoxFuture<'a, Result<()>>;

    /// Removes all of the user's records but those with this token, each exactly as it was read; all of them without one.
    fn remove_other_tokens<'a>(
        &'a self,
        user: &'a str,
        keep: Option<&'a HashedToken>,
    ) -> BoxFuture<'a, Result<()>>;

    /// Reads users: those of `ids` who exist, in any order, with the given fields of their documents (each a path such
    /// as `profile` or `services.google.email`, `_id` never).
    ///
    /// One call serves many users: every ten seconds it asks for those who are logged in, at most 500 at a time.
    fn read<'a>(
        &'a self,
        ids: &'a [String],
        fields: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<User>>>;

    /// The user whom a login by password means, with what the password is checked against. A name or address is found as
    /// Meteor finds it: as it is, else without regard to case if that is one user only.
    fn find_password<'a>(
        &'a self,
        user: &'a UserSelector,
    ) -> BoxFuture<'a, Result<Option<PasswordRecord>>>;

    /// Tells `changes` which users have changed, until it fails or is dropped; it is called again some time after it has
    /// failed. A store that cannot tell returns `Ok`, as it does without an implementation of its own: then users are
    /// read every ten seconds.
    fn watch<'a>(&'a self, changes: &'a Changes) -> BoxFuture<'a, Result<()>> {
        let _ = changes;
        Box::pin(ready(Ok(())))
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
    /// The user's hashed tokens; those in clear are left out.
    pub tokens: Vec<LoginToken>,
    /// The fields that were asked for, as they nest in the document.
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

/// How a login by password says who logs in.
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

/// What a password is checked against.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PasswordRecord {
    /// The user's id.
    pub user: String,
    /// `services.password.bcrypt`; nothing for a user who has no such password.
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

/// Where a store says what has changed.
pub struct Changes {
    told: Arc<dyn Fn(StoreChange<'_>) + Send + Sync>,
}

/// What a store may say.
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

    /// This user may have changed: tokens, or anything else. Costs little for a user who is not logged in here.
    pub fn user(&self, id: &str) {
        (self.told)(StoreChange::User(id));
    }

    /// Any user may have changed: to be called when changes begin to be followed, and when some may have been missed.
    pub fn any(&self) {
        (self.told)(StoreChange::Any);
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes").finish_non_exhaustive()
    }
}
