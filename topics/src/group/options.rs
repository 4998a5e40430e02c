//! The options of a group that are the same in all processes.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ids::Millis;
use crate::TopicName;
use crate::clock::millis;

/// In which order a group hands records out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(clippy::exhaustive_enums, reason = "there is nothing between them")]
pub enum Order {
    /// Each record by itself: whoever is free gets the next one.
    None,
    /// The records of one key one after the other, in all topics of the group together. Those
    /// without a key are handed out by themselves.
    #[default]
    Key,
    /// All records one after the other.
    Total,
}

/// What becomes of a record that has failed as often as it may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(clippy::exhaustive_enums, reason = "it is set aside or it is not")]
pub enum OnPoison {
    /// It becomes a dead letter, and what is behind it goes on.
    #[default]
    Park,
    /// It is tried again for as long as it takes, each ack wait, and its key waits.
    Block,
}

/// What all processes that take part in a group must agree on. Times are in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Options {
    pub(crate) topics: Vec<String>,
    pub(crate) order: Order,
    pub(crate) ack_wait: Millis,
    pub(crate) max_extension: Millis,
    pub(crate) max_deliveries: u32,
    pub(crate) back_off: Vec<Millis>,
    pub(crate) max_in_flight: u32,
    pub(crate) per_member: u32,
    pub(crate) max_open: u32,
    pub(crate) on_poison: OnPoison,
    pub(crate) inactive_after: Millis,
}

impl Options {
    /// The options of a group on these topics, with the defaults.
    pub(crate) fn new(topics: &[TopicName]) -> Self {
        let seconds = |seconds| millis(Duration::from_secs(seconds));
        Self {
            topics: topics.iter().map(|name| name.as_str().to_owned()).collect(),
            order: Order::Key,
            ack_wait: seconds(30),
            max_extension: seconds(5 * 60),
            max_deliveries: 5,
            back_off: Vec::new(),
            max_in_flight: 1000,
            per_member: 100,
            max_open: 1000,
            on_poison: OnPoison::Park,
            inactive_after: seconds(7 * 24 * 3600),
        }
    }

    /// The first option that is another one here.
    pub(crate) fn difference(&self, other: &Self) -> Option<&'static str> {
        let same = [
            ("topics", self.topics == other.topics),
            ("order", self.order == other.order),
            ("ack_wait", self.ack_wait == other.ack_wait),
            ("max_extension", self.max_extension == other.max_extension),
            (
                "max_deliveries",
                self.max_deliveries == other.max_deliveries,
            ),
            ("back_off", self.back_off == other.back_off),
            ("max_in_flight", self.max_in_flight == other.max_in_flight),
            ("per_member", self.per_member == other.per_member),
            ("max_open", self.max_open == other.max_open),
            ("on_poison", self.on_poison == other.on_poison),
            (
                "inactive_after",
                self.inactive_after == other.inactive_after,
            ),
        ];
        same.into_iter()
            .find_map(|(name, same)| (!same).then_some(name))
    }

    /// How long a record waits that has failed for the n-th time.
    pub(crate) fn delay(&self, failures: u32) -> Millis {
        let index = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX);
        let delay = self.back_off.get(index).or_else(|| self.back_off.last());
        delay.copied().unwrap_or_default()
    }

    /// How many slots the group has.
    pub(crate) const fn slots(&self) -> usize {
        match self.order {
            Order::Total => 1,
            Order::None | Order::Key => 64,
        }
    }
}
