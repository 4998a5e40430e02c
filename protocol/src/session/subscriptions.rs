//! Subscriptions: how they begin and end, and what their handlers publish.
//!
//! Calls of a handler whose subscription has ended are ignored, so a late call is harmless.

use std::mem;
use std::time::Duration;

use super::request::SubscriptionRequest;
use super::subscription::{ActiveSubscription, EVENT_DOCUMENT, Events, PLACE_DOCUMENT, Ready};
use super::{Action, Output, PublicationKind, Requested, Run, Session};
use crate::ejson::Value;
use crate::message::{self, ServerMessage, Subscribe, WireError};
use crate::vent::EventDelivery;
use crate::view::{Effect, Fields};

/// Up to this many subscriptions, the list grows by one at a time. Most sessions have fewer, and
/// with many sessions spare capacity would cost memory.
const FEW_SUBSCRIPTIONS: usize = 4;

impl Session {
    /// A publication's handler has ended.
    ///
    /// `Ok` sends `ready`, unless it was sent before or the handler called
    /// [`hold_ready`](Self::hold_ready).
    pub fn published(
        &mut self,
        run: Run,
        outcome: Result<(), WireError>,
        now: Duration,
        out: &mut Output,
    ) {
        if let Some(subscription) = self.subscription_mut(run) {
            subscription.handler_ended();
        }
        match outcome {
            Ok(())
                if self
                    .subscription(run)
                    .is_some_and(|found| !found.held_ready) =>
            {
                self.ready(run, out);
            }
            Ok(()) => {}
            Err(error) => self.stop(run, Some(&error), out),
        }
        self.stop_if_complete(run, out);
        self.stop_awaiting(run, out);
        self.unblock(run, now, out);
    }

    /// The end of the handler does not send `ready`: the handler will call [`ready`](Self::ready)
    /// itself.
    pub fn hold_ready(&mut self, run: Run) {
        if let Some(subscription) = self.subscription_mut(run) {
            subscription.held_ready = true;
        }
    }

    /// The handler waits for its client to receive output. This time does not count towards its
    /// timeout.
    pub fn handler_waits(&mut self, run: Run) {
        if let Some(subscription) = self.subscription_mut(run) {
            subscription.handler_waits();
        }
    }

    /// The handler no longer waits; its timeout starts anew.
    pub fn handler_goes_on(&mut self, run: Run, now: Duration) {
        let deadline = self.handler_deadline(now);
        if let Some(subscription) = self.subscription_mut(run) {
            subscription.handler_goes_on(deadline);
        }
    }

    /// Until when a handler that begins now may run.
    fn handler_deadline(&self, now: Duration) -> Option<Duration> {
        let timeout = self.config.settings.publication_timeout;
        (!timeout.is_zero()).then(|| now.saturating_add(timeout))
    }

    /// The subscription has sent its first data. Only the first call has an effect.
    pub fn ready(&mut self, run: Run, out: &mut Output) {
        if let Some(subscription) = self.subscription_mut(run)
            && subscription.ready == Ready::No
        {
            subscription.ready = Ready::Declared;
            if !subscription.is_catching_up() && !self.is_changing_user() {
                self.send_ready(&[run], out);
            }
        }
    }

    /// Tells the client, in one message, that these subscriptions are ready. The events held for
    /// `ready` follow.
    pub(super) fn send_ready(&mut self, runs: &[Run], out: &mut Output) {
        let mut ids = Vec::with_capacity(runs.len());
        for run in runs {
            let Some(subscription) = self.subscription_mut(*run) else {
                continue;
            };
            subscription.ready = Ready::Sent;
            let events = subscription.events.as_ref();
            subscription.head = events.and_then(|events| events.delivery.shared_head().cloned());
            if let Some(id) = subscription.id.clone() {
                self.announce(*run, out);
                ids.push(id);
            }
        }
        if ids.is_empty() {
            return;
        }
        let ids: Vec<&str> = ids.iter().map(|id| &**id).collect();
        self.send(&ServerMessage::Ready(&ids), out);
        for run in runs {
            self.send_held(*run, out);
        }
    }

