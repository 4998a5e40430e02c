//! One subscription: what it began with, what its handler is doing, and how far its client has been
//! told.

use std::time::Duration;

use super::Run;
use super::held::HeldEvents;
use super::request::SubscriptionRequest;
use crate::message::Head;
use crate::vent::EventDelivery;

/// The id of the one document that stands for a Vent subscription.
pub(super) const EVENT_DOCUMENT: &str = "id";

#[derive(Debug)]
pub(super) struct ActiveSubscription {
    pub(super) run: Run,
    /// The client's name for it; a universal publication has none.
    pub(super) id: Option<Box<str>>,
    /// What it began with, to begin again with when the user changes.
    pub(super) request: SubscriptionRequest,
    /// Bytes of the parameters that its handler was given, while that runs.
    bytes: u32,
    handling: Handling,
    pub(super) ready: Ready,
    /// The handler says itself when it is ready.
    pub(super) held_ready: bool,
    /// The head of its events once they may be sent, unless each has one of its own. It stands here so that an event finds
    /// it where it finds the subscription.
    pub(super) head: Option<Head>,
    /// Set for Vent and streamer publications.
    pub(super) events: Option<Box<Events>>,
}

/// What a subscription's handler is doing.
#[derive(Clone, Copy, Debug)]
enum Handling {
    /// It works, until when it may take.
    Works(Option<Duration>),
    /// It waits for its client to take what was sent, at so many places at once. That time is not its own.
    Waits(u32),
    Ended,
}

/// Whether a subscription's first data are out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ready {
    No,
    /// The handler has said so; the client hears of it when the change of the user is complete.
    Said,
    /// The client has been told.
    Sent,
}

/// The events of a Vent or streamer publication.
#[derive(Debug)]
pub(super) struct Events {
    pub(super) delivery: EventDelivery,
    /// Whether the document that stands for the subscription has been announced.
    pub(super) introduced: bool,
    /// There when events have come before `ready` was sent.
    pub(super) held: Option<Box<HeldEvents>>,
}

impl ActiveSubscription {
    /// One that begins: its handler is given so many `bytes` of parameters, and may take until `deadline`.
    pub(super) fn new(
        run: Run,
        id: Option<Box<str>>,
        request: SubscriptionRequest,
        bytes: usize,
        deadline: Option<Duration>,
        events: Option<Box<Events>>,
    ) -> Self {
        Self {
            run,
            id,
            request,
            bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
            handling: Handling::Works(deadline),
            ready: Ready::No,
            held_ready: false,
            head: None,
            events,
        }
    }

    /// Bytes of the parameters of its handler, if that runs.
    pub(super) fn running_bytes(&self) -> usize {
        self.bytes as usize
    }

    /// Until when its handler may take.
    pub(super) fn deadline(&self) -> Option<Duration> {
        match self.handling {
            Handling::Works(until) => until,
            Handling::Waits(_) | Handling::Ended => None,
        }
    }

    /// Its handler waits at one more place.
    pub(super) fn handler_waits(&mut self) {
        self.handling = match self.handling {
            Handling::Works(_) => Handling::Waits(1),
            Handling::Waits(times) => Handling::Waits(times.saturating_add(1)),
            Handling::Ended => Handling::Ended,
        };
    }

    /// Its handler waits at one place less; where that was the last, it may take until `deadline`.
    pub(super) fn handler_goes_on(&mut self, deadline: Option<Duration>) {
        self.handling = match self.handling {
            Handling::Waits(0 | 1) => Handling::Works(deadline),
            Handling::Waits(times) => Handling::Waits(times.saturating_sub(1)),
            other => other,
        };
    }

    /// Its handler has ended, and lets go of its parameters.
    pub(super) fn handler_ended(&mut self) {
        self.handling = Handling::Ended;
        self.bytes = 0;
    }

    /// The head of its next event.
    pub(super) fn next_head(&mut self) -> Option<&Head> {
        match &self.head {
            Some(head) => Some(head),
            None => Some(self.events.as_mut()?.delivery.next_head()),
        }
    }

    /// Whether the collection is the one that stands for this subscription.
    pub(super) fn stands_for(&self, collection: &str) -> bool {
        let delivery = self.events.as_ref().map(|events| &events.delivery);
        delivery
            .and_then(EventDelivery::collection)
            .is_some_and(|found| **found == *collection)
    }

    /// Whether it does, and the client has been told.
    pub(super) fn introduces(&self, collection: &str) -> bool {
        self.stands_for(collection) && self.events.as_ref().is_some_and(|events| events.introduced)
    }
}

impl Events {
    pub(super) fn new(delivery: EventDelivery) -> Self {
        Self {
            delivery,
            introduced: false,
            held: None,
        }
    }

    /// Drops the events that wait for the subscription to be ready; whether there were any.
    pub(super) fn forget_held(&mut self) -> bool {
        self.held.take().is_some_and(|held| !held.is_empty())
    }
}
