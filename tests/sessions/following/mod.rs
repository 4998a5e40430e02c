//! Subscriptions that follow topics, over real sockets.

mod away;
mod emitter;
mod flow;
mod named;
mod redistribute;
mod resuming;
mod sharing;
mod wire;
mod world;
