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
