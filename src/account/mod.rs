//! Accounts: who the user of a session is, and for how long. An [`Authenticator`] turns a login
//! request into a user, and a store of [`Users`] keeps the users' tokens. The methods and
//! publications of Meteor's accounts use both.
//!
//! ```
//! use updraft::account::{Accounts, MemoryUsers};
//! use updraft::prelude::*;
//!
//! let users = MemoryUsers::new();
//! let builder = Server::builder().accounts(Accounts::new(users));
//! ```

mod authenticator;
mod directory;
mod document;
#[cfg(feature = "jwt")]
mod jwt;
mod logins;
mod memory;
#[cfg(feature = "mongo")]
mod mongo;
#[cfg(feature = "password")]
mod password;
mod resume;
mod store;
mod token;
mod users;
mod watcher;

use std::time::Duration;

pub use authenticator::{Authenticator, Login, LoginRequest};
#[cfg(feature = "jwt")]
pub use jwt::{Jwt, JwtKey};
pub use memory::MemoryUsers;
#[cfg(feature = "mongo")]
pub use mongo::MongoUsers;
#[cfg(feature = "password")]
pub use password::Password;
pub use store::UserStore;
pub use token::{HashedToken, LoginToken, Token, TokenKey};
pub use users::{Changes, PasswordRecord, TokenOwner, User, UserSelector, Users};

pub(crate) use authenticator::AnyAuthenticator;
pub(crate) use logins::{Logins, nothing};

/// Turns accounts on: the methods `login`, `logout`, `getNewToken` and `removeOtherTokens`, resume
/// tokens, and the publication of the user's own document.
///
/// A connection is closed with 1000 when the token with which it logged in disappears from the
/// store, or when it expires. Creating users, and all password functions except login, remain in
/// the Meteor app.
#[derive(Debug)]
pub struct Accounts {
    users: UserStore,
    lifetime: Duration,
    own_fields: Vec<String>,
    poll_interval: Duration,
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The time that Meteor uses for tokens that never expire.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * DAY.as_secs());

impl Accounts {
    /// Accounts with this store of users.
    pub fn new(users: impl Users) -> Self {
        Self {
            users: UserStore::new(users),
            lifetime: 90 * DAY,
            own_fields: ["profile", "username", "emails"].map(str::to_owned).into(),
            poll_interval: Duration::from_secs(10),
        }
    }

    /// How long a token is valid after it was issued: 90 days by default, `None` for a hundred
    /// years. If a Meteor server has the same users, it must equal that server's
    /// `loginExpirationInDays`.
    #[must_use]
    pub fn login_expiration(mut self, lifetime: Option<Duration>) -> Self {
        self.lifetime = lifetime.unwrap_or(FOR_EVER).min(FOR_EVER);
        self
    }

    /// Which fields of their own document users get in the collection `users`, without subscribing:
    /// `profile`, `username` and `emails` by default. Each is a path, such as
    /// `services.google.email`.
    ///
    /// Without any field the document is sent all the same, because Meteor's client waits for it at
    /// login.
    #[must_use]
    pub fn own_fields(mut self, fields: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.own_fields = fields.into_iter().map(Into::into).collect();
        self
    }

    /// The interval at which the server reads the logged-in users from the store, if the store does
    /// not report changes itself: 10 s by default.
    #[must_use]
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = interval;
        self
    }
}
