//! A slot of a group: which of its records are finished, which are with a member, and which can be
//! handed out. It has no I/O and no clock. One process owns it at a time, and writes it to a
//! register (`code`) before what it says becomes true for others.

mod answer;
mod ask;
mod code;
mod lane;
mod part;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

pub(crate) use self::answer::{Answered, Return};
pub(crate) use self::code::{Now, Stored, StoredPart, owner_of};
pub(crate) use self::lane::{Lane, slot_of_offset};
use self::lane::{Queue, Ready};
use self::part::{Flight, Open, Part, Recovered, State, before};
use super::ids::{DeliveryId, MemberId, Millis, ProcessId, RecordId};
use super::options::{Options, Order};
use super::ticket::Ticket;
use crate::{Damaged, Offset, Place, Record};

/// A slot reads on when it has fewer lanes than this that can be begun.
const LOW: usize = 16;

/// The bytes of open records above which a slot does not read on.
const MAX_OPEN_BYTES: usize = 1024 * 1024;

/// How many acknowledgements are remembered, so that a second one of them is no error.
const REMEMBERED: usize = 256;

/// A slot.
#[derive(Debug)]
pub(crate) struct Slot {
    options: Arc<Options>,
    /// Its place among the slots of the group.
    number: usize,
    /// Grows with each owner, and each time that a delivery is taken back.
    generation: u64,
    parts: Vec<Part>,
    /// Filled by `feed`, drained as the records of a lane are finished.
    lanes: HashMap<Lane, Queue>,
    /// By input: the lanes whose first record can be handed out. Filled by `list`, drained by
    /// `begin`; bounded by the open records.
    ready: Vec<Ready>,
    /// When deliveries are over and when records can be tried again. At most one entry for each
    /// open record.
    timers: BTreeSet<(Millis, RecordId)>,
    /// How many records each member has. An entry goes with the last of them.
    members: HashMap<MemberId, usize>,
    in_flight: usize,
    redeliveries: u64,
    parked: u64,
    /// Records that are to become dead letters. Drained by `take_to_park`.
    to_park: Vec<RecordId>,
    /// The latest acknowledgements, at most `REMEMBERED`.
    recent: VecDeque<DeliveryId>,
    open: usize,
    bytes: usize,
    /// Whether the register says something else, which others must know.
    changed: bool,
    /// Whether the register only has lower floors.
    moved: bool,
    /// Whether the slot has as many open records as it may, and waits until there are half.
    is_full: bool,
}

/// A record that was handed out.
#[derive(Clone, Debug)]
pub(crate) struct Begun {
    pub(crate) id: DeliveryId,
    pub(crate) record: Arc<Record>,
    pub(crate) attempts: u32,
    pub(crate) ticket: Arc<Ticket>,
}

/// What goes into a dead letter beside the record.
#[derive(Clone, Debug)]
pub(crate) struct Failed {
    pub(crate) id: RecordId,
    pub(crate) record: Arc<Record>,
    pub(crate) attempts: u32,
    pub(crate) reason: Arc<str>,
    pub(crate) member: Option<Arc<str>>,
}

impl Slot {
    /// A slot that nobody has owned, with the places at which it begins in each topic.
    pub(crate) fn new(options: Arc<Options>, number: usize, starts: &[Place]) -> Self {
        let parts: Vec<_> = starts.iter().copied().map(Part::new).collect();
        Self {
            options,
            number,
            generation: 0,
            ready: parts.iter().map(|_| Ready::default()).collect(),
            parts,
            lanes: HashMap::new(),
            timers: BTreeSet::new(),
            members: HashMap::new(),
            in_flight: 0,
            redeliveries: 0,
            parked: 0,
            to_park: Vec::new(),
            recent: VecDeque::new(),
            open: 0,
            bytes: 0,
            changed: true,
            moved: false,
            is_full: false,
        }
    }

