//! What the rest of a program does with a running server.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Serialize;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use updraft_bus::{ChannelFailures, IntoChannel, Received};
use updraft_topics::{Entry, Published, Topic};

#[cfg(feature = "tls")]
use super::Tls;
use super::drain;
use super::listening::ListenerGuard;
use crate::base::error::Result;
use crate::config::DrainSettings;
use crate::handler::Host;
use crate::shard::orders::Order;
use crate::shard::{ConnectionInfo, Shard, Shared};
use crate::telemetry::Stats;

/// A running server, for the rest of the program. Clones are the same server.
#[derive(Clone, Debug)]
pub struct Handle {
    shared: Arc<Shared>,
    shards: Arc<[Shard]>,
    drain: DrainSettings,
    /// How long a closed connection may take to go away.
    close_timeout: Duration,
    /// Cancelled when no client is left, nor anything that clients have begun.
    deserted: CancellationToken,
    /// Cancelled when everything has ended, or was given up.
    finished: CancellationToken,
}

impl Handle {
    pub(super) fn new(
        shared: Arc<Shared>,
        shards: Arc<[Shard]>,
        drain: DrainSettings,
        close_timeout: Duration,
    ) -> Self {
        Self {
            shared,
            shards,
            drain,
            close_timeout,
            deserted: CancellationToken::new(),
            finished: CancellationToken::new(),
        }
    }

    /// Publishes a message to everybody who follows the channel, in this process and others.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotSent`](crate::ErrorKind::NotSent) or
    /// [`ErrorKind::OutcomeUnknown`](crate::ErrorKind::OutcomeUnknown) when the bus fails; 400 for
    /// a bad channel or value.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, the message may or may not have been published.
    pub async fn emit(&self, channel: impl IntoChannel, value: impl Serialize) -> Result<()> {
        self.shared.host.emit(channel, value).await
    }

    /// Publishes a record to a topic, and resolves when the store has it.
    ///
    /// # Errors
    ///
    /// Those of [`Topic::publish`], as a client is told them.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, the record may or may not be stored.
    pub async fn publish(&self, topic: &Topic, entry: impl Into<Entry>) -> Result<Published> {
        Ok(topic.publish(entry).await?)
    }

