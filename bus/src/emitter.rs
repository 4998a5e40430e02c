//! Emitting without a server: for any other Rust process that has something to tell the clients.
//! What it publishes is byte for byte what redis-oplog's `Vent.emit` publishes.

use serde::Serialize;
use updraft_protocol::ejson;

use crate::channels::encode;
use crate::redis::Publisher;
use crate::{BusError, EmitError, IntoChannel, Redis};

/// Emits to channels over Redis. Clones share one connection, which is replaced when it fails.
///
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use updraft_bus::Emitter;
///
/// let emitter = Emitter::connect("redis://127.0.0.1").await?;
/// emitter.emit("threads::7::new_message", serde_json::json!({ "message": "hi" })).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Emitter {
    publisher: Publisher,
}

impl Emitter {
    /// Connects to Redis. It needs no right to subscribe.
    ///
    /// # Errors
    ///
    /// When the URL is of no use, or Redis cannot be reached or refuses.
    pub async fn connect(url: &str) -> Result<Self, BusError> {
        let emitter = Self::from(Redis::lazy(url)?);
        emitter.publisher.check().await?;
        Ok(emitter)
    }

    /// Publishes a value on exactly this channel, as EJSON, and resolves when Redis has it.
    ///
    /// # Errors
    ///
    /// See [`EmitError`]: it tells what was certainly not published from what may have been.
    /// Nothing is repeated, unless a queue was asked for.
    ///
    /// # Cancel safety
    ///
    /// After the future was dropped the message may or may not be published.
    pub async fn emit(
        &self,
        channel: impl IntoChannel,
        value: impl Serialize,
    ) -> Result<(), EmitError> {
        let channel = channel.into_channel()?;
        let value = ejson::to_value(&value)
            .map_err(|_| EmitError::InvalidArgument("the value cannot be written as EJSON"))?;
        let payload = encode(&value)?;
        self.publisher.publish(channel.as_str(), &payload).await
    }
}

/// With the options that were set there, a prefix or a queue for example.
impl From<Redis> for Emitter {
    fn from(redis: Redis) -> Self {
        Self {
            publisher: redis.into_publisher(),
        }
    }
}
