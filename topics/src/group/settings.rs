//! Settings of a group.

use std::collections::HashSet;
use std::time::Duration;

use super::options::{OnPoison, Options, Order};
use crate::clock::millis;
use crate::seek::Start;
use crate::topic::Topic;

/// What a group reads and what it promises. All processes must open it with the same settings,
/// except for [`start`](Self::start), which counts when the group is created.
#[derive(Clone, Debug)]
#[must_use = "settings are for opening a group"]
pub struct GroupSettings {
    pub(crate) topics: Vec<Topic>,
    pub(crate) start: Start,
    pub(crate) options: Options,
}

impl GroupSettings {
    /// A group that reads these topics, in order of their keys and from their earliest records. One
    /// that is named twice is read once.
    pub fn on<'a>(topics: impl IntoIterator<Item = &'a Topic>) -> Self {
        let mut seen = HashSet::new();
        let topics = topics
            .into_iter()
            .filter(|topic| seen.insert(topic.name().clone()));
        let topics: Vec<_> = topics.cloned().collect();
        let names: Vec<_> = topics.iter().map(|topic| topic.name().clone()).collect();
        Self {
            options: Options::new(&names),
            topics,
            start: Start::Earliest,
        }
    }

    /// Where the group begins when it is created. [`Start::Snapshot`] is not possible.
    pub fn start(mut self, start: impl Into<Start>) -> Self {
        self.start = start.into();
        self
    }

    /// In which order records are handed out: by key by default.
    pub fn order(mut self, order: Order) -> Self {
        self.options.order = order;
        self
    }

    /// How long a member has for a record before it is given to another: 30 s by default, at least
    /// 10 ms.
    pub fn ack_wait(mut self, time: Duration) -> Self {
        self.options.ack_wait = millis(time).max(10);
        self
    }

    /// For how long a member can have a record, however often it extends that time: 5 minutes by
    /// default.
    pub fn max_extension(mut self, time: Duration) -> Self {
        self.options.max_extension = millis(time);
        self
    }

    /// How often a record is delivered before it is set aside: 5 times by default.
    pub fn max_deliveries(mut self, count: u32) -> Self {
        self.options.max_deliveries = count.max(1);
        self
    }

    /// How long a record that has failed waits before it is delivered again: after the first
    /// failure, after the second, and so on; the last of them counts for all that follow. By
    /// default it does not wait.
    pub fn back_off(mut self, delays: impl IntoIterator<Item = Duration>) -> Self {
        self.options.back_off = delays.into_iter().map(millis).collect();
        self
    }

    /// How many records all members together have at most: 1,000 by default. Each process may use
    /// as much of it as it has of the group's slots, and at least one.
    pub fn max_in_flight(mut self, count: u32) -> Self {
        self.options.max_in_flight = count.max(1);
        self
    }

    /// How many records one member has at most: 100 by default.
    pub fn per_member(mut self, count: u32) -> Self {
        self.options.per_member = count.max(1);
        self
    }

    /// How many records of one slot are looked at beyond one that is not finished: 1,000 by default.
    /// Then the slot stands still: those of its keys that are stuck hold the others.
    pub fn max_open(mut self, count: u32) -> Self {
        self.options.max_open = count.max(1);
        self
    }

    /// What becomes of a record that has failed as often as it may: it is set aside by default.
    pub fn on_poison(mut self, what: OnPoison) -> Self {
        self.options.on_poison = what;
        self
    }

    /// How long the group may be without members before it no longer holds what it has not read, in
    /// topics that are [kept for groups](crate::Retention): 7 days by default.
    pub fn inactive_after(mut self, time: Duration) -> Self {
        self.options.inactive_after = millis(time);
        self
    }
}
