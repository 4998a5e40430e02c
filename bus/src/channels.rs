//! The bus as the rest of the process uses it: join a channel, emit to a channel. However many join
//! a channel, the bus subscribes to it once, and unsubscribes when the last one leaves.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use updraft_protocol::ejson::{self, Value};

use crate::backend::Bus;
use crate::channel::InternalChannel;
use crate::registry::{ChannelRegistry, Follower};
use crate::settings::CONFIRMATION;
use crate::{
    BusError, BusFaults, Channel, ChannelFailures, ChannelSettings, EmitError, Lease, Listener,
    Port, WhenAway,
};

/// The channels of a process, and the bus that carries them. A process needs one of these, however
/// many listeners it has.
///
/// Dropping it closes the channels.
#[derive(Debug)]
pub struct Channels {
    registry: Arc<ChannelRegistry>,
    bus: Bus,
    when_away: WhenAway,
    closed: CancellationToken,
}

impl Channels {
    /// Channels over this bus, live at once. Must be called in a Tokio runtime with time and, for
    /// Redis, with I/O.
    ///
    /// # Errors
    ///
    /// The operating system's error when a thread cannot be started.
    pub fn open(bus: impl Into<Bus>, settings: ChannelSettings) -> io::Result<Self> {
        let channels = Self::new(bus, settings);
        channels.start(Vec::new(), &TaskTracker::new())?;
        Ok(channels)
    }

    /// Channels that are live only after [`start`](Self::start), for a server whose shards need
    /// them before that.
    pub fn new(bus: impl Into<Bus>, settings: ChannelSettings) -> Self {
        let bus = bus.into();
        let is_immediate = bus.backend().is_immediate();
        Self {
            registry: Arc::new(ChannelRegistry::new(&settings, is_immediate)),
            bus,
            when_away: settings.when_away,
            closed: CancellationToken::new(),
        }
    }

    /// Starts to listen. `ports` are the shards' ports, by shard number. The tasks run on `tasks`
    /// and end at [`close`](Self::close) or drop. Must be called in a runtime; only the first call
    /// counts.
    ///
    /// # Errors
    ///
    /// The operating system's error when a thread cannot be started.
    pub fn start(&self, ports: Vec<Arc<dyn Port>>, tasks: &TaskTracker) -> io::Result<()> {
        if self.registry.attach(ports) {
            self.bus
                .backend()
                .start(&self.registry, tasks, &self.closed)?;
        }
        Ok(())
    }

    /// Takes a lease on a channel for a shard, and resolves when the bus has confirmed the channel.
    ///
    /// Messages can reach the shard's port before this resolves, so a shard notes its subscriber
    /// first and joins then. A message that is published after this has resolved reaches the port.
    ///
    /// # Errors
    ///
    /// `Unavailable` if no confirmation came in time; `Refused` if Redis refused the channel;
    /// `Closed`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the lease.
    pub async fn join(&self, channel: &Channel, shard: usize) -> Result<Lease, BusError> {
        self.follow(channel.as_str(), Follower::Shard(shard)).await
    }

    /// Listens to a channel, and resolves when the bus has confirmed it. Each message that is
    /// published after that reaches the listener, or leaves a [gap](crate::Received::Gap).
    ///
    /// However many listeners a channel has in this process, Redis has one subscription for it,
    /// which ends with the last listener. The queue of a listener is bounded
    /// ([`ChannelSettings::queued_messages`]): a slow listener has a gap, and delays no other.
    ///
    /// ```
    /// use updraft_bus::{Bus, Channel, ChannelSettings, Channels, Received};
    /// use updraft_protocol::ejson;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// // `Redis::connect(url).await?` instead of `Bus::default()` connects several processes.
    /// let channels = Channels::open(Bus::default(), ChannelSettings::default())?;
    /// let orders = Channel::trusted("orders")?;
    /// let mut listener = channels.listen(&orders).await?;
    /// channels.emit(&orders, &ejson!({ "id": 7 })).await?;
    /// drop(channels);
    ///
    /// let mut heard = Vec::new();
    /// while let Some(received) = listener.next().await {
    ///     match received {
    ///         Received::Message(message) => heard.push(message.value().clone()),
    ///         Received::Gap => println!("messages may be missing: read the database"),
    ///         Received::Refused(error) => println!("no messages for the moment: {error}"),
    ///         _ => {}
    ///     }
    /// }
    /// assert_eq!(heard, [ejson!({ "id": 7 })]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`join`](Self::join).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up the channel.
    pub async fn listen(&self, channel: &Channel) -> Result<Listener, BusError> {
        let lease = self.follow(channel.as_str(), Follower::Listeners).await?;
        Ok(Listener::new(lease))
    }

