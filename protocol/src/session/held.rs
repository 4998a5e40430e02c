//! The events of a subscription that is not ready yet. They wait here within bounds, and so do the
//! gaps between them.

use super::SessionSettings;
use crate::message::Tail;

/// Events that came before `ready` was sent.
#[derive(Debug, Default)]
pub(super) struct HeldEvents {
    /// Filled by `hold`, `keep` and `gap_event`, drained when `ready` is sent; bounded by the
    /// configuration, by one gap event behind each event, and by whoever sends what is kept.
    items: Vec<HeldEvent>,
    /// Events that do not report a gap, and their bytes.
    events: usize,
    bytes: usize,
    /// Whether an event found no room. After that none is held: the gap is at the end.
    is_full: bool,
    /// Where the latest gap is, if no event has followed it.
    gap: Option<usize>,
}

/// An event that waits, or a place where events are missing.
#[derive(Debug)]
pub(super) enum HeldEvent {
    Event(Tail),
    Gap,
}

impl HeldEvents {
    /// Holds an event, or drops it if there is no room. Returns `true` if that begins a gap.
    pub(super) fn hold(&mut self, tail: &Tail, settings: &SessionSettings) -> bool {
        if self.is_full {
            return false;
        }
        let bytes = self.bytes.saturating_add(tail.len());
        self.is_full = self.events >= settings.held_events || bytes > settings.held_bytes;
        if !self.is_full {
            self.bytes = bytes;
            self.events = self.events.saturating_add(1);
            self.items.push(HeldEvent::Event(tail.clone()));
            self.gap = None;
        }
        self.is_full
    }

    /// Holds an event for which there is always room.
    pub(super) fn keep(&mut self, tail: &Tail) {
        self.items.push(HeldEvent::Event(tail.clone()));
        self.gap = None;
    }

    /// Notes a gap. It merges with an earlier gap that no event has followed, and replaces that
    /// one's gap event.
    pub(super) fn gap(&mut self) {
        match self.gap {
            Some(at) => self.items.truncate(at.saturating_add(1)),
            None => {
                self.gap = Some(self.items.len());
                self.items.push(HeldEvent::Gap);
            }
        }
    }

    /// Holds the event that reports the gap that has just been noted. There is always room for it.
    pub(super) fn gap_event(&mut self, tail: &Tail) {
        self.items.push(HeldEvent::Event(tail.clone()));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

impl IntoIterator for HeldEvents {
    type Item = HeldEvent;
    type IntoIter = std::vec::IntoIter<HeldEvent>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.into_iter()
    }
}
