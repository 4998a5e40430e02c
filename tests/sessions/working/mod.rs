//! Clients that work for a group.

mod answers;
mod away;
mod node;
mod rights;
mod world;
