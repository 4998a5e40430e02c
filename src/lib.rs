//! A publication server for Meteor and DDP clients.
//!
//! Publications and methods are async functions, registered at start-up; events come from Redis, or from this process;
//! the clients that exist today connect unchanged.
//!
//! ```no_run
//! use updraft::prelude::*;
//!
//! #[derive(Deserialize)]
//! #[serde(rename_all = "camelCase")]
//! struct Thread {
//!     thread_id: String,
//! }
//!
//! /// Every new message of one thread.
//! async fn thread_message(vent: Vent, Thread { thread_id }: Thread) -> Result<()> {
//!     vent.on(channel!["threads", thread_id, "new_message"], |m: &Message| m.event()).await
//! }
//!
//! async fn add_message(call: Call, (thread_id, message): (String, Value)) -> Result<()> {
//!     call.emit(channel!["threads", thread_id, "new_message"], ejson!({ "message": message })).await
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<()> {
//!     Server::builder()
//!         .vent("threadMessage", thread_message)
//!         .method("messages.add", add_message)
//!         .bus(Redis::connect("redis://127.0.0.1").await?) // without this line: in this process
//!         .bind("127.0.0.1:3000")
//!         .await?
//!         .serve()
//!         .await
//! }
//! ```

pub mod account;
mod bus;
mod clock;
mod connection;
mod error;
mod files;
mod handler;
mod ids;
mod limit;
mod machine;
mod mailbox;
mod memory;
mod method;
mod orders;
mod panics;
mod params;
mod publication;
mod redact;
mod server;
mod services;
mod shard;
mod sockjs;
mod stats;
mod transport;

pub use bus::{
    BusError, BusFault, BusFaults, Cause, Channel, ChannelFailures, EmitError, EmitQueue, Emitter,
    IntoChannel, IntoChannels, InvalidChannel, Message, ParseError, Redis, WhenAway,
};
pub use connection::{Connection, Headers};
pub use error::{Error, ErrorKind, Result};
pub use files::raise_file_limit;
pub use handler::Handler;
pub use limit::Rule;
pub use method::{Call, WriteGuard};
pub use panics::log_panics;
pub use params::Args;
pub use publication::{DocumentId, Event, IntoEvent, IntoGapEvent, Subscription, Vent};
#[cfg(feature = "tls")]
pub use server::Tls;
pub use server::{Bound, Builder, Handle, HealthChecks, Server};
pub use sockjs::{SockJs, SockJsConnection};
pub use stats::Stats;
pub use updraft_protocol::ejson::{Binary, Date, Decimal, Object, ObjectId, Regexp, Value};
pub use updraft_protocol::message::{Code, WireError};
pub use updraft_protocol::random::RandomStream;
pub use updraft_protocol::vent::{EncodingChoice, VentOptions};
pub use updraft_protocol::view::{Fields, IntoFields, Strategy};
pub use updraft_protocol::{ejson, random};
/// The crate of [`Builder::route`]'s filters, in the version that it takes.
pub use warp;

/// What a program that serves publications needs.
pub mod prelude {
    pub use crate::{
        Args, Call, Date, Emitter, Error, Event, Fields, Message, ObjectId, Redis, Result, Server,
        Subscription, Value, Vent, channel, ejson,
    };
    pub use serde::{Deserialize, Serialize};
}
