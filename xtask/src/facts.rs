//! The facts that tests hold on to, by number: what each prefix means, and which numbers must have a passing test.
//! A test says so in its name: `ddp_053_054_ready_follows_the_documents` holds two facts of `ddp`.

mod deviations;

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use deviations::Deviation;

/// A numbered list of facts.
pub(crate) struct List {
    /// How test names refer to it.
    pub(crate) prefix: &'static str,
    pub(crate) meaning: &'static str,
    /// The numbers without which the tests are not complete. What is planned for later joins when it is built.
    required: &'static [RangeInclusive<u16>],
    /// What is otherwise on purpose, and mostly has a test all the same.
    pub(crate) deviations: &'static [Deviation],
}

/// All lists there are.
pub(crate) const LISTS: [List; 4] = [
    List {
        prefix: "ddp",
        meaning: "the numbered checks of Meteor's protocol",
        // Not yet: stock clients from end to end (241 and up).
        required: &[1..=240],
        deviations: deviations::DDP,
    },
    List {
        prefix: "vent",
        meaning: "the numbered checks of Vent, as clients of redis-oplog see it",
        required: &[1..=80],
        deviations: deviations::VENT,
    },
    List {
        prefix: "row",
        meaning: "faults and bad inputs, each with the right answer",
        // Not yet: some of the HTTP edge (3, 9-11), draining (49), Sentinel and Cluster (95),
        // operation (98-99, 101-104).
        required: &[
            1..=2,
            4..=8,
            12..=48,
            50..=94,
            96..=97,
            100..=100,
            105..=110,
        ],
        deviations: deviations::ROW,
    },
    List {
        prefix: "topic",
        meaning: "the numbered checks of durable topics",
        required: &[],
        deviations: &[],
    },
];

impl List {
    pub(crate) fn required(&self) -> BTreeSet<u16> {
        self.required.iter().cloned().flatten().collect()
    }

    /// The numbers that are otherwise on purpose, in a way that leaves nothing to test.
    pub(crate) fn untested(&self) -> BTreeSet<u16> {
        let untested = self.deviations.iter().filter(|it| !it.is_tested);
        untested.flat_map(|it| it.numbers).copied().collect()
    }
}

/// The facts that a test's name refers to, as prefix and number: each prefix is followed by numbers of three digits.
pub(crate) fn of_test(name: &str) -> BTreeSet<(&'static str, u16)> {
    let mut facts = BTreeSet::new();
    let mut current = None;
    for word in name.split(|letter: char| !letter.is_ascii_alphanumeric()) {
        let list = LISTS.iter().find(|list| list.prefix == word);
        current = match (list, current, number(word)) {
            (Some(list), _, _) => Some(list.prefix),
            (None, Some(prefix), Some(number)) => {
                facts.insert((prefix, number));
                current
            }
            _ => None,
        };
    }
    facts
}

fn number(word: &str) -> Option<u16> {
    let is_number = word.len() == 3 && word.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| word.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(name: &str) -> Vec<String> {
        let facts = of_test(name).into_iter();
        facts
            .map(|(prefix, number)| format!("{prefix} {number}"))
            .collect()
    }

    #[test]
    fn names_carry_numbers_of_several_lists() {
        let name = "session::tests::vent_037_038_ddp_061_two_at_once";
        assert_eq!(shown(name), ["ddp 61", "vent 37", "vent 38"]);
        assert_eq!(shown("socket::meteor::ddp_001_connect"), ["ddp 1"]);
        assert_eq!(shown("row_084"), ["row 84"]);
    }

    #[test]
    fn a_number_deviates_once() {
        for list in &LISTS {
            let stated = list.deviations.iter().flat_map(|it| it.numbers).copied();
            let numbers: BTreeSet<u16> = stated.clone().collect();
            assert_eq!(stated.count(), numbers.len());
            assert!(numbers.is_subset(&list.required()));
        }
    }

    #[test]
    fn other_numbers_are_not_facts() {
        assert!(shown("ddp_53_x").is_empty());
        assert!(shown("ddp_0053").is_empty());
        assert!(shown("http_404_and_100_times").is_empty());
        assert_eq!(shown("ddp_007_closes_with_400"), ["ddp 7"]);
        assert!(shown("protocol/src/vent/mod.rs - vent (line 100)").is_empty());
    }
}
