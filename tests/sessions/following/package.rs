//! The tests of the npm package `updraft-client` against the server itself. Its own step of `cargo
//! xtask test` runs them against a small stand-in; that the two speak alike is seen here.

use std::process::Command;

use updraft::Server;
use updraft::topics::Settings;
use updraft_test_support::script::package;

use super::named::open;
use super::world::World;
use crate::common::Running;

/// The files of tests that may need the server, and how many topics each may have.
const FILES: [&str; 7] = [
    "account", "client", "emitter", "faults", "outbox", "seeds", "storage",
];
const TOPICS: usize = 60;

/// Some of those that must have run: what skipped all of them would go unnoticed.
const EXPECTED: [&str; 4] = [
    "topic_103_publish_rejects_half_a_pair_of_key_and_value",
    "topic_023_cut_at_any_byte_all_comes_once_and_in_order",
    "five_hundred_publications_over_random_offline_spans_arrive_once_each",
    "topic_102_a_process_that_starts_again_goes_on_where_it_was",
];

#[test]
fn topic_023_102_103_the_npm_package_passes_its_tests_against_the_server() {
    let world = World::memory();
    let topics = &world.topics;
    let mut builder = Server::builder();
    for (file, n) in FILES
        .into_iter()
        .flat_map(|file| (1..=TOPICS).map(move |n| (file, n)))
    {
        for name in [format!("test-{file}-{n}"), format!("test-{file}-{n}-2")] {
            let topic = topics.topic(&*name, Settings::default());
            let topic = world.runtime.block_on(topic).expect("a topic");
            builder = builder.topic(&topic, open());
        }
    }
    let server = Running::start_resumable(builder);
    let ran = Command::new("npm")
        .args(["test", "--silent"])
        .current_dir(package())
        .env("UPDRAFT_URL", server.url())
        .output()
        .expect("npm runs");
    let said = String::from_utf8_lossy(&ran.stdout);
    println!("{said}{}", String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "see above");
    for test in EXPECTED {
        let passed = format!("test client::{test} ... ok");
        assert!(said.contains(&passed), "{test} did not run");
    }
}
