//! One subscription: its request, the state of its handler, and what its client has been sent.

use std::time::Duration;

use super::Run;
use super::held::HeldEvents;
use super::request::SubscriptionRequest;
use crate::message::Head;
use crate::vent::EventDelivery;

/// The id of the document that represents a Vent subscription.
pub(super) const EVENT_DOCUMENT: &str = "id";

/// The id of the document that says where a subscription is in the topic that it follows.
pub(super) const PLACE_DOCUMENT: &str = "_";

#[derive(Debug)]
pub(super) struct ActiveSubscription {
    pub(super) run: Run,
    /// The client's id for it; a universal publication has none.
    pub(super) id: Option<Box<str>>,
    /// What the client asked for. It starts the subscription again when the user changes.
    pub(super) request: SubscriptionRequest,
    /// Bytes of the parameters of its handler, while the handler runs.
    bytes: u32,
    handler: HandlerState,
    pub(super) ready: Ready,
    /// Whether the handler itself says when the subscription is ready.
    pub(super) held_ready: bool,
    /// The head of its events once they may be sent; `None` if each event has its own. It is stored
    /// here so that an event finds it together with the subscription.
    pub(super) head: Option<Head>,
    /// Set for Vent and streamer publications.
    pub(super) events: Option<Box<Events>>,
}

/// What a subscription's handler is doing.
#[derive(Clone, Copy, Debug)]
enum HandlerState {
    /// It runs, until this deadline.
    Running(Option<Duration>),
    /// It waits, at this many places, for the client to receive output. This time is not counted as
    /// the handler's.
    Waiting(u32),
    Ended,
}

/// Whether the first data of a subscription have been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ready {
    No,
    /// The handler has said `ready`; the client is told when the change of the user is complete.
    Declared,
    /// The client has been told.
    Sent,
}

/// The events of a Vent or streamer publication.
#[derive(Debug)]
pub(super) struct Events {
    pub(super) delivery: EventDelivery,
    /// Whether the document that represents the subscription has been announced.
    pub(super) is_announced: bool,
    /// Whether the document that says where it is in its topic has been announced.
    pub(super) has_place: bool,
    /// Whether it follows a topic and has not come to its end yet; `ready` waits for that.
    pub(super) is_catching_up: bool,
    /// Whether its topic has ended; the subscription stops when its handler has ended, too.
    pub(super) is_complete: bool,
    /// Events that came before `ready` was sent, if any.
    pub(super) held: Option<Box<HeldEvents>>,
}

impl ActiveSubscription {
    /// A new subscription. Its handler gets parameters of `bytes` bytes and may run until
    /// `deadline`.
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
            handler: HandlerState::Running(deadline),
            ready: Ready::No,
            held_ready: false,
            head: None,
            events,
        }
    }

    /// Bytes of the parameters of its handler, if the handler runs.
    pub(super) fn running_bytes(&self) -> usize {
        self.bytes as usize
    }

    /// Until when its handler may run.
    pub(super) fn deadline(&self) -> Option<Duration> {
        match self.handler {
            HandlerState::Running(until) => until,
            HandlerState::Waiting(_) | HandlerState::Ended => None,
        }
    }

    /// Its handler waits at one more place.
    pub(super) fn handler_waits(&mut self) {
        self.handler = match self.handler {
            HandlerState::Running(_) => HandlerState::Waiting(1),
            HandlerState::Waiting(times) => HandlerState::Waiting(times.saturating_add(1)),
            HandlerState::Ended => HandlerState::Ended,
        };
    }

    /// Its handler waits at one place fewer; if that was the last one, it may run until `deadline`.
    pub(super) fn handler_goes_on(&mut self, deadline: Option<Duration>) {
        self.handler = match self.handler {
            HandlerState::Waiting(0 | 1) => HandlerState::Running(deadline),
            HandlerState::Waiting(times) => HandlerState::Waiting(times.saturating_sub(1)),
            other => other,
        };
    }

    pub(super) fn handler_has_ended(&self) -> bool {
        matches!(self.handler, HandlerState::Ended)
    }

    /// Its handler has ended and has dropped its parameters.
    pub(super) fn handler_ended(&mut self) {
        self.handler = HandlerState::Ended;
        self.bytes = 0;
    }

    /// The head of its next event.
    pub(super) fn next_head(&mut self) -> Option<&Head> {
        match &self.head {
            Some(head) => Some(head),
            None => Some(self.events.as_mut()?.delivery.next_head()),
        }
    }

    /// Whether the subscription is represented by a document of this collection.
    pub(super) fn stands_for(&self, collection: &str) -> bool {
        let delivery = self.events.as_ref().map(|events| &events.delivery);
        delivery
            .and_then(EventDelivery::collection)
            .is_some_and(|found| **found == *collection)
    }

    /// Whether `ready` must wait, although the handler has said it.
    pub(super) fn is_catching_up(&self) -> bool {
        self.events.as_ref().is_some_and(|it| it.is_catching_up)
    }

    /// Whether it is, and the document has been announced.
    pub(super) fn has_announced(&self, collection: &str) -> bool {
        self.stands_for(collection)
            && self
                .events
                .as_ref()
                .is_some_and(|events| events.is_announced)
    }
}

impl Events {
    pub(super) fn new(delivery: EventDelivery) -> Self {
        Self {
            delivery,
            is_announced: false,
            has_place: false,
            is_catching_up: false,
            is_complete: false,
            held: None,
        }
    }

    /// Drops the events held until the subscription is ready. Returns whether there were any.
    pub(super) fn forget_held(&mut self) -> bool {
        self.held.take().is_some_and(|held| !held.is_empty())
    }
}