    /// A slot that somebody has owned.
    pub(crate) fn decode(
        options: Arc<Options>,
        number: usize,
        value: Bytes,
    ) -> Result<Self, Damaged> {
        let stored = Stored::decode(value)?;
        let mut slot = Self::new(options, number, &[]);
        slot.generation = stored.generation;
        slot.redeliveries = stored.redeliveries;
        slot.parked = stored.parked;
        for stored in stored.parts {
            let mut part = Part::new(stored.floor);
            part.begun = stored.begun.max(stored.floor.offset);
            part.recovered = stored.unfinished;
            part.finished = stored.finished;
            part.lost = stored.lost;
            slot.parts.push(part);
            slot.ready.push(Ready::default());
        }
        Ok(slot)
    }

    /// The value of its register.
    pub(crate) fn encode(&self, owner: Option<ProcessId>, now: Now) -> Bytes {
        let parts = u64::try_from(self.parts.len()).unwrap_or(u64::MAX);
        let numbers = [self.generation, self.redeliveries, self.parked, parts];
        let mut out = code::encode_head(owner, numbers);
        out.reserve(self.parts.len().saturating_mul(64));
        for part in &self.parts {
            part.encode(&mut out, now);
        }
        out.freeze()
    }

    /// Another process, or this one again, becomes the owner.
    pub(crate) fn next_owner(&mut self) {
        self.generation = self.generation.saturating_add(1);
        self.changed = true;
    }

    /// Takes in the records of this slot that a page has behind `scanned`, up to `next`. A slot
    /// that is full stops in front of the first one for which it has no room.
    pub(crate) fn feed(
        &mut self,
        input: usize,
        records: &[(Lane, Arc<Record>)],
        next: Place,
        now: Now,
    ) {
        let Some(scanned) = self.parts.get(input).map(|part| part.scanned) else {
            return;
        };
        if next.epoch != scanned.epoch || next.offset < scanned.offset {
            return;
        }
        let mut read = next;
        for (lane, record) in records {
            if record.offset <= scanned.offset {
                continue;
            }
            if self.open >= self.max_open() || (self.bytes > MAX_OPEN_BYTES && self.open > 0) {
                self.is_full = true;
                read = before(next, record.offset);
                break;
            }
            let id = RecordId {
                input,
                offset: record.offset,
            };
            self.open_record(id, lane, record, now);
        }
        if let Some(part) = self.parts.get_mut(input) {
            part.scanned = read;
            // What the last owner had begun and is not there any more.
            let later = part.recovered.split_off(&read.offset.saturating_add(1));
            let gone = std::mem::replace(&mut part.recovered, later).len();
            part.lost = part
                .lost
                .saturating_add(u64::try_from(gone).unwrap_or(u64::MAX));
            self.changed |= gone > 0;
        }
        self.moved |= read != scanned;
    }

    fn open_record(&mut self, id: RecordId, lane: &Lane, record: &Arc<Record>, now: Now) {
        let (parks, longest) = (self.parks(), self.longest_delay());
        let Some(part) = self.parts.get_mut(id.input) else {
            return;
        };
        let recovered = part.recovered.remove(&id.offset);
        if recovered.is_none() && id.offset <= part.begun {
            // It is finished.
            return;
        }
        let mut open = Open {
            record: Arc::clone(record),
            lane: lane.clone(),
            attempts: 0,
            state: State::Waiting,
            failure: None,
            member: None,
        };
        let recovered = recovered.unwrap_or(Recovered {
            attempts: 0,
            was_in_flight: false,
            due: None,
        });
        open.attempts = recovered.attempts;
        if recovered.was_in_flight {
            open.failure = Some("the process that had it has stopped".into());
        }
        if self.options.max_deliveries <= open.attempts && parks {
            open.state = State::Parking;
            self.to_park.push(id);
        } else if let Some(due) = recovered.due {
            // The other process' clock may have been another one.
            let left = due.saturating_sub(now.wall).min(longest);
            let due = now.mono.saturating_add(left);
            open.state = State::Retry { due };
            self.timers.insert((due, id));
        }
        self.open = self.open.saturating_add(1);
        self.bytes = self.bytes.saturating_add(open.record.content.size());
        part.open.insert(id.offset, open);
        let queue = self.lanes.entry(lane.clone()).or_default();
        queue.ids.push_back(id);
        self.list(lane);
    }

