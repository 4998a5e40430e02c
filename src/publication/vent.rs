//! The context of a Vent publication: maps messages of the bus to events of one client.

use std::hash::Hash;
use std::ops::Deref;
use std::pin::pin;
use std::sync::Arc;

use futures_util::future::try_join_all;
use tokio::sync::oneshot;
use updraft_bus::{IntoChannel, IntoChannels, Lease, Message};

use super::Subscription;
use crate::base::error::{Error, Result};
use crate::handler::unpanicked;
use crate::mail::Mail;
use crate::mapping::{AsyncMapper, Event, IntoEvent, IntoGapEvent, Mapper, OneShared};

/// One subscription to events. It can do everything that a [`Subscription`] can do.
#[derive(Clone, Debug)]
pub struct Vent(Subscription);

impl Vent {
    pub(super) fn new(subscription: Subscription) -> Self {
        Self(subscription)
    }

    /// The same subscription, as a subscription to documents.
    pub fn into_subscription(self) -> Subscription {
        self.0
    }

    /// Calls `f` for each message of a channel, or of several channels. What `f` returns is sent as
    /// an event, or nothing is sent. A value that JavaScript takes for false (`null`, `false`, 0,
    /// NaN, an empty text) is not sent either, unless `f` returns [`Event::always`].
    ///
    /// Resolves when the bus has confirmed the channels: every message published after that
    /// arrives. `f` runs on the thread of the client's shard, one message at a time and in order;
    /// it must not block. If it fails or panics, only this event is lost.
    ///
    /// # Errors
    ///
    /// 400 for a channel name that could not be built; 503 `bus-unavailable`.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, no channel is followed.
    pub async fn on<E: IntoEvent>(
        &self,
        channels: impl IntoChannels,
        mut f: impl FnMut(&Message) -> E + Send + 'static,
    ) -> Result<()> {
        self.follow_channels(
            channels,
            Mapper::Function(Box::new(move |message| f(message).into_event())),
        )
        .await
    }

    /// Like [`on`](Self::on), with an asynchronous function. It gets one message at a time, in
    /// order, on the handlers' runtime.
    ///
    /// Up to 64 messages or 256 KiB wait for it. More are dropped, which is a gap.
    ///
    /// # Errors
    ///
    /// Those of [`on`](Self::on).
    pub async fn on_async<E, Fut>(
        &self,
        channels: impl IntoChannels,
        mut f: impl FnMut(Arc<Message>) -> Fut + Send + 'static,
    ) -> Result<()>
    where
        E: IntoEvent,
        Fut: Future<Output = E> + Send + 'static,
    {
        let (mapper, mut messages) = AsyncMapper::new();
        let subscription = self.0.clone();
        self.follow_channels(channels, Mapper::Async(mapper))
            .await?;
        self.run(async move {
            while let Some(message) = messages.recv().await {
                let map = async { f(message.clone()).await.into_event() };
                let event = unpanicked(map).await.unwrap_or_else(|error| {
                    subscription.mapping_failed(&message, &error);
                    Event::none()
                });
                let run = subscription.run_id();
                // Also when there is no event, because the answer makes room for the next message.
                subscription.send(Mail::Event {
                    run,
                    message,
                    event,
                });
            }
            Ok(())
        });
        Ok(())
    }

    /// Sends each message of a channel unchanged. This is the cheapest way: no function is called,
    /// and nothing is parsed. A message that JavaScript takes for false (`null`, `false`, 0, an
    /// empty text) is not sent: see [`on`](Self::on).
    ///
    /// # Errors
    ///
    /// Those of [`on`](Self::on).
    pub async fn relay(&self, channels: impl IntoChannels) -> Result<()> {
        self.follow_channels(channels, Mapper::Relay).await
    }

    /// Like [`on`](Self::on), with a function that is called once per message for all subscribers
    /// with the same function and an equal `arg`.
    ///
    /// It is a function pointer, so it cannot capture one client's secrets and show them to
    /// another.
    ///
    /// # Errors
    ///
    /// Those of [`on`](Self::on).
    pub async fn on_shared<A, E>(
        &self,
        channel: impl IntoChannel,
        arg: A,
        f: fn(&Message, &A) -> E,
    ) -> Result<()>
    where
        A: Hash + Eq + Send + 'static,
        E: IntoEvent + 'static,
    {
        let channel = channel.into_channel()?;
        self.follow_channels(channel, Mapper::Shared(Box::new(OneShared::new(arg, f))))
            .await
    }

    /// Calls `f` when events may have been missed, because Redis was away or more events came than
    /// could be queued. What `f` returns is sent as an event, after the events from before the gap
    /// and before those from after it. If it returns nothing, nothing is sent, and the client does
    /// not learn of the gap, unless its events are [numbered](crate::VentOptions::numbered).
    ///
    /// Call it before `on`, then no gap is missed. `f` runs on the thread of the client's shard and
    /// must not block; use [`Subscription::run`] for longer work. If it fails or panics, only this
    /// event is lost.
    ///
    /// ```
    /// # use updraft::prelude::*;
    /// async fn news(vent: Vent) -> Result<()> {
    ///     // The client reads what it may have missed.
    ///     vent.on_gap(|| Some(ejson!({ "type": "gap" })));
    ///     vent.relay("news").await
    /// }
    /// ```
    pub fn on_gap<E: IntoGapEvent>(&self, mut f: impl FnMut() -> E + Send + 'static) {
        let f = Box::new(move || f().into_gap_event());
        self.send(Mail::OnGap(self.run_id(), f));
    }

    /// Sends an event, whatever it is. Whoever calls this bounds how many events are on their way
    /// to the client; none of them is dropped while the subscription lives. What is returned
    /// resolves when the event is the session's, with an error if this run is over.
    pub(crate) fn send_event(&self, event: Event) -> oneshot::Receiver<()> {
        let (sent, is_sent) = oneshot::channel();
        self.send(Mail::OwnEvent(self.run_id(), event, sent));
        is_sent
    }

    async fn follow_channels(&self, channels: impl IntoChannels, mapper: Mapper) -> Result<()> {
        self.flowing().await;
        let leases = pin!(self.join(channels));
        let leases = self.patiently(leases).await?;
        self.send(Mail::On {
            run: self.run_id(),
            leases,
            mapper,
        });
        Ok(())
    }

    /// A lease on each of the channels, all asked for at once.
    async fn join(&self, channels: impl IntoChannels) -> Result<Vec<Lease>> {
        let (host, shard) = (self.connection().host(), self.connection().shard());
        let channels = channels.into_channels()?;
        let joins = channels
            .iter()
            .map(|channel| host.channels.join(channel, shard));
        try_join_all(joins).await.map_err(Error::not_followed)
    }
}

impl Deref for Vent {
    type Target = Subscription;

    fn deref(&self) -> &Subscription {
        &self.0
    }
}
