//! Clients that work for a group.

mod answers;
mod away;
mod rights;
mod world;
