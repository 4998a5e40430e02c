//! Subscriptions that follow a topic. Their records go past the hold before `ready`: `ready` waits
//! until the client has all records up to the end that the topic had in the beginning.

use std::sync::Arc;

use super::subscription::{Events, PLACE_DOCUMENT, Ready};
use super::{Output, Run, Session};
use crate::ejson::{Object, Value};
use crate::message::{Head, ServerMessage};
use crate::vent::Encoding;

impl Session {
    /// A subscription follows a topic from here on, and `ready` waits for
    /// [`caught_up`](Self::caught_up). `place` says where it begins, for a client of the collection
    /// encoding.
    pub fn follow(&mut self, run: Run, place: &Object, out: &mut Output) {
        if let Some(events) = self.subscription_mut(run).and_then(|it| it.events.as_mut()) {
            events.is_catching_up = true;
            self.announce(run, out);
            self.show_place(run, place, out);
        }
    }

    /// Sends a record of the topic: returns the head to put before its tail, and counts the record
    /// as sent. `None` if the client may not be sent it now.
    pub fn record(&mut self, run: Run) -> Option<&Head> {
        if self.is_parked() {
            return None;
        }
        let index = self.position(run).ok()?;
        let head = self.subscriptions.get_mut(index)?.next_head()?;
        self.sent = self.sent.saturating_add(1);
        Some(head)
    }

    /// Tells a client of the collection encoding where the subscription is in its topic.
    pub fn show_place(&mut self, run: Run, place: &Object, out: &mut Output) {
        let events = self.subscription(run).and_then(|it| it.events.as_deref());
        let Some(events) = events.filter(|it| it.delivery.encoding() == Encoding::Collection)
        else {
            return;
        };
        let Some(collection) = events.delivery.collection().cloned() else {
            return;
        };
        let is_shown = self.shows_place(&collection);
        if let Some(events) = self.subscription_mut(run).and_then(|it| it.events.as_mut()) {
            events.has_place = true;
        }
        let message = if is_shown {
            ServerMessage::Changed(&collection, PLACE_DOCUMENT, place)
        } else {
            ServerMessage::Added(&collection, PLACE_DOCUMENT, place)
        };
        self.send(&message, out);
    }

    /// The client has all records up to the end that the topic had when the subscription began.
    /// Sends `ready`, if the handler has said it.
    pub fn caught_up(&mut self, run: Run, place: &Object, out: &mut Output) {
        self.show_place(run, place, out);
        let is_changing = self.is_changing_user();
        let Some(subscription) = self.subscription_mut(run) else {
            return;
        };
        if let Some(events) = &mut subscription.events {
            events.is_catching_up = false;
        }
        if subscription.ready == Ready::Declared && !is_changing {
            self.send_ready(&[run], out);
        }
    }

    /// What a Vent subscription has asked for: its Vent id, and the other parameters.
    pub fn vent_request(&self, run: Run) -> Option<(Arc<str>, Vec<Value>)> {
        let subscription = self.subscription(run)?;
        let id = subscription.events.as_ref()?.delivery.vent_id()?;
        Some((id.clone(), subscription.request.params()))
    }

    /// The client has all records, and there will be no more: the subscription stops. The handler may
    /// not have returned yet; then it does so first, and `ready` is sent.
    pub fn complete(&mut self, run: Run, out: &mut Output) {
        if let Some(events) = self.subscription_mut(run).and_then(|it| it.events.as_mut()) {
            events.is_complete = true;
        }
        self.stop_if_complete(run, out);
    }

    pub(super) fn stop_if_complete(&mut self, run: Run, out: &mut Output) {
        let is_complete = self.subscription(run).is_some_and(|it| {
            it.handler_has_ended() && it.events.as_ref().is_some_and(|it| it.is_complete)
        });
        if is_complete {
            self.stop(run, None, out);
        }
    }

    /// Whether a subscription that is represented by this collection says where it is.
    pub(super) fn shows_place(&self, collection: &str) -> bool {
        let shows = |events: &Events| events.has_place;
        self.subscriptions
            .iter()
            .any(|it| it.stands_for(collection) && it.events.as_deref().is_some_and(shows))
    }
}
