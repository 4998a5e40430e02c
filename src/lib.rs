//! A publication server for Meteor and DDP clients.
//!
//! Publications and methods are async functions, registered at start-up. Events come from Redis or
//! from this process. The clients that exist today connect unchanged.
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
//!     let event = ejson!({ "message": message });
//!     call.emit(channel!["threads", thread_id, "new_message"], event).await
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
//!
//! What handlers share, for example a pool of connections, is captured by a closure, which passes a
//! clone of it to each call ([`Handler`]):
//!
//! ```
//! use std::sync::Arc;
//! use updraft::prelude::*;
//!
//! struct Pool;
//!
//! async fn history(_pool: Arc<Pool>, _: Call, _thread_id: String) -> Result<Vec<String>> {
//!     Ok(Vec::new())
//! }
//!
//! let pool = Arc::new(Pool);
//! let builder = Server::builder()
//!     .method("messages.history", move |call, id| history(pool.clone(), call, id));
//! ```
//!
//! Logs go through `tracing`: without a subscriber, such as `tracing_subscriber::fmt::init()`,
//! nothing is logged.
//!
//! [`Server::builder`] is where a server begins, [`Settings`] has every number and time of it, and
//! [`Handle`] is what the rest of the program reaches it by.

#[cfg(feature = "server")]
pub mod account;
#[cfg(feature = "server")]
mod base;
#[cfg(feature = "server")]
pub mod config;
#[cfg(feature = "server")]
mod cursor;
#[cfg(feature = "server")]
mod feed;
#[cfg(feature = "server")]
mod gateway;
#[cfg(feature = "server")]
mod handler;
#[cfg(feature = "server")]
mod limit;
#[cfg(feature = "server")]
mod mail;
#[cfg(feature = "server")]
mod mapping;
#[cfg(feature = "server")]
mod method;
#[cfg(feature = "server")]
mod publication;
#[cfg(feature = "server")]
mod server;
#[cfg(feature = "server")]
mod shard;
#[cfg(feature = "server")]
mod stream;
#[cfg(feature = "server")]
mod telemetry;
#[cfg(feature = "server")]
mod topic;
#[cfg(feature = "server")]
mod transport;
#[cfg(feature = "server")]
mod worker;

#[cfg(feature = "server")]
pub use base::error::{Error, ErrorKind, Result};
#[cfg(feature = "server")]
pub use base::files::raise_file_limit;
#[cfg(feature = "server")]
pub use base::panics::log_panics;
#[cfg(feature = "server")]
pub use config::{AddressSource, Settings, TrustedProxies};
#[cfg(feature = "server")]
pub use gateway::Meteor;
#[cfg(feature = "server")]
pub use handler::{Args, Connection, Handler, HandlerFn, HandlerResult, Headers, UserId};
#[cfg(feature = "server")]
pub use limit::RateLimit;
#[cfg(feature = "server")]
pub use mapping::{Event, IntoEvent, IntoGapEvent, MessageEvent};
#[cfg(feature = "server")]
pub use method::{Call, WriteGuard};
#[cfg(feature = "server")]
pub use publication::{
    DocumentId, Follow, FollowError, IntoDocument, IntoStart, Mirror, Subscription, Vent, Window,
};
#[cfg(all(feature = "server", feature = "tls"))]
pub use server::Tls;
#[cfg(feature = "server")]
pub use server::{BoundServer, Builder, Handle, HealthChecks, ListenerGuard, RequestBody, Server};
#[cfg(feature = "server")]
pub use shard::{ConnectionInfo, Transport};
#[cfg(feature = "server")]
pub use stream::{SockJs, SockJsConnection};
#[cfg(feature = "server")]
pub use telemetry::Stats;
#[cfg(feature = "server")]
pub use topic::{ClientEntry, TopicAccess};
pub use updraft_bus::{
    BusError, BusFault, BusFaults, Channel, ChannelFailures, EmitError, IntoChannel, IntoChannels,
    InvalidChannel, Message, MessageParseError, Received, SharedError, WhenAway, channel,
};
#[cfg(feature = "redis")]
pub use updraft_bus::{EmitQueue, Emitter, Redis};
/// The macro that builds a [`Value`], and the functions that read, print, compare and convert one.
pub use updraft_protocol::ejson;
pub use updraft_protocol::ejson::{Binary, Date, Decimal, Object, ObjectId, Regexp, Value};
pub use updraft_protocol::message::{ErrorCode, WireError};
pub use updraft_protocol::random::{RandomStream, is_meteor_id};
pub use updraft_protocol::vent::{EncodingChoice, VentOptions};
pub use updraft_protocol::view::{Fields, IntoFields, PublicationStrategy};
/// Durable logs: topics, their stores, and positions in them.
#[cfg(feature = "server")]
pub use updraft_topics as topics;
/// For [`Builder::route`]: [`warp::service`] makes a tower service of a filter. Any other version
/// of warp does as well, and so does any other crate whose services are tower's.
#[cfg(feature = "warp")]
pub use warp;

/// Pages of the guide, for their examples to be compiled.
#[cfg(all(doctest, feature = "file", feature = "tls"))]
mod pages {
    #[doc = include_str!("../docs/redistribute.md")]
    struct Redistribute;
}

/// What a program that serves publications needs.
pub mod prelude {
    #[cfg(feature = "server")]
    pub use crate::{Args, Call, Error, Event, MessageEvent, Result, Server, Subscription, Vent};
    pub use crate::{Binary, Date, Fields, Message, ObjectId, Value, channel, ejson};
    #[cfg(feature = "redis")]
    pub use crate::{Emitter, Redis};
    pub use serde::{Deserialize, Serialize};
}
