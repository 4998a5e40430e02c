//! What a slot knows of one topic: up to where all is finished, and what is not.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::lane::Lane;
use crate::group::ids::{MemberId, Millis};
use crate::group::ticket::Ticket;
use crate::{Offset, Place, Record};

/// A slot's part of one topic.
#[derive(Debug)]
pub(crate) struct Part {
    /// Up to where the topic was read.
    pub(crate) scanned: Place,
    /// The highest offset that was handed out. What is finished lies at or below it.
    pub(crate) begun: Offset,
    /// Records of the slot that were read and are not finished. Filled by `Slot::feed`, drained as
    /// they are finished; bounded by [`Options::max_open`](crate::group::options::Options).
    pub(crate) open: BTreeMap<Offset, Open>,
    /// What the last owner has left unfinished of what it had begun, as long as it was not read.
    /// Bounded as `open` was there.
    pub(crate) recovered: BTreeMap<Offset, Recovered>,
    /// How many records were finished.
    pub(crate) finished: u64,
    /// Over how many offsets the slot was carried, because they were trimmed.
    pub(crate) lost: u64,
}

/// A record that is not finished.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) record: Arc<Record>,
    pub(crate) lane: Lane,
    /// How often it was handed out, the times excepted that do not count.
    pub(crate) attempts: u32,
    pub(crate) state: State,
    /// How it failed the last time.
    pub(crate) failure: Option<Arc<str>>,
    /// Who had it last.
    pub(crate) member: Option<Arc<str>>,
}

#[derive(Debug)]
pub(crate) enum State {
    /// It can be handed out when its turn comes.
    Waiting,
    /// It can be handed out at this time.
    Retry { due: Millis },
    /// A member has it.
    InFlight(Flight),
    /// It is to become a dead letter.
    Parking,
}

#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) member: MemberId,
    pub(crate) generation: u64,
    pub(crate) ticket: Arc<Ticket>,
    /// When it is taken back; `None` as long as it was not handed out.
    pub(crate) deadline: Option<Millis>,
    /// The latest time to which the deadline can be moved.
    pub(crate) latest: Millis,
}

/// What a register says of a record that is not finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Recovered {
    pub(crate) attempts: u32,
    /// Whether a member had it.
    pub(crate) was_in_flight: bool,
    /// When it can be handed out.
    pub(crate) due: Option<Millis>,
}

impl Part {
    pub(crate) fn new(start: Place) -> Self {
        Self {
            scanned: start,
            begun: start.offset,
            open: BTreeMap::new(),
            recovered: BTreeMap::new(),
            finished: 0,
            lost: 0,
        }
    }

    /// The place up to which all records of the slot are finished.
    pub(crate) fn floor(&self) -> Place {
        match self.open.first_key_value() {
            Some((offset, _)) => before(self.scanned, *offset),
            // What was recovered lies behind what was read.
            None => self.scanned,
        }
    }
}

/// The place in front of an offset.
pub(crate) fn before(of: Place, offset: Offset) -> Place {
    match offset.saturating_sub(1) {
        0 => Place::start(of.epoch),
        offset if offset == of.offset => of,
        offset => Place::unmarked(of.epoch, offset),
    }
}
