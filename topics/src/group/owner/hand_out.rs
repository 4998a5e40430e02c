//! Which record goes to which member.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Owner;
use crate::TopicError;
use crate::group::context::{Fetch, Fetched};
use crate::group::ids::MemberId;
use crate::group::slot::{Begun, Lane, Return};

/// Records that are begun for a member and are delivered when that is written.
pub(super) struct Outgoing {
    fetch: Fetch,
    records: Vec<Begun>,
    /// The term of this process in which they were begun.
    term: u64,
}

impl Owner {
    /// Begins records for the members that wait.
    pub(super) fn hand_out(&mut self) {
        if self.fetches.is_empty() {
            return;
        }
        if self.is_paused || self.is_deleted {
            self.refuse();
            return;
        }
        let Some(term) = self.context.beats.term() else {
            return;
        };
        let mut left = VecDeque::new();
        while let Some(fetch) = self.fetches.pop_front() {
            if fetch.reply.is_closed() {
                continue;
            }
            let records = self.choose(&fetch);
            if !records.is_empty() {
                self.outgoing.push(Outgoing {
                    fetch,
                    records,
                    term,
                });
            } else if !fetch.waits && (self.room_for(&fetch) == 0 || self.is_drained(fetch.check)) {
                let nothing = Fetched::new(Arc::clone(&self.context), Vec::new(), term);
                drop(fetch.reply.send(Ok(nothing)));
            } else {
                left.push_back(fetch);
            }
        }
        self.fetches = left;
    }

    /// Answers those that cannot wait for a group that is paused, and all if it is gone.
    fn refuse(&mut self) {
        let is_deleted = self.is_deleted;
        let fetches = std::mem::take(&mut self.fetches);
        for fetch in fetches {
            if fetch.waits && !is_deleted {
                self.fetches.push_back(fetch);
                continue;
            }
            let error = if is_deleted {
                TopicError::UnknownGroup { nearest: None }
            } else {
                TopicError::Paused
            };
            drop(fetch.reply.send(Err(error)));
        }
    }

    /// Begins what this member can have now.
    fn choose(&mut self, fetch: &Fetch) -> Vec<Begun> {
        let mut chosen = Vec::new();
        let ready: usize = self.handing_out().map(|owned| owned.slot.ready()).sum();
        let Some(name) = self.members.get(&fetch.member).cloned() else {
            return chosen;
        };
        if ready == 0 {
            return chosen;
        }
        let most = self.room_for(fetch);
        // Others wait too: a member gets more of a lane only when there are no more lanes.
        let share = ready.div_ceil(self.fetches.len().saturating_add(1));
        let mut going = VecDeque::new();
        let mut passed: usize = 0;
        while chosen.len() < most.min(share) && passed < self.inputs.len() {
            let input = self.next_input;
            self.next_input = input.saturating_add(1);
            if self.next_input >= self.inputs.len() {
                self.next_input = 0;
            }
            match self.begin(input, fetch.member, &name) {
                Some((begun, lane)) => {
                    passed = 0;
                    going.push_back((begun.id.slot, lane));
                    chosen.push(begun);
                }
                None => passed = passed.saturating_add(1),
            }
        }
        while chosen.len() < most
            && let Some((number, lane)) = going.pop_front()
        {
            let owned = self.slots.get_mut(number).and_then(Option::as_mut);
            let begun = owned.and_then(|it| it.slot.begin_next(&lane, fetch.member, &name));
            if let Some(begun) = begun {
                chosen.push(begun);
                going.push_back((number, lane));
            }
        }
        chosen
    }

