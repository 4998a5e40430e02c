//! What becomes of a record that was handed out: it is finished, it comes back, or it is set aside.

use std::sync::Arc;

use super::part::{Flight, State};
use super::{Failed, REMEMBERED, Slot};
use crate::group::ids::{DeliveryId, MemberId, Millis, RecordId};

/// How a slot takes an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    /// It counts as soon as the register is written.
    Taken,
    /// It has been given before.
    Known,
    /// The delivery is over. Nothing was changed.
    Stale,
    /// An earlier record of the lane is not finished. Nothing was changed.
    OutOfOrder,
}

/// Why a record comes back.
#[derive(Clone, Debug)]
pub(crate) enum Return {
    /// It was not handled, and this does not count.
    Uncounted,
    /// It has failed. Without a delay it waits as the options say.
    Failed {
        delay: Option<Millis>,
        reason: Arc<str>,
    },
    /// It can never succeed.
    Rejected { reason: Arc<str> },
}

impl Slot {
    /// The record is finished.
    pub(crate) fn ack(&mut self, delivery: DeliveryId) -> Answered {
        let id = delivery.record;
        let Some(flight) = self.flight(delivery) else {
            let is_known = self.recent.contains(&delivery);
            return if is_known {
                Answered::Known
            } else {
                Answered::Stale
            };
        };
        let ticket = Arc::clone(&flight.ticket);
        let lane = self.lane_of(id);
        let is_first = lane.is_some_and(|lane| {
            let queue = self.lanes.get(lane);
            queue.is_some_and(|queue| queue.ids.front() == Some(&id))
        });
        if !is_first {
            return Answered::OutOfOrder;
        }
        ticket.answer();
        self.finish(id);
        self.recent.push_back(delivery);
        if self.recent.len() > REMEMBERED {
            self.recent.pop_front();
        }
        Answered::Taken
    }

    /// The record comes back.
    pub(crate) fn give_back(&mut self, delivery: DeliveryId, why: Return, now: Millis) -> Answered {
        let Some(flight) = self.flight(delivery) else {
            return Answered::Stale;
        };
        flight.ticket.answer();
        self.put_back(delivery.record, why, now);
        Answered::Taken
    }

    /// The member needs more time. The last deadline stays once it cannot be moved further.
    pub(crate) fn extend(&mut self, delivery: DeliveryId, now: Millis) -> Answered {
        let id = delivery.record;
        let ack_wait = self.options.ack_wait;
        let Some(flight) = self.flight(delivery) else {
            return Answered::Stale;
        };
        let Some(old) = flight.deadline else {
            return Answered::Stale;
        };
        let deadline = now.saturating_add(ack_wait).min(flight.latest);
        flight.deadline = Some(deadline);
        self.timers.remove(&(old, id));
        self.timers.insert((deadline, id));
        Answered::Taken
    }

    /// Takes back what was not answered in time, and lets be handed out what has waited.
    pub(crate) fn expire(&mut self, now: Millis) {
        while let Some((at, id)) = self.timers.first().copied()
            && at <= now
        {
            self.timers.remove(&(at, id));
            let part = self.parts.get_mut(id.input);
            let Some(open) = part.and_then(|part| part.open.get_mut(&id.offset)) else {
                continue;
            };
            match open.state {
                State::InFlight(_) => {
                    let reason = Arc::from("it was not answered in time");
                    let delay = None;
                    self.put_back(id, Return::Failed { delay, reason }, now);
                }
                State::Retry { .. } => {
                    open.state = State::Waiting;
                    let lane = open.lane.clone();
                    self.list(&lane);
                }
                State::Waiting | State::Parking => {}
            }
        }
    }

    /// Takes back what a member has.
    pub(crate) fn take_from(&mut self, member: MemberId, why: &Return, now: Millis) {
        if self.in_flight_of(member) == 0 {
            return;
        }
        let mut ids = Vec::new();
        for (input, part) in self.parts.iter().enumerate() {
            for (offset, open) in &part.open {
                if let State::InFlight(Flight { member: holder, .. }) = open.state
                    && holder == member
                {
                    let offset = *offset;
                    ids.push(RecordId { input, offset });
                }
            }
        }
        // The last of a lane first, so that each comes back for itself.
        for id in ids.into_iter().rev() {
            self.put_back(id, why.clone(), now);
        }
    }

    /// The slot is lost: whoever has something of it is told.
    pub(crate) fn end(&mut self) {
        for open in self.parts.iter().flat_map(|part| part.open.values()) {
            if let State::InFlight(flight) = &open.state {
                flight.ticket.end();
            }
        }
    }

