//! What the tests of this workspace share: transcripts of conversations, a small blocking DDP
//! client that replays them, a proxy that does what networks do, a checker that no event was lost
//! in silence, and Redis, MongoDB and the examples as child processes. Everything panics where a
//! test would, with a message that says why.
//!
//! The client blocks. A server under test must therefore run on other threads: in a process of its
//! own, or in a test marked `#[tokio::test(flavor = "multi_thread")]`, whose body runs beside the
//! workers.

#![allow(
    clippy::exhaustive_enums,
    clippy::exhaustive_structs,
    reason = "of this workspace only: whoever matches one must know all of it"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "tests measure real time and run on threads of their own"
)]

pub mod checker;
pub mod client;
pub mod compiler;
pub mod example;
pub mod http;
pub mod mongo;
pub mod page;
pub mod process;
pub mod proxy;
pub mod redis;
pub mod replay;
pub mod script;
pub mod scripted_redis;
pub mod stream;
pub mod transcript;
pub mod transport;

use std::thread::sleep;
use std::time::{Duration, Instant};

/// Waits until something holds, looking every few milliseconds.
///
/// # Panics
/// After thirty seconds.
pub fn eventually(what: &str, holds: impl FnMut() -> bool) {
    let held = holds_within(Duration::from_secs(30), holds);
    assert!(held, "never happened: {what}");
}

/// Waits until something holds, looking every few milliseconds; whether it did in time.
fn holds_within(limit: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    while !holds() {
        if Instant::now() >= deadline {
            return false;
        }
        sleep(Duration::from_millis(5));
    }
    true
}
