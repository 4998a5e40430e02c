//! From a client's `login` to a user. Each kind of login is an [`Authenticator`]; the first one
//! that recognizes a request answers it.

use std::fmt;

use futures_util::future::BoxFuture;
use updraft_protocol::ejson::{Date, Object, Value};

use super::UserStore;
use super::token::{LoginToken, Token};
use crate::base::error::Result;
use crate::handler::Connection;

/// A kind of login: Meteor's login handler. Its method is written as an `async fn`.
///
/// ```
/// use updraft::account::{Authenticator, Login, LoginRequest};
/// use updraft::{Error, Result};
///
/// /// `login [{"ticket": "…"}]`
/// #[derive(Debug)]
/// struct Tickets;
///
/// impl Authenticator for Tickets {
///     async fn login(&self, request: &LoginRequest) -> Result<Option<Login>> {
///         let Some(ticket) = request.options().get("ticket") else {
///             return Ok(None);
///         };
///         let ticket = ticket.as_str().ok_or_else(Error::match_failed)?;
///         match ticket {
///             "opera" => Ok(Some(Login::new("visitor", "ticket"))),
///             _ => Err(Error::forbidden("Not a valid ticket")),
///         }
///     }
/// }
///
/// let builder = updraft::Server::builder().authenticator(Tickets);
/// ```
pub trait Authenticator: fmt::Debug + Send + Sync + 'static {
    /// Checks a login request. `None` if it is of another kind, so that the next authenticator is
    /// asked.
    ///
    /// # Errors
    ///
    /// The request is of this kind and is refused; the user of the session does not change. The
    /// client is not told an internal error.
    ///
    /// # Cancel safety
    ///
    /// The future is not dropped before its end while the server runs, whether or not the client is
    /// still there.
    fn login(&self, request: &LoginRequest) -> impl Future<Output = Result<Option<Login>>> + Send;
}

/// An [`Authenticator`] of any type.
pub(crate) trait AnyAuthenticator: fmt::Debug + Send + Sync {
    fn login<'a>(&'a self, request: &'a LoginRequest) -> BoxFuture<'a, Result<Option<Login>>>;
}

impl<A: Authenticator> AnyAuthenticator for A {
    fn login<'a>(&'a self, request: &'a LoginRequest) -> BoxFuture<'a, Result<Option<Login>>> {
        Box::pin(Authenticator::login(self, request))
    }
}

/// A request to `login`: its first parameter, which is an object.
pub struct LoginRequest {
    options: Object,
    users: UserStore,
    connection: Connection,
}

impl LoginRequest {
    pub(super) fn new(options: Object, users: UserStore, connection: Connection) -> Self {
        Self {
            options,
            users,
            connection,
        }
    }

    /// The object that the client sent. It contains secrets: do not log it.
    pub fn options(&self) -> &Object {
        &self.options
    }

    /// The store of the server's users.
    pub fn users(&self) -> &UserStore {
        &self.users
    }

    /// The client's connection.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }
}

impl fmt::Debug for LoginRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginRequest")
            .field("connection", &self.connection)
            .finish_non_exhaustive()
    }
}

/// A login that is granted.
#[derive(Clone, Debug)]
pub struct Login {
    pub(super) user: String,
    pub(super) kind: String,
    pub(super) token: Grant,
    /// Further members of the result, between `tokenExpires` and `type`.
    pub(super) members: Object,
}

/// What the login depends on.
#[derive(Clone, Debug)]
pub(super) enum Grant {
    /// A stored token, which the client has presented.
    Stored { token: Token, record: LoginToken },
    /// A token that is still to be created and stored.
    New,
    /// No token: the login ends with the connection, or at this time.
    Bare { expires: Option<Date> },
}

impl Login {
    /// A login as `user`, without a token: a client that reconnects must log in by the same means
    /// again. `kind` is the result's `type`: `password`, or the name of a service.
    pub fn new(user: impl Into<String>, kind: impl Into<String>) -> Self {
        Self {
            user: user.into(),
            kind: kind.into(),
            token: Grant::Bare { expires: None },
            members: Object::new(),
        }
    }

    /// Creates a resume token for the client and stores it, as Meteor does at every login that is
    /// not itself by token. This works only for users in the store. For another user the token is
    /// not stored, and the connection is closed as if the token had been removed.
    #[must_use]
    pub fn issue_token(mut self) -> Self {
        self.token = Grant::New;
        self
    }

    /// Ends the login at this time by closing the connection. The client is told the time as
    /// `tokenExpires` in the result. This is for a login without a stored token; a login with one
    /// ends with the token.
    #[must_use]
    pub fn expires(mut self, at: Date) -> Self {
        self.token = Grant::Bare { expires: Some(at) };
        self
    }

    /// Adds a member to the result of `login`.
    #[must_use]
    pub fn member(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name, value);
        self
    }

    /// A login by a token that is already stored.
    pub(super) fn resumed(user: String, token: Token, record: LoginToken) -> Self {
        Self {
            token: Grant::Stored { token, record },
            ..Self::new(user, "resume")
        }
    }
}
