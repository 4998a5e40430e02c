#![doc = include_str!("../README.md")]
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
pub use self::error::{BusError, EmitError, SharedError};
pub use self::failures::ChannelFailures;
pub use self::fault::{BusFault, BusFaults};
pub use self::listener::Listener;
pub use self::message::{Message, MessageParseError, PayloadError, PayloadLimits};
pub use self::port::{Batch, Gap, Port};
pub use self::received::Received;
#[cfg(feature = "redis")]
pub use self::redis::{EmitQueue, Redis};
pub use self::registry::Lease;
pub use self::settings::{ChannelSettings, WhenAway};

/// For the server of this workspace only. Other programs must not use it: it may change at any
/// time.
#[doc(hidden)]
pub mod internal {
    pub use crate::channel::InternalChannel;
}
