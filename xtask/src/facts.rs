//! The facts that tests hold on to, by number: what each prefix means, and which numbers must have a passing test.
//! A test says so in its name: `ddp_053_054_ready_follows_the_documents` holds two facts of `ddp`.

mod deviations;

use std::collections::BTreeSet;

use deviations::Deviations;

/// A numbered list of facts.
pub(crate) struct List {
    /// How test names refer to it.
    pub(crate) prefix: &'static str,
    pub(crate) meaning: &'static str,
    /// Those that there are: a test that holds another one is wrong about its name.
    pub(crate) numbers: BTreeSet<u16>,
    /// Those without which the tests are not complete. What is planned for later joins when it is built.
    pub(crate) required: BTreeSet<u16>,
}

const PREFIXES: [&str; 5] = ["ddp", "vent", "row", "topic", "deviation"];

/// All lists there are. An error says what is wrong with the page of deviations.
pub(crate) fn lists() -> Result<[List; 5], String> {
    let deviations = Deviations::load()?;
    let [ddp, vent, row, topic, deviation] = PREFIXES;
    Ok([
        List {
            prefix: ddp,
            meaning: "the numbered checks of Meteor's protocol",
            numbers: (1..=247).collect(),
            // Not yet: stock clients from end to end (241 and up).
            required: &(1..=240).collect() - &deviations.without_counterpart,
        },
        List {
            prefix: vent,
            meaning: "the numbered checks of Vent, as clients of redis-oplog see it",
            numbers: (1..=80).collect(),
            required: (1..=80).collect(),
        },
        List {
            prefix: row,
            meaning: "faults and bad inputs, each with the right answer",
            numbers: (1..=110).collect(),
            // Otherwise than asked for: no limit of connections per address by default, because a school or a carrier is
            // one address (12); 1,000 logins within 10 s for one address, and none counted for private ones, which are
            // most often a proxy's (62); with a length and chunks hyper goes by the chunks and ends the connection behind
            // the answer (4); an address that guesses sessions is told of its own only, and nothing else is kept from it
            // (105).
            //
            // Not yet: some of the HTTP edge (3, 9-11), draining (49), Sentinel and Cluster (95), operation (98-99,
            // 101-104).
            required: [
                1..=2,
                4..=8,
                12..=48,
                50..=94,
                96..=97,
                100..=100,
                105..=110,
            ]
            .into_iter()
            .flatten()
            .collect(),
        },
        List {
            prefix: topic,
            meaning: "the numbered checks of durable topics",
            numbers: (1..=112).collect(),
            required: BTreeSet::new(),
        },
        List {
            prefix: deviation,
            meaning: "what is otherwise than in Meteor, by the lines of docs/deviations.md",
            numbers: deviations.numbers.clone(),
            required: deviations.numbers,
        },
    ])
}

/// The facts that a test's name refers to, as prefix and number: each prefix is followed by numbers of three digits.
pub(crate) fn of_test(name: &str) -> BTreeSet<(&'static str, u16)> {
    let mut facts = BTreeSet::new();
    let mut current = None;
    for word in name.split(|letter: char| !letter.is_ascii_alphanumeric()) {
        let prefix = PREFIXES.into_iter().find(|prefix| *prefix == word);
        current = match (prefix, current, number(word)) {
            (Some(prefix), _, _) => Some(prefix),
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
        assert_eq!(shown("ddp_088_deviation_016_x"), ["ddp 88", "deviation 16"]);
    }

    #[test]
    fn what_is_required_is_there() {
        for list in lists().unwrap() {
            assert!(list.required.is_subset(&list.numbers), "{}", list.prefix);
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
