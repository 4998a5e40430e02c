//! The bus as the rest of the process sees it: join a channel, emit to a channel.
//! However many join, the bus is asked for a channel once, and let off when the last has gone.

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

/// The channels of a process and the bus that carries them. A process needs one of these, however
/// many listen in it.
///
/// They close when this is dropped.
#[derive(Debug)]
pub struct Channels {
    registry: Arc<ChannelRegistry>,
    bus: Bus,
    when_away: WhenAway,
    closed: CancellationToken,
}

impl Channels {
    /// Channels over this bus, which are live at once. Must be called in a Tokio runtime, with time
    /// and, for Redis, with I/O.
    ///
    /// # Errors
    ///
    /// What the operating system says to a new thread.
    pub fn open(bus: impl Into<Bus>, settings: ChannelSettings) -> io::Result<Self> {
        let channels = Self::new(bus, settings);
        channels.start(Vec::new(), &TaskTracker::new())?;
        Ok(channels)
    }

    /// Channels that are live once they were [started](Self::start), for a server whose shards need
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

    /// Says where each shard takes in (the index is the shard's number) and starts to listen, with
    /// tasks on `tasks` that end at [`close`](Self::close) or drop. Must be called in a runtime;
    /// only the first call counts.
    ///
    /// # Errors
    ///
    /// What the operating system says to a new thread.
    pub fn start(&self, ports: Vec<Arc<dyn Port>>, tasks: &TaskTracker) -> io::Result<()> {
        if self.registry.attach(ports) {
            self.bus
                .backend()
                .start(&self.registry, tasks, &self.closed)?;
        }
        Ok(())
    }

    /// Takes a share in a channel for a shard, and resolves when the bus has confirmed the channel.
    ///
    /// Messages can reach the shard's port before this resolves: a shard notes its subscriber first
    /// and joins then. A message published after this has resolved reaches the port.
    ///
    /// # Errors
    ///
    /// `Unavailable` when no confirmation came in time; `Refused` when Redis said no; `Closed`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the share back.
    pub async fn join(&self, channel: &Channel, shard: usize) -> Result<Lease, BusError> {
        self.follow(channel.as_str(), Follower::Shard(shard)).await
    }

    /// Listens to a channel, and resolves when the bus has confirmed it: each message that is
    /// published after that comes to the listener, or leaves a [gap](crate::Received::Gap).
    ///
    /// However many listen to a channel in this process, Redis has one subscription for it, which
    /// ends with the last. What waits for a listener is bounded ([`ChannelSettings::queued_messages`]):
    /// one that is slow has a gap, and keeps nobody waiting.
    ///
    /// ```
    /// use updraft_bus::{Bus, Channel, Channels, Received, ChannelSettings};
    /// use updraft_protocol::ejson;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// // `Redis::connect(url).await?` instead of `Bus::default()` carries them between processes.
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
    ///         Received::Gap => println!("some may be missing: look into the database"),
    ///         Received::Refused(error) => println!("nothing comes for the moment: {error}"),
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
    /// Dropping the future gives the channel up.
    pub async fn listen(&self, channel: &Channel) -> Result<Listener, BusError> {
        let lease = self.follow(channel.as_str(), Follower::Listeners).await?;
        Ok(Listener::new(lease))
    }

    async fn follow(&self, channel: &str, follower: Follower) -> Result<Lease, BusError> {
        let patience = match self.when_away {
            WhenAway::Hold(patience) => patience,
            // A server that has just started has not had the time to find the bus away.
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

    /// Takes a share in a channel of the server's own for a shard, for as long as the share is kept
    /// and whenever the bus has it: nobody waits for a confirmation.
    #[doc(hidden)]
    pub fn hold(&self, channel: InternalChannel, shard: usize) -> Lease {
        self.registry
            .acquire(channel.name(), Follower::Shard(shard))
            .0
    }

    /// Publishes a value: its EJSON text, on exactly this channel.
    ///
    /// # Errors
    ///
    /// See [`EmitError`]; undefined, and what is larger than a payload may be, is an invalid
    /// argument.
    ///
    /// # Cancel safety
    ///
    /// After the future was dropped the message may or may not be published.
    pub async fn emit(&self, channel: &Channel, value: &Value) -> Result<(), EmitError> {
        self.publish(channel.as_str(), value).await
    }

    /// As [`emit`](Self::emit), on a channel of the server's own.
    ///
    /// # Errors
    ///
    /// The same.
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
        // Every process would drop it on receipt, this one too.
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

    /// How many channels are in use, the server's own not counted.
    pub fn channel_count(&self) -> usize {
        let is_held = self.registry.is_wanted(InternalChannel::Orders.name());
        let all = self.registry.channel_count();
        all.saturating_sub(usize::from(is_held))
    }

    /// How many payloads were dropped because they failed their check.
    pub fn dropped_payloads(&self) -> u64 {
        self.registry.dropped_payloads()
    }

    /// What went wrong with messages, by channel.
    pub fn failures(&self) -> Vec<ChannelFailures> {
        self.registry.failures().read()
    }

    /// Counts a mapping function that failed on a message of this channel.
    pub fn mapping_failed(&self, channel: &str) {
        self.registry.failures().failed_mapping(channel);
    }

    /// What was wrong with the bus, and how often.
    pub fn faults(&self) -> BusFaults {
        self.registry.faults()
    }

    /// The number of the latest connection: how often the bus was connected to, 0 for the bus
    /// inside this process.
    pub fn generation(&self) -> u64 {
        self.registry.generation()
    }

    /// Whether the bus can be reached, as far as is known.
    pub fn is_connected(&self) -> bool {
        self.registry.is_connected()
    }

    /// Stops listening and ends every wait with `Closed`.
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

/// A value as it goes over the bus.
pub(crate) fn encode(value: &Value) -> Result<Bytes, EmitError> {
    if matches!(value, Value::Undefined) {
        return Err(EmitError::InvalidArgument("undefined cannot be emitted"));
    }
    Ok(Bytes::from(ejson::to_ejson(value)))
}
