//! The bus as the rest of the process sees it: join a channel, emit to a channel.
//! However many join, the bus is asked for a channel once, and let off when the last has gone.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use updraft_protocol::ejson::{self, Value};

use super::{
    Bus, BusError, BusFaults, Channel, ChannelFailures, EmitError, InternalChannel, Lease,
    PayloadLimits, Port, Registry,
};

/// The process's channels and the bus that carries them.
#[derive(Debug)]
pub(crate) struct Channels {
    registry: Arc<Registry>,
    bus: Arc<dyn Bus>,
    when_away: WhenAway,
    closed: CancellationToken,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    /// What a payload may be; larger and deeper ones are dropped.
    pub(crate) limits: PayloadLimits,
    pub(crate) when_away: WhenAway,
    /// How many channels are told apart in the counts of failures.
    pub(crate) failing_channels: usize,
}

/// What a subscription does that needs a channel while the bus cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenAway {
    /// Waits for the bus, at most so long, and then fails with 503 `bus-unavailable`.
    Hold(Duration),
    /// Fails at once.
    Refuse,
}

/// How long a confirmation is awaited, where no other time is set.
const CONFIRMATION: Duration = Duration::from_secs(30);

impl Channels {
    pub(crate) fn new(bus: Arc<dyn Bus>, settings: Settings) -> Self {
        Self {
            registry: Arc::new(Registry::new(&settings, bus.is_immediate())),
            bus,
            when_away: settings.when_away,
            closed: CancellationToken::new(),
        }
    }

    /// Says where each shard takes in (the index is the shard's number) and starts to listen, with tasks on `tasks`
    /// that end at [`close`](Self::close) or drop. Must be called in a runtime; only the first call counts.
    ///
    /// # Errors
    ///
    /// What the operating system says to a new thread.
    pub(crate) fn start(&self, ports: Vec<Arc<dyn Port>>, tasks: &TaskTracker) -> io::Result<()> {
        if self.registry.attach(ports) {
            self.bus.start(&self.registry, tasks, &self.closed)?;
        }
        Ok(())
    }

    /// Takes a share in a channel for a shard, and resolves when the bus has confirmed the channel.
    ///
    /// Messages can reach the shard's port before this resolves: a shard notes its subscriber first and joins then.
    /// A message published after this has resolved reaches the port.
    ///
    /// # Errors
    ///
    /// `Unavailable` when no confirmation came in time; `Refused` when Redis said no; `Closed`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the share back.
    pub(crate) async fn join(&self, channel: &Channel, shard: usize) -> Result<Lease, BusError> {
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
        let (lease, wait) = self.registry.acquire(channel.as_str(), shard);
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

    /// Takes a share in a channel of the server's own for a shard, for as long as the share is kept and whenever the bus has
    /// it: nobody waits for a confirmation.
    pub(crate) fn hold(&self, channel: InternalChannel, shard: usize) -> Lease {
        self.registry.acquire(channel.name(), shard).0
    }

    /// Publishes a value: its EJSON text, on exactly this channel.
    ///
    /// # Errors
    ///
    /// See [`EmitError`]; undefined, and what is larger than a payload may be, is an invalid argument.
    ///
    /// # Cancel safety
    ///
    /// After the future was dropped the message may or may not be published.
    pub(crate) async fn emit(&self, channel: &Channel, value: &Value) -> Result<(), EmitError> {
        self.publish(channel.as_str(), value).await
    }

    /// As [`emit`](Self::emit), on a channel of the server's own.
    ///
    /// # Errors
    ///
    /// The same.
    pub(crate) async fn emit_internally(
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
        self.bus.publish(&self.registry, channel, payload).await
    }

    /// How many channels are in use, the server's own not counted.
    pub(crate) fn channel_count(&self) -> usize {
        let is_held = self.registry.is_wanted(InternalChannel::Orders.name());
        let all = self.registry.channel_count();
        all.saturating_sub(usize::from(is_held))
    }

    /// How many payloads were dropped because they failed their check.
    pub(crate) fn dropped_payloads(&self) -> u64 {
        self.registry.dropped_payloads()
    }

    /// What went wrong with messages, by channel.
    pub(crate) fn failures(&self) -> Vec<ChannelFailures> {
        self.registry.failures().read()
    }

    /// Counts a mapping function that failed on a message of this channel.
    pub(crate) fn mapping_failed(&self, channel: &str) {
        self.registry.failures().failed_mapping(channel);
    }

    /// What was wrong with the bus, and how often.
    pub(crate) fn faults(&self) -> BusFaults {
        self.registry.faults()
    }

    /// The number of the latest connection: how often the bus was connected to, 0 for the bus inside this process.
    pub(crate) fn generation(&self) -> u64 {
        self.registry.generation()
    }

    /// Whether the bus can be reached, as far as is known.
    pub(crate) fn is_connected(&self) -> bool {
        self.registry.is_connected()
    }

    /// Stops listening and ends every wait with `Closed`.
    pub(crate) fn close(&self) {
        self.closed.cancel();
    }
}

impl Drop for Channels {
    fn drop(&mut self) {
        self.close();
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            limits: PayloadLimits::default(),
            when_away: WhenAway::default(),
            failing_channels: 100,
        }
    }
}

impl Default for WhenAway {
    fn default() -> Self {
        Self::Hold(CONFIRMATION)
    }
}

/// A value as it goes over the bus.
pub(super) fn encode(value: &Value) -> Result<Bytes, EmitError> {
    if matches!(value, Value::Undefined) {
        return Err(EmitError::InvalidArgument("undefined cannot be emitted"));
    }
    Ok(Bytes::from(ejson::to_ejson(value)))
}