    /// Calls `f` for each message of a channel, whoever has published it, and for each
    /// [gap](Received::Gap) where some may be missing, until what is returned is dropped or the
    /// server has shut down.
    ///
    /// Resolves when the bus has confirmed the channel: what is published after that arrives, or
    /// leaves a gap. `f` runs on the runtime that awaits `serve`, one call at a time and in order;
    /// the next waits for its future. What waits is bounded
    /// ([`ChannelSettings::queued_messages`](crate::config::ChannelSettings::queued_messages)): a
    /// function that does not keep up has a gap, and keeps nobody else waiting. A panic costs one
    /// call.
    ///
    /// ```
    /// # use updraft::prelude::*;
    /// # use updraft::{Handle, Received};
    /// # async fn forget(_: &Value) {}
    /// # async fn forget_all() {}
    /// # async fn run(handle: Handle) -> Result<()> {
    /// let listening = handle.on(channel!["prices", "changed"], |received| async move {
    ///     match received {
    ///         Received::Message(message) => forget(message.value()).await,
    ///         // Nobody knows what has changed meanwhile.
    ///         _ => forget_all().await,
    ///     }
    /// });
    /// let listening = listening.await?; // as long as this lives
    /// # drop(listening);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// 400 for a channel name that could not be built; 503 `bus-unavailable`.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, nothing is listened to.
    pub async fn on<F, Fut>(&self, channel: impl IntoChannel, f: F) -> Result<ListenerGuard>
    where
        F: FnMut(Received) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let channel = channel.into_channel()?;
        ListenerGuard::new(&self.shared, channel, f).await
    }

    /// What is alive at this moment.
    pub fn stats(&self) -> Stats {
        Stats {
            tasks: self.shared.host.tasks.len(),
            channels: self.shared.host.channels.channel_count(),
            followed_topics: self.shared.host.feeds.count(),
            topic_pages: self.shared.host.feeds.pages(),
            polling_sessions: self.shared.polling.len(),
            queued_bytes: self.shared.host.memory.queued(),
            parameter_bytes: self.shared.host.memory.parameters(),
            dropped_payloads: self.shared.host.channels.dropped_payloads(),
            meteor_servers_away: (self.shared.gateway.as_ref()).map_or(0, |it| it.away()),
            bus_is_away: !self.shared.host.channels.is_connected(),
            bus_generation: self.shared.host.channels.generation(),
            bus_faults: self.shared.host.channels.faults(),
            ..self.shared.host.gauges.read()
        }
    }

    /// The clients of this process, in no order. Sessions that wait for their clients are among
    /// them, and so are clients of [SockJS services](crate::Builder::sockjs_service).
    ///
    /// Each shard makes its part of the list in slices of 256 clients, between which it goes on
    /// with its work; a client that comes or goes meanwhile may be on the list or not.
    ///
    /// ```
    /// # async fn run(handle: updraft::Handle) {
    /// let all = handle.connections().await;
    /// let of_ada = all.iter().filter(|it| it.user.as_deref() == Some("ada"));
    /// println!("Ada has {} connections.", of_ada.count());
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, nobody goes on making the list.
    pub async fn connections(&self) -> Vec<ConnectionInfo> {
        let asked: Vec<_> = self.shards.iter().map(Shard::list).collect();
        let mut all = Vec::new();
        for list in asked {
            // A shard that has ended has none.
            all.extend(list.await.unwrap_or_default());
        }
        all
    }

    /// What went wrong with messages, by channel: payloads that were dropped, mapping functions
    /// that failed. The first channels that fail have an entry each, [so
    /// many](crate::config::ChannelSettings::failing_channels); all others share one.
    pub fn failures_by_channel(&self) -> Vec<ChannelFailures> {
        self.shared.host.channels.failures()
    }

    /// Closes every connection on which this user is logged in, with 1000 and in every process that
    /// is on the bus. A client whose token is still good connects and logs in again; take the token
    /// out of the store first to keep it out.
    ///
    /// Resolves when the order has been published. A process that cannot reach the bus at this
    /// moment does not hear of it. Whoever may publish on the bus can give such an order too,
    /// unless there is a [secret](crate::Builder::orders_secret).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotSent`](crate::ErrorKind::NotSent) or
    /// [`ErrorKind::OutcomeUnknown`](crate::ErrorKind::OutcomeUnknown) when the bus fails.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, the order may or may not have been published.
    pub async fn disconnect_user(&self, user: impl Into<String>) -> Result<()> {
        let user = user.into();
        self.give(&Order::Disconnect { user }).await
    }

    /// Ends this user's subscriptions to a publication, in every process that is on the bus: their
    /// documents are removed, the client gets `nosub` without an error. It may subscribe again, and
    /// the publication decides again.
    ///
    /// Resolves, fails and is cancelled as [`disconnect_user`](Self::disconnect_user).
    ///
    /// # Errors
    ///
    /// The same.
    pub async fn stop_subscriptions(
        &self,
        user: impl Into<String>,
        publication: impl Into<String>,
    ) -> Result<()> {
        let (user, publication) = (user.into(), publication.into());
        self.give(&Order::Stop { user, publication }).await
    }

    async fn give(&self, order: &Order) -> Result<()> {
        let channels = &self.shared.host.channels;
        self.shared.orders.give(order, channels).await
    }

    /// Stops taking connections, closes those that are there with 1001, and waits for methods that
    /// have begun, at most until `deadline` has passed.
    ///
    /// Clients are closed one after the other, over as long as
    /// [`DrainSettings`] says, so that they do not all come back at the
    /// same moment; the last of them well before the deadline. Until its turn comes, a client is
    /// served as before. A request that is only half there a second after the beginning is not
    /// waited for.
    ///
    /// Not to be awaited by a method or a route: it would wait for itself, until the deadline.
    ///
    /// # Cancel safety
    ///
    /// The shutdown goes on when the future is dropped.
    pub async fn shutdown(&self, deadline: Duration) {
        if let Err(error) = self.begin_shutdown(deadline).await {
            tracing::error!(%error, "Shutdown came to nothing.");
        }
    }

    /// Whether the server has begun to shut down, which it has before the first client is closed:
    /// it is not ready for new ones any more.
    pub fn is_draining(&self) -> bool {
        self.shared.draining.is_cancelled()
    }

    /// Begins to shut down, within the time that the program has set.
    pub(super) fn begin_drain(&self) {
        drop(self.begin_shutdown(self.drain.within));
    }

    fn begin_shutdown(&self, deadline: Duration) -> JoinHandle<()> {
        let shutdown = self.clone().shut_down(deadline);
        self.shared.host.runtime.spawn(shutdown)
    }

    async fn shut_down(self, deadline: Duration) {
        let Shared {
            host,
            draining,
            shards,
            background,
            ..
        } = &*self.shared;
        let Host {
            tasks,
            channels,
            cursors,
            gauges,
            ..
        } = &**host;
        draining.cancel();
        let clients = gauges.connections.load(Ordering::Relaxed);
        let spread = drain::spread(self.drain.spread, clients, deadline, self.close_timeout);
        self.shards.iter().for_each(|shard| shard.shut_down(spread));
        shards.close();
        tasks.close();
        background.close();
        let ended = async {
            // Clients call methods until they are closed, and methods emit: so each goes after
            // those who use it.
            shards.wait().await;
            tasks.wait().await;
            self.deserted.cancel();
            cursors.close().await;
            channels.close();
            background.wait().await;
        };
        if tokio::time::timeout(deadline, ended).await.is_err() {
            let (connections, tasks) = (gauges.connections.load(Ordering::Relaxed), tasks.len());
            tracing::warn!(
                connections,
                tasks,
                "Shutdown did not wait longer for what is left."
            );
        }
        self.stop();
    }

    /// Cancelled when no client is left.
    pub(super) fn deserted(&self) -> &CancellationToken {
        &self.deserted
    }

    /// Resolves when a shutdown has ended.
    pub(super) async fn finished(&self) {
        self.finished.cancelled().await;
    }

    /// Drops every connection and ends the shards.
    pub(super) fn stop(&self) {
        let Shared {
            host,
            draining,
            shards,
            background,
            ..
        } = &*self.shared;
        let Host {
            tasks, channels, ..
        } = &**host;
        draining.cancel();
        self.shards.iter().for_each(Shard::stop);
        self.deserted.cancel();
        channels.close();
        shards.close();
        tasks.close();
        background.close();
        self.finished.cancel();
    }

    /// Has the files of the certificate read again.
    #[cfg(feature = "tls")]
    pub(super) fn reload(&self, tls: Tls) {
        let Shared {
            host, background, ..
        } = &*self.shared;
        // What fails is logged and counted.
        let reload = move || drop(tls.reload());
        drop(background.spawn_blocking_on(reload, &host.runtime));
    }
}
