//! Subscriptions that follow topics, over real sockets.

mod away;
mod clients;
mod emitter;
mod flow;
mod mirror;
mod named;
mod package;
mod redistribute;
mod resuming;
mod sharing;
mod wire;
mod world;