    /// The next record of this topic: the first of those that come again, else one of whichever slot
    /// has one.
    fn begin(&mut self, input: usize, member: MemberId, name: &Arc<str>) -> Option<(Begun, Lane)> {
        let again = self.handing_out().filter_map(|owned| {
            let first = owned.slot.first_again(input)?;
            Some((first, owned.slot.number()))
        });
        if let Some((_, number)) = again.min() {
            let owned = self.slots.get_mut(number).and_then(Option::as_mut)?;
            return owned.slot.begin(input, member, name);
        }
        let count = self.slots.len();
        for step in 0..count {
            let number = self.next_slot.saturating_add(step) % count.max(1);
            let owned = self.slots.get_mut(number).and_then(Option::as_mut);
            let Some(owned) = owned.filter(|owned| !owned.is_leaving) else {
                continue;
            };
            if owned.slot.is_ready(input)
                && let Some(begun) = owned.slot.begin(input, member, name)
            {
                self.next_slot = number.saturating_add(1);
                return Some(begun);
            }
        }
        None
    }

    /// How many records this member may get.
    fn room_for(&self, fetch: &Fetch) -> usize {
        let options = &self.context.options;
        let per_member = usize::try_from(options.per_member).unwrap_or(usize::MAX);
        let member = per_member.saturating_sub(self.in_flight_of(fetch.member));
        let all = self.quota().saturating_sub(self.in_flight());
        fetch.most.min(member).min(all)
    }

    /// How many records may be in flight in this process: as much of the group's limit as it has of
    /// the slots, and at least one.
    pub(super) fn quota(&self) -> usize {
        let most = usize::try_from(self.context.options.max_in_flight).unwrap_or(usize::MAX);
        let slots = self.handing_out().count();
        let share = most.saturating_mul(slots).checked_div(self.slots.len());
        share.unwrap_or_default().max(1)
    }

    fn handing_out(&self) -> impl Iterator<Item = &super::Owned> {
        self.slots
            .iter()
            .flatten()
            .filter(|owned| !owned.is_leaving)
    }

    /// Delivers what was written, as far as the slots are still this process' own.
    pub(super) fn deliver(&mut self, outgoing: Vec<Outgoing>) {
        let now = self.now();
        let now_term = self.context.beats.term();
        for Outgoing {
            fetch,
            records,
            term,
        } in outgoing
        {
            // Otherwise the slot may be another process' already.
            let is_valid = now_term == Some(term);
            let mut ready = Vec::with_capacity(records.len());
            for begun in records {
                let id = begun.id;
                let Some(owned) = self.slots.get_mut(id.slot).and_then(Option::as_mut) else {
                    continue;
                };
                if !is_valid || fetch.reply.is_closed() {
                    owned.slot.give_back(id, Return::Uncounted, now);
                } else if owned.slot.deliver(id, now)
                    && let Some(scanned) = owned.slot.scanned(id.record.input)
                {
                    ready.push((begun, scanned.epoch));
                }
            }
            if !ready.is_empty() {
                let fetched = Fetched::new(Arc::clone(&self.context), ready, term);
                // If nobody takes it, it comes back when it is dropped.
                drop(fetch.reply.send(Ok(fetched)));
            } else if !fetch.reply.is_closed() {
                self.fetches.push_front(fetch);
            }
        }
    }

    /// Whether this process has read all that there was at this look, and nothing waits for a
    /// member.
    fn is_drained(&self, check: u64) -> bool {
        let nothing_waits = self.outgoing.is_empty() && self.written_next.is_empty();
        let has_slots = self.target.is_some_and(|target| self.owned() >= target);
        let is_done = |owned: &super::Owned| {
            let mut inputs = self.inputs.iter().enumerate();
            let is_read = inputs.all(|(input, state)| {
                let Some((looked, last)) = state.last else {
                    return false;
                };
                let scanned = owned.slot.scanned(input).map_or(0, |place| place.offset);
                looked >= check && (scanned >= last || last == 0)
            });
            // What is being set aside makes room for what is behind it.
            let is_still = owned.slot.ready() == 0 && !owned.slot.has_parking();
            is_still && (is_read || !owned.slot.has_room())
        };
        nothing_waits && has_slots && self.slots.iter().flatten().all(is_done)
    }
}
