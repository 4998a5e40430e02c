//! TLS on both sides: towards clients, and towards Redis.

mod clients;
#[path = "../common/mod.rs"]
mod common;
mod redis;
