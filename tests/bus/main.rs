//! Servers on a real Redis: what arrives, and what happens while Redis is away.

#[path = "../common/mod.rs"]
mod common;
mod delivery;
mod faults;