    /// Ends a subscription from the server's side: removes its documents, then sends `nosub`, with
    /// the error if there is one.
    pub fn stop(&mut self, run: Run, error: Option<&WireError>, out: &mut Output) {
        self.send_remaining_difference(out);
        let Ok(index) = self.position(run) else {
            return;
        };
        let subscription = self.subscriptions.remove(index);
        let mut view = mem::take(&mut self.view);
        view.stop(run.0.get(), |collection, id, effect| {
            self.send_effect(collection, id, effect, out);
        });
        self.view = view;
        if let Some(events) = subscription.events
            && let Some(collection) = events.delivery.collection()
        {
            if events.has_place && !self.shows_place(collection) {
                self.send(&ServerMessage::Removed(collection, PLACE_DOCUMENT), out);
            }
            if events.is_announced && !self.is_introduced(collection) {
                self.send(&ServerMessage::Removed(collection, EVENT_DOCUMENT), out);
            }
        }
        if let Some(id) = subscription.id {
            self.send(&ServerMessage::Nosub(&Value::from(&*id), error), out);
        }
        out.actions.push(Action::Stop(run));
        self.stop_awaiting(run, out);
    }

    /// A handler adds a document, given by its collection, its id as sent to the client, and its
    /// fields.
    pub fn added(
        &mut self,
        run: Run,
        collection: &str,
        id: &str,
        fields: impl Into<Fields>,
        out: &mut Output,
    ) {
        self.send_remaining_difference(out);
        if self.position(run).is_err() {
            return;
        }
        if self
            .subscriptions
            .iter()
            .any(|found| found.stands_for(collection))
        {
            let reason = format!("Collection '{collection}' stands for a Vent subscription");
            return self.stop(run, Some(&WireError::new(400, reason)), out);
        }
        if !self.may_publish(collection) {
            out.actions.push(Action::NotOwned(run));
            let reason = format!("Collection '{collection}' is not this server's");
            return self.stop(run, Some(&WireError::new(500, reason)), out);
        }
        self.announce(run, out);
        let effect = self.view.added(run.0.get(), collection, id, fields.into());
        self.send_effect(collection, id, effect, out);
    }

    /// A handler changes fields of a document that it has added. An undefined value removes a
    /// field.
    pub fn changed(
        &mut self,
        run: Run,
        collection: &str,
        id: &str,
        fields: impl Into<Fields>,
        out: &mut Output,
    ) {
        self.send_remaining_difference(out);
        if self.publishes(run, collection, id, out) {
            let effect = self
                .view
                .changed(run.0.get(), collection, id, fields.into());
            self.send_effect(collection, id, effect, out);
        }
    }

    /// A handler removes a document that it has added.
    pub fn removed(&mut self, run: Run, collection: &str, id: &str, out: &mut Output) {
        self.send_remaining_difference(out);
        if self.publishes(run, collection, id, out) {
            let effect = self.view.removed(run.0.get(), collection, id);
            self.send_effect(collection, id, effect, out);
        }
    }

    pub(super) fn subscribe(&mut self, subscribe: Subscribe, now: Duration, out: &mut Output) {
        let Subscribe {
            id,
            name,
            mut params,
        } = subscribe;
        let config = self.config.clone();
        // The name is looked up before the id: an unknown name is refused even if the id is in use.
        let Some((publication, kind)) = config.names.find_publication(&name) else {
            let error = WireError::publication_not_found(&name);
            return self.refuse_subscription(&id, name, error, out);
        };
        if self
            .subscriptions
            .iter()
            .any(|other| other.id.as_deref() == Some(&*id))
        {
            return;
        }
        if self.named_count() >= config.settings.max_subscriptions {
            let reason = format!(
                "A session may have {} subscriptions",
                config.settings.max_subscriptions
            );
            let error = WireError::new("too-many-subscriptions", reason);
            return self.refuse_subscription(&id, name, error, out);
        }
        let delivery = match kind {
            PublicationKind::Ordinary => Ok(None),
            PublicationKind::Vent(options) => EventDelivery::vent(
                &name,
                &mut params,
                *options,
                config.settings.encoding,
                &config.settings.reserved,
            )
            .map(Some),
            PublicationKind::Streamer(collection) => {
                EventDelivery::streamer(collection, &mut params).map(Some)
            }
        };
        match delivery.and_then(|delivery| self.check_collection(delivery)) {
            Ok(delivery) => {
                let request = SubscriptionRequest::new(publication, &params);
                let events = delivery.map(Events::new).map(Box::new);
                let run = self.new_run();
                self.begin(run, Some(id), (request, params), events, now, out);
                self.running = Some(run);
            }
            Err(error) => self.refuse_subscription(&id, name, error, out),
        }
    }