    /// What is to become a dead letter. Each record is given once, until it is given back.
    pub(crate) fn take_to_park(&mut self) -> Vec<Failed> {
        let ids = std::mem::take(&mut self.to_park);
        let failed = ids.into_iter().filter_map(|id| {
            let open = self.parts.get(id.input)?.open.get(&id.offset)?;
            let reason = open.failure.clone();
            Some(Failed {
                id,
                record: Arc::clone(&open.record),
                attempts: open.attempts,
                reason: reason.unwrap_or_else(|| "it was delivered too often".into()),
                member: open.member.clone(),
            })
        });
        failed.collect()
    }

    /// The dead letter is written, so the record is finished.
    pub(crate) fn parked(&mut self, id: RecordId) {
        let part = self.parts.get(id.input);
        let open = part.and_then(|part| part.open.get(&id.offset));
        if open.is_some_and(|open| matches!(open.state, State::Parking)) {
            self.finish(id);
            self.parked = self.parked.saturating_add(1);
        }
    }

    /// The dead letter was not written.
    pub(crate) fn not_parked(&mut self, id: RecordId) {
        self.to_park.push(id);
    }

    /// A record that cannot be read is finished by its dead letter.
    pub(crate) fn reject_unread(&mut self, id: RecordId, reason: Arc<str>) {
        let part = self.parts.get_mut(id.input);
        if let Some(part) = part
            && let Some(open) = part.open.get_mut(&id.offset)
            && matches!(open.state, State::Waiting)
        {
            open.state = State::Parking;
            open.failure = Some(reason);
            part.begun = part.begun.max(id.offset);
            self.to_park.push(id);
            self.changed = true;
        }
    }

    fn finish(&mut self, id: RecordId) {
        // The ticket was answered, or there is none: nobody is to be told that it is over.
        drop(self.take_flight(id));
        if let Some(part) = self.parts.get_mut(id.input) {
            part.finished = part.finished.saturating_add(1);
            part.begun = part.begun.max(id.offset);
        }
        self.forget(id);
        self.changed = true;
        self.moved = true;
    }

    fn put_back(&mut self, id: RecordId, why: Return, now: Millis) {
        let Some(lane) = self.lane_of(id).cloned() else {
            return;
        };
        let Some(queue) = self.lanes.get_mut(&lane) else {
            return;
        };
        let flown = queue.ids.iter().take(queue.in_flight).copied();
        let flown: Vec<_> = flown.skip_while(|other| *other != id).collect();
        queue.in_flight = queue.in_flight.saturating_sub(flown.len());
        self.generation = self.generation.saturating_add(1);
        self.changed = true;
        // What is behind it in its lane comes back too, and can be handed out again behind it.
        for other in flown.iter().skip(1).rev() {
            self.land(*other);
            self.uncount(*other);
        }
        self.land(id);
        match why {
            Return::Uncounted => self.uncount(id),
            Return::Failed { delay, reason } => self.fail(id, delay, reason, now),
            Return::Rejected { reason } => self.park(id, reason),
        }
        self.list(&lane);
    }

    fn land(&mut self, id: RecordId) {
        if let Some(flight) = self.take_flight(id) {
            flight.ticket.end();
        }
    }

    fn uncount(&mut self, id: RecordId) {
        if let Some(part) = self.parts.get_mut(id.input)
            && let Some(open) = part.open.get_mut(&id.offset)
        {
            open.attempts = open.attempts.saturating_sub(1);
            if open.attempts > 0 {
                self.redeliveries = self.redeliveries.saturating_sub(1);
            }
        }
    }

    fn fail(&mut self, id: RecordId, delay: Option<Millis>, reason: Arc<str>, now: Millis) {
        let parks = self.parks();
        let options = Arc::clone(&self.options);
        let part = self.parts.get_mut(id.input);
        let Some(open) = part.and_then(|part| part.open.get_mut(&id.offset)) else {
            return;
        };
        let is_poison = open.attempts >= options.max_deliveries;
        if is_poison && parks {
            self.park(id, reason);
            return;
        }
        open.failure = Some(reason);
        let mut delay = delay.unwrap_or_else(|| options.delay(open.attempts));
        if is_poison {
            delay = delay.max(options.ack_wait);
        }
        if delay > 0 {
            // `now` is cut to whole milliseconds: without one more it could come back too early.
            let due = now.saturating_add(delay).saturating_add(1);
            open.state = State::Retry { due };
            self.timers.insert((due, id));
        }
    }

    fn park(&mut self, id: RecordId, reason: Arc<str>) {
        let part = self.parts.get_mut(id.input);
        if let Some(open) = part.and_then(|part| part.open.get_mut(&id.offset)) {
            open.state = State::Parking;
            open.failure = Some(reason);
            self.to_park.push(id);
        }
    }

    fn lane_of(&self, id: RecordId) -> Option<&super::Lane> {
        Some(&self.parts.get(id.input)?.open.get(&id.offset)?.lane)
    }
}
