//! What a handler is and what it gets: parameters, its client's connection, its host, and a guard that tells how it ended.

mod connection;
mod guard;
mod host;
mod mismatch;
mod params;
mod retry;
mod starts;

pub use connection::{Connection, Headers};
pub use guard::Handler;
pub(crate) use guard::{Patience, guard, unpanicked};
pub(crate) use host::{Callback, Host};
pub(crate) use mismatch::Mismatches;
pub use params::Args;
pub(crate) use retry::Retry;
pub(crate) use starts::{Lifetime, Start, Starts};
