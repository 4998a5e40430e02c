//! The session, driven by whatever clients say and handlers do, in any order: what it sends must always make sense to a
//! client that knows only what it was sent before.

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