    /// As [`listen`](Self::listen), to one of the server's own channels.
    ///
    /// # Errors
    ///
    /// As [`join`](Self::join).
    #[doc(hidden)]
    pub async fn listen_internally(&self, channel: InternalChannel) -> Result<Listener, BusError> {
        let lease = self.follow(channel.name(), Follower::Listeners).await?;
        Ok(Listener::new(lease))
    }

    async fn follow(&self, channel: &str, follower: Follower) -> Result<Lease, BusError> {
        let patience = match self.when_away {
            WhenAway::Hold(patience) => patience,
            // A server that has just started has not yet had time to find that the bus is away.
            WhenAway::Refuse if self.registry.is_connected() || self.registry.is_untried() => {
                CONFIRMATION
            }
            WhenAway::Refuse => return Err(self.registry.away()),
        };
        if self.closed.is_cancelled() {
            return Err(BusError::Closed);
        }
        let (lease, wait) = self.registry.acquire(channel, follower);
        let Some(mut wait) = wait else {
            return Ok(lease);
        };
        tokio::select! {
            outcome = wait.wait_for(Option::is_some) => match outcome.as_deref() {
                Ok(Some(Ok(()))) => Ok(lease),
                Ok(Some(Err(error))) => Err(error.clone()),
                Ok(None) | Err(_) => Err(BusError::Closed),
            },
            () = self.closed.cancelled() => Err(BusError::Closed),
            () = sleep(patience) => Err(self.registry.away()),
        }
    }

    /// Takes a lease on one of the server's own channels for a shard. It lasts until it is dropped,
    /// through any time in which the bus is away; there is no wait for a confirmation.
    #[doc(hidden)]
    pub fn hold(&self, channel: InternalChannel, shard: usize) -> Lease {
        self.registry
            .acquire(channel.name(), Follower::Shard(shard))
            .0
    }

    /// Publishes a value as EJSON text, on exactly this channel.
    ///
    /// # Errors
    ///
    /// See [`EmitError`]. Undefined, and a value larger than a payload may be, are invalid
    /// arguments.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the message may or may not be published.
    pub async fn emit(&self, channel: &Channel, value: &Value) -> Result<(), EmitError> {
        self.publish(channel.as_str(), value).await
    }

    /// As [`emit`](Self::emit), on one of the server's own channels.
    ///
    /// # Errors
    ///
    /// As [`emit`](Self::emit).
    #[doc(hidden)]
    pub async fn emit_internally(
        &self,
        channel: InternalChannel,
        value: &Value,
    ) -> Result<(), EmitError> {
        self.publish(channel.name(), value).await
    }

    async fn publish(&self, channel: &str, value: &Value) -> Result<(), EmitError> {
        let payload = encode(value)?;
        // Every process would drop it on receipt, including this one.
        if self.registry.limits().check(&payload).is_err() {
            return Err(EmitError::InvalidArgument(
                "the value is larger or deeper than a payload may be",
            ));
        }
        self.bus
            .backend()
            .publish(&self.registry, channel, payload)
            .await
    }

    /// How many channels are in use, not counting the server's own.
    pub fn channel_count(&self) -> usize {
        let held = InternalChannel::ALL
            .into_iter()
            .filter(|channel| self.registry.is_wanted(channel.name()));
        self.registry.channel_count().saturating_sub(held.count())
    }

    /// How many payloads were dropped because they failed their check.
    pub fn dropped_payloads(&self) -> u64 {
        self.registry.dropped_payloads()
    }

    /// Dropped payloads and failed mapping functions, by channel.
    pub fn failures(&self) -> Vec<ChannelFailures> {
        self.registry.failures().read()
    }

    /// Counts a mapping function that failed on a message of this channel.
    pub fn mapping_failed(&self, channel: &str) {
        self.registry.failures().failed_mapping(channel);
    }

    /// How often each fault of the bus was seen.
    pub fn faults(&self) -> BusFaults {
        self.registry.faults()
    }

    /// The number of the latest connection, which is how often the bus was connected to. 0 for the
    /// bus inside this process.
    pub fn generation(&self) -> u64 {
        self.registry.generation()
    }

    /// Whether the bus can be reached, as far as is known.
    pub fn is_connected(&self) -> bool {
        self.registry.is_connected()
    }

    /// Stops listening, and ends every wait with `Closed`.
    pub fn close(&self) {
        self.closed.cancel();
        self.registry.listeners().close();
    }
}

impl Drop for Channels {
    fn drop(&mut self) {
        self.close();
    }
}

/// A value as it is sent over the bus.
pub(crate) fn encode(value: &Value) -> Result<Bytes, EmitError> {
    if matches!(value, Value::Undefined) {
        return Err(EmitError::InvalidArgument("undefined cannot be emitted"));
    }
    Ok(Bytes::from(ejson::to_ejson(value)))
}
