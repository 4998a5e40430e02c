//! Hundreds of clients on real sockets, some of which do whatever a client must not do, while
//! messages are numbered and published through a real Redis: the others must miss nothing, and
//! everything must be released at the end.
//!
//! `UPDRAFT_SEED` repeats a run's choices, `UPDRAFT_SOAK_SECONDS` sets the length of a round.

#![allow(
    clippy::disallowed_methods,
    reason = "the test measures real time and runs on threads of its own"
)]

mod actors;
#[path = "../common/mod.rs"]
mod common;
mod garbage;
mod memory;
mod proof;
mod publisher;
mod round;
mod server;
mod session;
mod socket;
mod world;

use std::time::Duration;

use round::{Plan, Soak};

/// What a short run does in a debug build beside other tests.
const SHORT: Plan = Plan {
    clients: 300,
    duration: Duration::from_secs(3),
    messages_per_second: 60,
    restarts: 0,
};

#[test]
fn row_032_033_034_083_090_three_hundred_clients_of_which_some_misbehave() {
    Soak::new(SHORT).run();
}

#[test]
fn row_085_restarts_of_redis_are_told() {
    let plan = Plan {
        clients: 60,
        duration: Duration::from_secs(4),
        restarts: 2,
        ..SHORT
    };
    Soak::new(plan).run();
}

#[test]
#[ignore = "takes minutes: cargo xtask soak"]
fn soak_thousand_clients_of_which_some_misbehave() {
    let plan = Plan {
        clients: 1_000,
        duration: round::seconds(60),
        messages_per_second: 80,
        restarts: 0,
    };
    Soak::new(plan).run();
}

#[test]
#[ignore = "takes minutes: cargo xtask soak"]
fn soak_redis_restarts_under_load() {
    let plan = Plan {
        clients: 300,
        duration: round::seconds(30),
        messages_per_second: 80,
        restarts: 10,
    };
    Soak::new(plan).run();
}
