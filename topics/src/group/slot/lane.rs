//! Lanes: what must be handed out one after the other.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::group::ids::RecordId;
use crate::group::options::Order;
use crate::{Offset, Record};

/// Records of one lane are with one member at a time, in their order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Lane {
    /// Everything, in a group with total order.
    All,
    /// The records of a key, whatever topic they are in.
    Key(Arc<str>),
    /// A record by itself.
    Single(RecordId),
}

/// The open records of a lane, in the order in which they are handed out.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// Filled by `Slot::feed`, drained as records are finished; bounded by the slot's open records.
    pub(crate) ids: VecDeque<RecordId>,
    /// How many of the first ones are with a member.
    pub(crate) in_flight: usize,
    /// Whether the lane is in one of the slot's lists of what can be begun.
    pub(crate) is_listed: bool,
}

/// The lanes that can be begun, each once at most.
#[derive(Debug, Default)]
pub(crate) struct Ready {
    /// Those that begin with a record which was handed out before, by that record.
    again: BTreeMap<RecordId, Lane>,
    /// The others.
    new: VecDeque<Lane>,
}

impl Ready {
    pub(crate) fn len(&self) -> usize {
        self.again.len().saturating_add(self.new.len())
    }

    pub(crate) fn push(&mut self, first: RecordId, lane: Lane, is_again: bool) {
        if is_again {
            self.again.insert(first, lane);
        } else {
            self.new.push_back(lane);
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Lane> {
        match self.again.pop_first() {
            Some((_, lane)) => Some(lane),
            None => self.new.pop_front(),
        }
    }

    /// The first record that was handed out before.
    pub(crate) fn first_again(&self) -> Option<RecordId> {
        self.again.first_key_value().map(|(id, _)| *id)
    }
}

impl Lane {
    /// The lane of a record, and the number of its slot.
    pub(crate) fn of(order: Order, id: RecordId, record: &Record) -> (Self, usize) {
        match (order, &record.content.key) {
            (Order::Total, _) => (Self::All, 0),
            (Order::Key, Some(key)) => (Self::Key(Arc::clone(key)), slot_of_key(key)),
            (Order::Key, None) | (Order::None, _) => (Self::Single(id), slot_of_offset(id.offset)),
        }
    }
}

fn slot_of_key(key: &str) -> usize {
    usize::try_from(crc32c::crc32c(key.as_bytes()) % 64).unwrap_or_default()
}

pub(crate) fn slot_of_offset(offset: Offset) -> usize {
    usize::try_from(offset % 64).unwrap_or_default()
}
