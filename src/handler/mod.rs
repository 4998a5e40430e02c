//! What a handler is and what it gets: parameters, its client's connection, its host, and a guard that tells how it ended.

mod connection;
mod guard;
mod hooks;
mod host;
mod params;
mod retry;
mod settings;
mod starts;

pub use connection::{Connection, Headers};
pub use guard::Handler;
pub(crate) use guard::{guard, unpanicked};
pub(crate) use hooks::Hooks;
pub(crate) use host::{Callback, Host};
pub use params::Args;
pub(crate) use retry::Retry;
pub use settings::HandlerSettings;
pub(crate) use starts::{Lifetime, Start, Starts};
