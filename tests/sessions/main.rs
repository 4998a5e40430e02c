//! Sessions over real sockets: how long what belongs to a client lives, what one may do to others,
//! who comes back, and what happens when its user changes.

mod calls;
#[path = "../common/mod.rs"]
mod common;
mod ddp_edge;
mod following;
mod lifetimes;
mod rate_limit;
mod resumption;
mod shutdown;
mod stores;
mod user_change;
mod working;
