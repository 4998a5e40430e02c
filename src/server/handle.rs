//! What the rest of a program does with a running server.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::Phases;
use crate::bus::{ChannelFailures, IntoChannel};
use crate::error::Result;
use crate::orders::Order;
use crate::services::Services;
use crate::shard::Shard;
use crate::stats::Stats;

/// A running server, for the rest of the program. Clones are the same server.
#[derive(Clone, Debug)]
pub struct Handle {
    services: Arc<Services>,
    shards: Arc<[Shard]>,
    phases: Phases,
}

impl Handle {
    pub(super) fn new(services: Arc<Services>, shards: Arc<[Shard]>) -> Self {
        Self {
            services,
            shards,
            phases: Phases::default(),
        }
    }

    /// Publishes a message to everybody who follows the channel, in this process and others.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotSent`](crate::ErrorKind::NotSent) or
    /// [`ErrorKind::OutcomeUnknown`](crate::ErrorKind::OutcomeUnknown) when the bus fails; 400 for a bad channel or
    /// value.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, the message may or may not have been published.
    pub async fn emit(&self, channel: impl IntoChannel, value: impl Serialize) -> Result<()> {
        self.services.emit(channel, value).await
    }

    /// What is alive at this moment.
    pub fn stats(&self) -> Stats {
        Stats {
            tasks: self.services.tasks.len(),
            channels: self.services.channels.channel_count(),
            polling_sessions: self.services.polling.len(),
            queued_bytes: self.services.memory.queued(),
            parameter_bytes: self.services.memory.parameters(),
            dropped_payloads: self.services.channels.dropped_payloads(),
            bus_is_away: !self.services.channels.is_connected(),
            bus_generation: self.services.channels.generation(),
            bus_faults: self.services.channels.faults(),
            ..self.services.gauges.read()
        }
    }

    /// What went wrong with messages, by channel: payloads that were dropped, mapping functions that failed. The first
    /// channels that fail have an entry each, [so many](crate::Builder::failing_channels); all others share one.
    pub fn failures_by_channel(&self) -> Vec<ChannelFailures> {
        self.services.channels.failures()
    }

    /// Closes every connection on which this user is logged in, with 1000 and in every process that is on the bus. A
    /// client whose token is still good connects and logs in again; take the token out of the store first to keep it
    /// out.
    ///
    /// Resolves when the order has been published. A process that cannot reach the bus at this moment does not hear of it.
    /// Whoever may publish on the bus can give such an order too, unless there is a
    /// [secret](crate::Builder::orders_secret).
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

    /// Ends this user's subscriptions to a publication, in every process that is on the bus: their documents are removed,
    /// the client gets `nosub` without an error. It may subscribe again, and the publication decides again.
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
        let Services {
            orders, channels, ..
        } = &*self.services;
        orders.give(order, channels).await
    }

    /// Stops taking connections, closes those that are there with 1001, and waits for methods that have begun, at most
    /// until `deadline` has passed.
    ///
    /// Not to be awaited by a method or a route: it would wait for itself, until the deadline.
    ///
    /// # Cancel safety
    ///
    /// The shutdown goes on when the future is dropped.
    pub async fn shutdown(&self, deadline: Duration) {
        let shutdown = self.clone().shut_down(deadline);
        if let Err(error) = self.services.runtime.spawn(shutdown).await {
            tracing::error!(%error, "Shutdown came to nothing.");
        }
    }

    async fn shut_down(self, deadline: Duration) {
        self.phases.closing.cancel();
        self.shards.iter().for_each(Shard::shut_down);
        let Services {
            tasks,
            background,
            channels,
            ..
        } = &*self.services;
        tasks.close();
        background.close();
        let ended = async {
            // Methods that still run may still emit, so the bus goes after them.
            tasks.wait().await;
            channels.close();
            background.wait().await;
            // The last clients' callbacks.
            tasks.wait().await;
        };
        if tokio::time::timeout(deadline, ended).await.is_err() {
            let tasks = tasks.len();
            tracing::warn!(tasks, "Shutdown did not wait longer for what still runs.");
        }
        self.stop();
    }

    pub(super) fn closing(&self) -> &tokio_util::sync::CancellationToken {
        &self.phases.closing
    }

    /// Resolves when a shutdown has ended.
    pub(super) async fn finished(&self) {
        self.phases.finished.cancelled().await;
    }

    /// Drops every connection and ends the shards.
    pub(super) fn stop(&self) {
        self.phases.closing.cancel();
        self.shards.iter().for_each(Shard::stop);
        self.services.channels.close();
        self.services.tasks.close();
        self.services.background.close();
        self.phases.finished.cancel();
    }
}
