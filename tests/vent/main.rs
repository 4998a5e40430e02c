//! Events: who subscribes to them, what functions make of them, and in which frames they arrive.

mod client;
#[path = "../common/mod.rs"]
mod common;
mod encodings;
mod events;
mod functions;
mod streamer;
mod subscriptions;
