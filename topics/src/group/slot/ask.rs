//! What its owner asks of a slot.

use super::lane::Ready;
use super::part::State;
use super::{LOW, MAX_OPEN_BYTES, Slot};
use crate::group::ids::{MemberId, Millis};
use crate::{Offset, Place};

impl Slot {
    pub(crate) fn number(&self) -> usize {
        self.number
    }

    /// Up to where the slot has read a topic.
    pub(crate) fn scanned(&self, input: usize) -> Option<Place> {
        Some(self.parts.get(input)?.scanned)
    }

    /// Whether the topic may have lost records which the slot has handed out.
    pub(crate) fn is_ahead(&self, input: usize, last: Offset) -> bool {
        self.parts.get(input).is_some_and(|part| part.begun > last)
    }

    /// Whether the slot wants to read on.
    pub(crate) fn is_hungry(&mut self) -> bool {
        if self.is_full && self.open <= self.max_open() / 2 && self.bytes <= MAX_OPEN_BYTES / 2 {
            self.is_full = false;
        }
        self.has_room() && self.ready() < LOW
    }

    /// Whether the slot can read no further, and has nothing to hand out or to wait for.
    pub(crate) fn is_stalled(&self) -> bool {
        self.is_full && self.in_flight == 0 && self.ready() == 0
    }

    /// Whether something that begins in this topic can be handed out.
    pub(crate) fn is_ready(&self, input: usize) -> bool {
        self.ready.get(input).is_some_and(|ready| ready.len() > 0)
    }

    /// The first record of this topic that can be handed out and was before.
    pub(crate) fn first_again(&self, input: usize) -> Option<Offset> {
        Some(self.ready.get(input)?.first_again()?.offset)
    }

    /// How many lanes can be begun.
    pub(crate) fn ready(&self) -> usize {
        self.ready.iter().map(Ready::len).sum()
    }

    /// Whether the slot may read on.
    pub(crate) fn has_room(&self) -> bool {
        // One large record at least.
        !self.is_full || self.open == 0
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub(crate) fn in_flight_of(&self, member: MemberId) -> usize {
        self.members.get(&member).copied().unwrap_or_default()
    }

    /// Whether a record waits to become a dead letter.
    pub(crate) fn has_parking(&self) -> bool {
        self.parts
            .iter()
            .flat_map(|part| part.open.values())
            .any(|open| matches!(open.state, State::Parking))
    }

    /// When the next delivery is over, or the next record can be tried again.
    pub(crate) fn next_timer(&self) -> Option<Millis> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Whether its register must be written, for others to know what it says.
    pub(crate) fn is_changed(&self) -> bool {
        self.changed
    }

    /// Whether its floors have risen.
    pub(crate) fn has_moved(&self) -> bool {
        self.moved
    }

    /// What `encode` gives now is being written.
    pub(crate) fn set_written(&mut self) {
        self.changed = false;
        self.moved = false;
    }
}