    /// The records in front of `first` were trimmed. Whether the slot had not read all of them.
    pub(crate) fn skip_to(&mut self, input: usize, first: Offset) -> bool {
        let (order, number) = (self.options.order, self.number);
        let Some(part) = self.parts.get_mut(input) else {
            return false;
        };
        let (from, to) = (part.scanned.offset, first.saturating_sub(1));
        if to <= from {
            return false;
        }
        let lost = match order {
            Order::None => own_offsets(number, from, to),
            Order::Key | Order::Total => to.saturating_sub(from),
        };
        part.lost = part.lost.saturating_add(lost);
        part.scanned = Place::unmarked(part.scanned.epoch, to);
        part.recovered = part.recovered.split_off(&first);
        self.changed = true;
        true
    }

    /// The topic is another one, or has lost records: the slot begins anew, here.
    pub(crate) fn reset(&mut self, input: usize, start: Place) {
        let Some(part) = self.parts.get_mut(input) else {
            return;
        };
        let open: Vec<_> = part.open.keys().copied().collect();
        part.recovered.clear();
        part.begun = start.offset;
        part.finished = 0;
        part.lost = 0;
        for offset in open {
            self.forget(RecordId { input, offset });
        }
        if let Some(part) = self.parts.get_mut(input) {
            part.scanned = start;
        }
        self.timers.retain(|(_, id)| id.input != input);
        self.generation = self.generation.saturating_add(1);
        self.changed = true;
    }

    /// Hands out the first record of a lane that is with nobody and begins in this topic.
    pub(crate) fn begin(
        &mut self,
        input: usize,
        member: MemberId,
        name: &Arc<str>,
    ) -> Option<(Begun, Lane)> {
        loop {
            let lane = self.ready.get_mut(input)?.pop()?;
            let queue = self.lanes.get_mut(&lane)?;
            queue.is_listed = false;
            if queue.in_flight == 0
                && let Some(begun) = self.begin_next(&lane, member, name)
            {
                return Some((begun, lane));
            }
        }
    }

    /// Hands out the next record of a lane of which this member has all the earlier ones.
    pub(crate) fn begin_next(
        &mut self,
        lane: &Lane,
        member: MemberId,
        name: &Arc<str>,
    ) -> Option<Begun> {
        let queue = self.lanes.get_mut(lane)?;
        let id = *queue.ids.get(queue.in_flight)?;
        let part = self.parts.get_mut(id.input)?;
        let open = part.open.get_mut(&id.offset)?;
        if !matches!(open.state, State::Waiting) {
            return None;
        }
        queue.in_flight = queue.in_flight.saturating_add(1);
        part.begun = part.begun.max(id.offset);
        self.redeliveries = self
            .redeliveries
            .saturating_add(u64::from(open.attempts > 0));
        open.attempts = open.attempts.saturating_add(1);
        open.member = Some(Arc::clone(name));
        let ticket = Arc::new(Ticket::default());
        open.state = State::InFlight(Flight {
            member,
            generation: self.generation,
            ticket: Arc::clone(&ticket),
            deadline: None,
            latest: Millis::MAX,
        });
        let count = self.members.entry(member).or_default();
        *count = count.saturating_add(1);
        self.in_flight = self.in_flight.saturating_add(1);
        self.changed = true;
        Some(Begun {
            id: DeliveryId {
                slot: self.number,
                record: id,
                generation: self.generation,
            },
            record: Arc::clone(&open.record),
            attempts: open.attempts,
            ticket,
        })
    }

