//! Emitting without a server, for any other Rust process that sends to clients. What it publishes
//! equals what redis-oplog's `Vent.emit` publishes, byte for byte.

use serde::Serialize;
use updraft_protocol::ejson;

use crate::channels::encode;
use crate::redis::Publisher;
use crate::{BusError, EmitError, IntoChannel, Redis};

/// Emits to channels over Redis. Clones share one connection, which is replaced when it fails.
///
/// ```no_run
/// # extern crate updraft_bus as updraft;
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use updraft::Emitter;
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
    /// The URL cannot be used, or Redis cannot be reached or refuses.
    pub async fn connect(url: &str) -> Result<Self, BusError> {
        let emitter = Self::from(Redis::lazy(url)?);
        emitter.publisher.check().await?;
        Ok(emitter)
    }

    /// Publishes a value as EJSON on exactly this channel, and resolves when Redis has it.
    ///
    /// # Errors
    ///
    /// See [`EmitError`]: it says whether the message was certainly not published, or may have
    /// been. Nothing is sent again, unless [`Redis::queue_emits`] is used.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the message may or may not be published.
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

/// Uses the options that were set on the `Redis`, for example a prefix or a queue.
impl From<Redis> for Emitter {
    fn from(redis: Redis) -> Self {
        Self {
            publisher: redis.into_publisher(),
        }
    }
}
