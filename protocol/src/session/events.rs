//! Events of Vent and streamer publications: when they may be sent, and the document that
//! represents a subscription.

use super::held::HeldEvent;
use super::subscription::{EVENT_DOCUMENT, Events, Ready};
use super::{Action, Output, Run, Session};
use crate::message::{Frame, Head, ServerMessage, Tail, WireError};
use crate::vent::{Encoding, EventDelivery};

impl Session {
    /// How the events of a subscription are encoded; `None` if the subscription has ended, or has
    /// no events.
    pub fn encoding(&self, run: Run) -> Option<Encoding> {
        let events = self.subscription(run)?.events.as_ref()?;
        Some(events.delivery.encoding())
    }

    /// Sends an event for a subscription: returns the head to put before `tail`, and counts the
    /// event as sent.
    ///
    /// `None` means that nothing may be sent. The event is then dropped, or held until the
    /// subscription is ready or the client is back.
    pub fn event(&mut self, run: Run, tail: &Tail, out: &mut Output) -> Option<&Head> {
        let index = self.position(run).ok()?;
        let subscription = self.subscriptions.get_mut(index)?;
        if subscription.ready == Ready::Sent {
            return self.ready_event(index, tail, out);
        }
        let events = subscription.events.as_deref_mut()?;
        let held = events.held.get_or_insert_default();
        let gap_begins = held.hold(tail, &self.config.settings);
        if gap_begins {
            out.actions.push(Action::Gap(run));
        }
        None
    }

    /// Events of a subscription may be missing from here on. Where events are numbered, a number is
    /// skipped. The client sees nothing else of the gap, unless [`gap_event`](Self::gap_event)
    /// follows.
    pub fn gap(&mut self, run: Run) {
        let Some(subscription) = self.subscription_mut(run) else {
            return;
        };
        let is_ready = subscription.ready == Ready::Sent;
        match subscription.events.as_deref_mut() {
            Some(events) if is_ready => events.delivery.skip(),
            Some(events) => events.held.get_or_insert_default().gap(),
            None => {}
        }
    }

    /// As [`event`](Self::event), for the event that reports the gap that has just been noted.
    /// Before `ready` there is always room for it, however much else is held.
    pub fn gap_event(&mut self, run: Run, tail: &Tail, out: &mut Output) -> Option<&Head> {
        let index = self.position(run).ok()?;
        let subscription = self.subscriptions.get_mut(index)?;
        if subscription.ready == Ready::Sent {
            return self.ready_event(index, tail, out);
        }
        let events = subscription.events.as_deref_mut()?;
        events.held.get_or_insert_default().gap_event(tail);
        None
    }

    /// As [`event`](Self::event), for an event of which the sender bounds how many there are:
    /// before `ready` there is always room for it.
    pub fn bounded_event(&mut self, run: Run, tail: &Tail, out: &mut Output) -> Option<&Head> {
        let index = self.position(run).ok()?;
        let subscription = self.subscriptions.get_mut(index)?;
        if subscription.ready == Ready::Sent {
            return self.ready_event(index, tail, out);
        }
        let events = subscription.events.as_deref_mut()?;
        events.held.get_or_insert_default().keep(tail);
        None
    }

    /// Sends an event of a subscription that is ready.
    fn ready_event(&mut self, index: usize, tail: &Tail, out: &mut Output) -> Option<&Head> {
        if self.is_parked() {
            let head = self.subscriptions.get_mut(index)?.next_head()?.clone();
            let tail = tail.clone();
            self.emit(Frame::Event { head, tail }, out);
            return None;
        }
        let head = self.subscriptions.get_mut(index)?.next_head()?;
        self.sent = self.sent.saturating_add(1);
        Some(head)
    }

    /// Sends the events that were held until `ready`.
    pub(super) fn send_held(&mut self, run: Run, out: &mut Output) {
        let Some(events) = self.events_mut(run) else {
            return;
        };
        let Some(held) = events.held.take() else {
            return;
        };
        for item in *held {
            let Some(events) = self.events_mut(run) else {
                return;
            };
            match item {
                HeldEvent::Gap => events.delivery.skip(),
                HeldEvent::Event(tail) => {
                    let head = events.delivery.next_head().clone();
                    self.emit(Frame::Event { head, tail }, out);
                }
            }
        }
    }

    /// Refuses events in a collection of which the client already has documents.
    pub(super) fn check_collection(
        &self,
        delivery: Option<EventDelivery>,
    ) -> Result<Option<EventDelivery>, WireError> {
        match delivery.as_ref().and_then(EventDelivery::collection) {
            Some(collection) if self.view.has_collection(collection) => {
                let reason = format!("Collection '{collection}' holds documents already");
                Err(WireError::new(400, reason))
            }
            _ => Ok(delivery),
        }
    }

    /// Announces the document that represents a Vent subscription, before any other frame of it.
    pub(super) fn announce(&mut self, run: Run, out: &mut Output) {
        let Some(events) = self.events_mut(run) else {
            return;
        };
        let Some(collection) = events.delivery.collection().cloned() else {
            return;
        };
        if std::mem::replace(&mut events.is_announced, true) {
            return;
        }
        let fields = events.delivery.introduction();
        let others = self
            .subscriptions
            .iter()
            .filter(|other| other.run != run)
            .any(|other| other.has_announced(&collection));
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
            .any(|found| found.has_announced(collection))
    }

    fn events_mut(&mut self, run: Run) -> Option<&mut Events> {
        self.subscription_mut(run)?.events.as_deref_mut()
    }
}
