//! What a handler is and what it gets: parameters, its client's connection, its host, and a guard
//! that reports how it ended.

mod connection;
mod function;
mod guard;
mod hooks;
mod host;
mod mismatch;
mod params;
mod retry;
mod settings;
mod starts;
mod user_id;

pub use connection::{Connection, Headers};
pub(crate) use function::{Body, body};
pub use function::{Handler, HandlerFn, HandlerResult};
pub(crate) use guard::{guard, unpanicked};
pub(crate) use hooks::Hooks;
pub(crate) use host::{Callback, Host};
pub(crate) use mismatch::Mismatches;
pub use params::Args;
pub(crate) use retry::Retry;
pub use settings::HandlerSettings;
pub(crate) use starts::{Lifetime, Start, Starts};
pub use user_id::UserId;
