//! Reads on for the slots that have room, and gives each slot its records.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::Owner;
use crate::group::context::Context;
use crate::group::dead::is_replay;
use crate::group::feed::{Fed, Feed, Outcome, Want};
use crate::group::ids::RecordId;
use crate::group::options::Order;
use crate::group::slot::{Lane, slot_of_offset};
use crate::{Bounds, Content, Epoch, Offset, Page, Place, Record};

/// A topic that the group reads.
pub(super) struct Input {
    feed: Feed,
    /// What was asked for and is not there yet.
    asked: Want,
    /// The last offset that it was seen to have, and by which look.
    pub(super) last: Option<(u64, Offset)>,
}

impl Input {
    pub(super) fn start_all(context: &Context) -> (Vec<Self>, mpsc::Receiver<Fed>) {
        let (pages, read) = mpsc::channel(context.inputs.len().max(1));
        let inputs = context.inputs.iter().enumerate().map(|(input, core)| {
            let tasks = context.wake_ups.tasks();
            let closed = context.wake_ups.closed();
            let may_miss = input >= context.topics();
            let pages = pages.clone();
            let feed = Feed::start(input, Arc::clone(core), may_miss, pages, (tasks, closed));
            Self {
                feed,
                asked: Want::default(),
                last: None,
            }
        });
        (inputs.collect(), read)
    }
}

impl Owner {
    /// Asks for the records behind what the slots have read that want more.
    pub(super) fn read_on(&mut self) {
        let mut wanted: Vec<Option<Place>> = self.inputs.iter().map(|_| None).collect();
        for owned in self.slots.iter_mut().flatten() {
            if !owned.slot.is_hungry() {
                continue;
            }
            for (input, wanted) in wanted.iter_mut().enumerate() {
                let scanned = owned.slot.scanned(input);
                let is_lower = |place: &Place| wanted.is_none_or(|it| place.offset < it.offset);
                if let Some(place) = scanned.filter(is_lower) {
                    *wanted = Some(place);
                }
            }
        }
        let check = self.check;
        for (input, after) in self.inputs.iter_mut().zip(wanted) {
            let want = Want { after, check };
            if input.asked != want {
                input.asked = want;
                input.feed.want(want);
            }
        }
    }

    pub(super) fn take_page(&mut self, fed: Fed) {
        let Fed {
            input,
            after,
            check,
            outcome,
        } = fed;
        match &outcome {
            Outcome::Page(page) => self.set_last(input, check, page.bounds.last),
            Outcome::Missing => self.set_last(input, check, 0),
            Outcome::Damaged(_) | Outcome::Reset(_) => {}
        }
        match outcome {
            Outcome::Page(page) => self.feed_slots(input, after, check, page),
            Outcome::Damaged(offset) => self.pass_damaged(input, after, offset),
            Outcome::Reset(bounds) => self.reset(input, after, check, &bounds),
            Outcome::Missing => {}
        }
    }

    fn feed_slots(&mut self, input: usize, after: Place, check: u64, page: Page) {
        if page.next != after {
            self.answered(input);
        }
        let order = self.context.options.order;
        let is_topic = input < self.context.topics();
        let mut by_slot: HashMap<usize, Vec<(Lane, Arc<Record>)>> = HashMap::new();
        for record in page.records {
            if !is_topic && !is_replay(&record.content) {
                continue;
            }
            let offset = record.offset;
            let (lane, number) = Lane::of(order, RecordId { input, offset }, &record);
            let records = by_slot.entry(number).or_default();
            records.push((lane, Arc::new(record)));
        }
        let now = self.both_now();
        let mut has_lost = false;
        for (number, owned) in self.slots.iter_mut().enumerate() {
            let Some(owned) = owned else {
                continue;
            };
            let is_later = check >= owned.since;
            let slot = &mut owned.slot;
            let epoch = slot.scanned(input).map(|place| place.epoch);
            if epoch != Some(page.bounds.epoch) {
                continue;
            }
            if is_later && slot.is_ahead(input, page.bounds.last) {
                slot.reset(input, start_of(&page.bounds));
                continue;
            }
            has_lost |= slot.skip_to(input, page.bounds.first);
            // A slot that has not read up to here gets what is in between first.
            if slot
                .scanned(input)
                .is_some_and(|it| it.offset < after.offset)
            {
                continue;
            }
            let records = by_slot.get(&number).map(Vec::as_slice);
            slot.feed(input, records.unwrap_or_default(), page.next, now);
        }
        if has_lost && let Some(core) = self.context.inputs.get(input) {
            let group = &self.context.name;
            tracing::warn!(%group, topic = %core.name, "the group has lost records: they were removed before it had read them");
        }
    }

    /// A record that cannot be read becomes a dead letter, without what is in it.
    fn pass_damaged(&mut self, input: usize, after: Place, offset: Offset) {
        self.answered(input);
        let id = RecordId { input, offset };
        let (lane, number) = match self.context.options.order {
            Order::Total => (Lane::All, 0),
            Order::None | Order::Key => (Lane::Single(id), slot_of_offset(offset)),
        };
        let record = Record::new(offset, 0, 0, Content::default());
        let records = [(lane, Arc::new(record))];
        let next = Place::unmarked(after.epoch, offset);
        let now = self.both_now();
        for (other, owned) in self.slots.iter_mut().enumerate() {
            let Some(owned) = owned else {
                continue;
            };
            if owned.slot.scanned(input) != Some(after) {
                continue;
            }
            let mine = if other == number { &records[..] } else { &[] };
            owned.slot.feed(input, mine, next, now);
            owned
                .slot
                .reject_unread(id, "it is damaged in the store".into());
        }
    }

    /// A group that cannot know what it has missed begins with what there is: better twice than not
    /// at all.
    fn reset(&mut self, input: usize, after: Place, check: u64, bounds: &Bounds) {
        self.answered(input);
        let nothing = Epoch::from_u64(0);
        if after.epoch != nothing
            && let Some(core) = self.context.inputs.get(input)
        {
            let group = &self.context.name;
            tracing::warn!(%group, topic = %core.name, "the group begins anew: the topic is another one, or has lost records");
        }
        for owned in self.slots.iter_mut().flatten() {
            let scanned = owned.slot.scanned(input);
            let is_of_it = scanned.is_some_and(|place| place.epoch == after.epoch);
            if is_of_it && check >= owned.since {
                owned.slot.reset(input, start_of(bounds));
            }
        }
    }

    fn answered(&mut self, input: usize) {
        if let Some(input) = self.inputs.get_mut(input) {
            input.asked.after = None;
        }
    }

    fn set_last(&mut self, input: usize, check: u64, last: Offset) {
        if let Some(input) = self.inputs.get_mut(input) {
            input.last = Some((check, last));
        }
    }
}

/// The place in front of all that a topic holds.
fn start_of(bounds: &Bounds) -> Place {
    match bounds.first.saturating_sub(1) {
        0 => Place::start(bounds.epoch),
        offset if offset == bounds.last => bounds.end(),
        offset => Place::unmarked(bounds.epoch, offset),
    }
}
