//! Subscriptions that follow topics, over real sockets.

mod away;
mod cursors;
mod flow;
mod kills;
mod named;
mod resuming;
mod sharing;
mod wire;
mod world;
