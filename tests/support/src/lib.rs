//! What the tests of this workspace share: transcripts of conversations, a small blocking DDP client that replays them,
//! a proxy that does what networks do, a checker that no event was lost in silence,
//! and Redis and the examples as child processes. Everything panics where a test would, with a message that says why.
//!
//! The client blocks. A server under test must therefore run on other threads: in a process of its own, or in a test
//! marked `#[tokio::test(flavor = "multi_thread")]`, whose body runs beside the workers.

#![allow(
    clippy::disallowed_methods,
    reason = "tests measure real time and run on threads of their own"
)]

pub mod checker;
pub mod client;
pub mod http;
pub mod process;
pub mod proxy;
pub mod redis;
pub mod replay;
pub mod scripted_redis;
pub mod transcript;
pub mod transport;

use std::thread::sleep;
use std::time::{Duration, Instant};

/// Waits until something holds, looking every few milliseconds.
///
/// # Panics
/// After ten seconds.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        sleep(Duration::from_millis(5));
    }
}