    /// Answers a `sub` for which no handler starts.
    fn refuse_subscription(
        &mut self,
        id: &str,
        name: Box<str>,
        error: WireError,
        out: &mut Output,
    ) {
        self.send(&ServerMessage::Nosub(&Value::from(id), Some(&error)), out);
        out.actions.push(Action::Refused {
            what: Requested::Publication,
            name,
            code: error.error,
        });
    }

    pub(super) fn unsubscribe(&mut self, id: &Value, out: &mut Output) {
        let known = match id {
            Value::String(id) => self
                .subscriptions
                .iter()
                .find(|found| found.id.as_deref().is_some_and(|found| *id == *found)),
            _ => None,
        };
        match known.map(|found| found.run) {
            Some(run) => self.stop(run, None, out),
            None => self.send(&ServerMessage::Nosub(id, None), out),
        }
    }

    pub(super) fn start_universals(&mut self, now: Duration, out: &mut Output) {
        let config = self.config.clone();
        for &publication in config.names.universals() {
            let request = (SubscriptionRequest::new(publication, &[]), Vec::new());
            let run = self.new_run();
            self.begin(run, None, request, None, now, out);
        }
    }

    /// Ends the subscriptions whose handlers have not ended in time, even if they had unblocked.
    pub(super) fn expire_handlers(&mut self, now: Duration, out: &mut Output) {
        let due = |found: &&ActiveSubscription| found.deadline().is_some_and(|until| until <= now);
        while let Some(run) = self.subscriptions.iter().find(due).map(|found| found.run) {
            out.actions.push(Action::Expired(run));
            let error = WireError::new(503, "Publication timed out");
            self.stop(run, Some(&error), out);
            self.unblock(run, now, out);
        }
    }

    pub(super) fn begin(
        &mut self,
        run: Run,
        id: Option<Box<str>>,
        (request, params): (SubscriptionRequest, Vec<Value>),
        events: Option<Box<Events>>,
        now: Duration,
        out: &mut Output,
    ) {
        let bytes = message::memory(&params);
        out.actions.push(Action::Publish {
            run,
            publication: request.publication(),
            params,
        });
        let deadline = self.handler_deadline(now);
        if self.subscriptions.len() < FEW_SUBSCRIPTIONS {
            self.subscriptions.reserve_exact(1);
        }
        let subscription = ActiveSubscription::new(run, id, request, bytes, deadline, events);
        self.subscriptions.push(subscription);
    }

    pub(super) fn send_effect(
        &mut self,
        collection: &str,
        id: &str,
        effect: Effect,
        out: &mut Output,
    ) {
        match effect {
            Effect::Added(fields) => {
                self.send(&ServerMessage::Added(collection, id, &fields), out);
            }
            Effect::Changed(fields) => {
                self.send(&ServerMessage::Changed(collection, id, &fields), out);
            }
            Effect::Removed => self.send(&ServerMessage::Removed(collection, id), out),
            Effect::Nothing => {}
        }
    }

    /// Whether a subscription publishes a document. If a live one does not, that is reported.
    fn publishes(&self, run: Run, collection: &str, id: &str, out: &mut Output) -> bool {
        if self.position(run).is_err() {
            return false;
        }
        let publishes = self.view.publishes(run.0.get(), collection, id);
        if !publishes {
            out.actions.push(Action::NotPublished(run));
        }
        publishes
    }

    /// Subscriptions that the client asked for.
    fn named_count(&self) -> usize {
        let named = self.subscriptions.iter().filter(|it| it.id.is_some());
        named.count()
    }

    /// Run numbers only grow, so the list is sorted by them.
    pub(super) fn position(&self, run: Run) -> Result<usize, usize> {
        self.subscriptions
            .binary_search_by_key(&run, |found| found.run)
    }

    pub(super) fn subscription(&self, run: Run) -> Option<&ActiveSubscription> {
        self.subscriptions.get(self.position(run).ok()?)
    }

    pub(super) fn subscription_mut(&mut self, run: Run) -> Option<&mut ActiveSubscription> {
        let index = self.position(run).ok()?;
        self.subscriptions.get_mut(index)
    }
}