    /// The member is about to get a record that was begun: from now on its time runs.
    pub(crate) fn deliver(&mut self, delivery: DeliveryId, now: Millis) -> bool {
        let (ack_wait, most) = (self.options.ack_wait, self.options.max_extension);
        let Some(flight) = self.flight(delivery) else {
            return false;
        };
        let deadline = now.saturating_add(ack_wait);
        flight.deadline = Some(deadline);
        flight.latest = now.saturating_add(most.max(ack_wait));
        self.timers.insert((deadline, delivery.record));
        true
    }

    fn flight(&mut self, delivery: DeliveryId) -> Option<&mut Flight> {
        let DeliveryId {
            record: id,
            generation,
            ..
        } = delivery;
        let open = self.parts.get_mut(id.input)?.open.get_mut(&id.offset)?;
        match &mut open.state {
            State::InFlight(flight) if flight.generation == generation => Some(flight),
            _ => None,
        }
    }

    /// Lists a lane as one that can be begun, if it is.
    fn list(&mut self, lane: &Lane) {
        let Some(queue) = self.lanes.get_mut(lane) else {
            return;
        };
        let Some(first) = queue.ids.front() else {
            self.lanes.remove(lane);
            return;
        };
        if queue.in_flight > 0 || queue.is_listed {
            return;
        }
        let part = self.parts.get(first.input);
        let Some(open) = part.and_then(|part| part.open.get(&first.offset)) else {
            return;
        };
        if !matches!(open.state, State::Waiting) {
            return;
        }
        if let Some(ready) = self.ready.get_mut(first.input) {
            queue.is_listed = true;
            // One that was given back has been with a member, whether that counts or not.
            let is_again = open.attempts > 0 || open.member.is_some();
            ready.push(*first, lane.clone(), is_again);
        }
    }

    /// Removes a record from all lists.
    fn forget(&mut self, id: RecordId) {
        if let Some(flight) = self.take_flight(id) {
            flight.ticket.end();
        }
        let part = self.parts.get_mut(id.input);
        let Some(open) = part.and_then(|part| part.open.remove(&id.offset)) else {
            return;
        };
        self.open = self.open.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(open.record.content.size());
        if let Some(queue) = self.lanes.get_mut(&open.lane)
            && let Some(index) = queue.ids.iter().position(|other| *other == id)
        {
            queue.ids.remove(index);
            if index < queue.in_flight {
                queue.in_flight = queue.in_flight.saturating_sub(1);
            }
        }
        self.list(&open.lane);
    }

    /// A record is not with its member any more.
    fn take_flight(&mut self, id: RecordId) -> Option<Flight> {
        let open = self.parts.get_mut(id.input)?.open.get_mut(&id.offset)?;
        if !matches!(open.state, State::InFlight(_)) {
            return None;
        }
        let State::InFlight(flight) = std::mem::replace(&mut open.state, State::Waiting) else {
            return None;
        };
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Some(deadline) = flight.deadline {
            self.timers.remove(&(deadline, id));
        }
        if let Some(count) = self.members.get_mut(&flight.member) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.members.remove(&flight.member);
            }
        }
        Some(flight)
    }

    fn parks(&self) -> bool {
        matches!(self.options.on_poison, super::options::OnPoison::Park)
    }

    fn max_open(&self) -> usize {
        usize::try_from(self.options.max_open)
            .unwrap_or(usize::MAX)
            .max(1)
    }

    fn longest_delay(&self) -> Millis {
        let longest = self.options.back_off.iter().copied().max();
        longest.unwrap_or_default().max(MAX_DELAY)
    }
}

/// The longest delay that a member can ask for: a day.
pub(crate) const MAX_DELAY: Millis = 24 * 3600 * 1000;

/// How many of the offsets behind `from` up to `to` are those of a slot.
fn own_offsets(number: usize, from: Offset, to: Offset) -> u64 {
    let number = u64::try_from(number).unwrap_or_default();
    let up_to = |offset: Offset| offset.saturating_add(64).saturating_sub(number) / 64;
    up_to(to).saturating_sub(up_to(from))
}

#[cfg(test)]
mod tests;
