//! The store in memory passes what every store must.
#![cfg(feature = "conformance")]

use updraft_topics::Memory;
use updraft_topics::conformance::{Handles, Harness};

struct InMemory(Memory);

impl Harness for InMemory {
    async fn open(&self) -> Handles {
        Handles::new(&self.0)
    }
}

updraft_topics::conformance_tests!(InMemory(Memory::new()));

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "10,000 events: run by cargo xtask soak"]
async fn soak_topic_100_emitters_that_are_restarted_fire_all_events_in_order() {
    updraft_topics::conformance::restart_emitters(&InMemory(Memory::new()), 10_000).await;
}
