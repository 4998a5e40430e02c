//! Accounts: who the user of a session is, and for how long.
//! An [`Authenticator`] turns a login request into a user, a store of [`Users`] keeps their tokens, and the methods and
//! publications of Meteor's accounts stand on both.

mod authenticator;
mod memory;
mod token;
mod users;

pub use authenticator::{Authenticator, Login, LoginRequest};
pub use memory::MemoryUsers;
pub use token::{HashedToken, LoginToken, Token, TokenKey};
pub use users::{Changes, PasswordRecord, TokenOwner, User, UserSelector, Users};
