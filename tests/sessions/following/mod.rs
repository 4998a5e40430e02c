//! Subscriptions that follow topics, over real sockets.

mod away;
mod flow;
mod named;
mod package;
mod resuming;
mod sharing;
mod wire;
mod world;
