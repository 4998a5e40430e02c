//! Subscriptions that follow topics, over real sockets.

mod away;
mod clients;
mod cursors;
mod emitter;
mod flow;
mod kills;
mod mirror;
mod named;
mod package;
mod redistribute;
mod resuming;
mod sharing;
mod wire;
mod world;
