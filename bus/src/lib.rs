//! Ephemeral channels between processes: who emits does not know who listens, and nothing is stored.
//!
//! A [`Channel`] has a name and carries JSON. A process that only has something to say needs an
//! [`Emitter`]; one that listens has [`Channels`], which carry messages inside this process or over
//! Redis pub/sub. This is the bus of Updraft, a publication server for Meteor and DDP clients, and
//! what it writes is byte for byte what redis-oplog's `Vent.emit` writes.
//!
//! ```
//! use updraft_bus::{Bus, Channels, Received, Settings, channel};
//! use updraft_protocol::ejson;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let channels = Channels::open(Bus::default(), Settings::default())?;
//! let thread = channel!["threads", 7]?;
//! let mut listener = channels.listen(&thread).await?;
//! channels.emit(&thread, &ejson!({ "message": "hi" })).await?;
//! match listener.next().await {
//!     Some(Received::Message(message)) => assert_eq!(message.payload(), r#"{"message":"hi"}"#),
//!     other => panic!("{other:?}"),
//! }
//! # Ok(())
//! # }
//! ```

#![cfg_attr(
    not(feature = "redis"),
    allow(
        dead_code,
        reason = "channels inside one process never fail and are never restored"
    )
)]

mod backend;
mod channel;
mod channels;
#[cfg(feature = "redis")]
mod clock;
#[cfg(feature = "redis")]
mod emitter;
mod error;
mod failures;
mod fault;
mod listener;
mod local;
mod message;
mod port;
mod received;
#[cfg(feature = "redis")]
mod redis;
mod registry;
mod settings;
#[cfg(test)]
mod tests;

pub use self::backend::Bus;
pub use self::channel::{Channel, IntoChannel, IntoChannels, InvalidChannel};
pub use self::channels::Channels;
#[cfg(feature = "redis")]
pub use self::emitter::Emitter;
pub use self::error::{BusError, Cause, EmitError};
pub use self::failures::ChannelFailures;
pub use self::fault::{BusFault, BusFaults};
pub use self::listener::Listener;
pub use self::message::{Message, ParseError, PayloadError, PayloadLimits};
pub use self::port::{Batch, Gap, Port};
pub use self::received::Received;
#[cfg(feature = "redis")]
pub use self::redis::{EmitQueue, Redis};
pub use self::registry::Lease;
pub use self::settings::{Settings, WhenAway};

/// What the server of this workspace needs beside the rest. Not for programs, and subject to no promise.
#[doc(hidden)]
pub mod internal {
    pub use crate::channel::InternalChannel;
}
