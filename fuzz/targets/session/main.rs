//! The session under any order of client messages and handler calls: what it sends must always make
//! sense to a client that knows only the frames before.

#![no_main]

mod client;
mod documents;
mod script;
mod world;

use libfuzzer_sys::fuzz_target;
use script::Script;
use world::World;

fuzz_target!(|input: &[u8]| {
    let mut world = World::new();
    for action in Script::new(input) {
        world.act(action);
    }
    world.finish();
});
