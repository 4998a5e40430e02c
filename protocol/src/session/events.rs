//! Events of Vent and streamer publications: when they may be sent, and the document that stands for a subscription.

use super::subscriptions::{Ready, Subscription};
use super::{Action, Output, Run, Session};
use crate::message::{Frame, ServerMessage, WireError};
use crate::vent::{Delivery, Encoding, Head, Tail};

/// The id of the one document that stands for a Vent subscription.
pub(super) const EVENT_DOCUMENT: &str = "id";

#[derive(Debug)]
pub(super) struct Events {
    pub(super) delivery: Delivery,
    /// Whether the document that stands for the subscription has been announced.
    pub(super) introduced: bool,
    /// There when events have come before `ready` was sent.
    held: Option<Box<Held>>,
}

/// Events that came before `ready` was sent.
#[derive(Debug, Default)]
struct Held {
    /// Filled by `event`, drained with `ready`, bounded by the configuration.
    tails: Vec<Tail>,
    bytes: usize,
    /// Whether an event was dropped since the last gap was told.
    overflowed: bool,
}

impl Session {
    /// How the events of a subscription are encoded; `None` when it is over, or has no events.
    pub fn encoding(&self, run: Run) -> Option<Encoding> {
        let events = self.subscription(run)?.events.as_ref()?;
        Some(events.delivery.encoding())
    }

    /// An event for a subscription: answers with the head to put before `tail`, and counts it as sent.
    ///
    /// `None` means that nothing may be sent: the event is held until the subscription is ready or the client is back, or
    /// dropped.
    pub fn event(&mut self, run: Run, tail: &Tail, out: &mut Output) -> Option<&Head> {
        let index = self.position(run).ok()?;
        let subscription = self.subscriptions.get_mut(index)?;
        if subscription.ready == Ready::Sent {
            if self.is_parked() {
                let head = self.subscriptions.get_mut(index)?.next_head()?.clone();
                let tail = tail.clone();
                self.emit(Frame::Event { head, tail }, out);
                return None;
            }
            let head = self.subscriptions.get_mut(index)?.next_head()?;
            self.sent = self.sent.saturating_add(1);
            return Some(head);
        }
        let events = subscription.events.as_deref_mut()?;
        let held = events.held.get_or_insert_default();
        let bytes = held.bytes.saturating_add(tail.len());
        if held.tails.len() < self.config.held_events && bytes <= self.config.held_bytes {
            held.bytes = bytes;
            held.tails.push(tail.clone());
        } else if !std::mem::replace(&mut held.overflowed, true) {
            out.actions.push(Action::Gap(run));
        }
        None
    }

    /// Sends the events that have waited for `ready`.
    pub(super) fn send_held(&mut self, run: Run, out: &mut Output) {
        let Some(events) = self.events_mut(run) else {
            return;
        };
        let Some(held) = events.held.take() else {
            return;
        };
        for tail in held.tails {
            let Some(events) = self.events_mut(run) else {
                return;
            };
            let head = events.delivery.next_head().clone();
            self.emit(Frame::Event { head, tail }, out);
        }
    }

    /// Events may not be announced in a collection of which the client has documents already.
    pub(super) fn refuse_taken(
        &self,
        delivery: Option<Delivery>,
    ) -> Result<Option<Delivery>, WireError> {
        match delivery.as_ref().and_then(Delivery::collection) {
            Some(collection) if self.view.has_collection(collection) => {
                let reason = format!("Collection '{collection}' holds documents already");
                Err(WireError::new(400, reason))
            }
            _ => Ok(delivery),
        }
    }

    /// Announces the document that stands for a Vent subscription, before anything else of it is sent.
    pub(super) fn introduce(&mut self, run: Run, out: &mut Output) {
        let Some(events) = self.events_mut(run) else {
            return;
        };
        let Some(collection) = events.delivery.collection().cloned() else {
            return;
        };
        if std::mem::replace(&mut events.introduced, true) {
            return;
        }
        let fields = events.delivery.introduction();
        let others = self
            .subscriptions
            .iter()
            .filter(|other| other.run != run)
            .any(|other| other.introduces(&collection));
        if others {
            return;
        }
        if fields.is_empty() {
            self.send(&ServerMessage::Introduced(&collection, EVENT_DOCUMENT), out);
        } else {
            self.send(
                &ServerMessage::Added(&collection, EVENT_DOCUMENT, &fields),
                out,
            );
        }
    }

    pub(super) fn is_introduced(&self, collection: &str) -> bool {
        self.subscriptions
            .iter()
            .any(|found| found.introduces(collection))
    }

    fn events_mut(&mut self, run: Run) -> Option<&mut Events> {
        self.subscription_mut(run)?.events.as_deref_mut()
    }
}

impl Events {
    pub(super) fn new(delivery: Delivery) -> Self {
        Self {
            delivery,
            introduced: false,
            held: None,
        }
    }

    /// Drops the events that wait for the subscription to be ready; whether there were any.
    pub(super) fn forget_held(&mut self) -> bool {
        self.held.take().is_some_and(|held| !held.tails.is_empty())
    }
}

impl Subscription {
    /// The head of its next event.
    fn next_head(&mut self) -> Option<&Head> {
        match &self.head {
            Some(head) => Some(head),
            None => Some(self.events.as_mut()?.delivery.next_head()),
        }
    }

    /// Whether the collection is the one that stands for this subscription.
    pub(super) fn stands_for(&self, collection: &str) -> bool {
        let delivery = self.events.as_ref().map(|events| &events.delivery);
        delivery
            .and_then(Delivery::collection)
            .is_some_and(|found| **found == *collection)
    }

    /// Whether it does, and the client has been told.
    fn introduces(&self, collection: &str) -> bool {
        self.stands_for(collection) && self.events.as_ref().is_some_and(|events| events.introduced)
    }
}
