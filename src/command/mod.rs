//! What the binary does: it relays channels, and it looks after topics and their groups. What a
//! command is asked for goes to standard output, in a form for programs; everything else to standard
//! error.

mod confirm;
mod end;
pub(crate) mod group;
mod interrupt;
mod nearest;
mod output;
mod record;
pub(crate) mod relay;
mod store;
mod time;
pub(crate) mod topic;

use std::fmt::Display;

use anyhow::anyhow;

/// An error of the start, with the option that names another address.
fn with_option(error: impl Display, option: &str) -> anyhow::Error {
    let error = error.to_string();
    let asks = error.ends_with('?');
    let joint = if asks { "" } else { ";" };
    anyhow!("{error}{joint} {option} says where")
}
