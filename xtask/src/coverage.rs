//! Which facts have a passing test, and which should have one.
//! What a test holds is read from its name, so the table comes from the tests that ran.

use std::collections::BTreeSet;

use crate::facts::{self, List};
use crate::ranges;
use crate::results::Results;

/// Shows the table of the last run, and whether nothing is missing.
pub(crate) fn run() -> bool {
    match Results::load() {
        Ok(results) => show(&results).is_ok(),
        Err(_) => {
            eprintln!("no tests have run yet: `cargo xtask test` runs them");
            false
        }
    }
}

/// Shows the table; an error says what is missing, and which tests name facts that there are not.
pub(crate) fn show(results: &Results) -> Result<(), String> {
    let mut wrong = Vec::new();
    for list in &facts::lists()? {
        let row = Row::new(list, results);
        println!(
            "{:<9} {}\n          covered:  {}\n          missing:  {}\n          tests:    {}",
            list.prefix,
            list.meaning,
            ranges::shown(&row.covered),
            ranges::shown(&row.missing),
            row.tests
        );
        wrong.extend(row.wrong(list));
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(wrong.join(", "))
}

/// What is known of one list.
struct Row {
    covered: BTreeSet<u16>,
    /// Required and not covered.
    missing: BTreeSet<u16>,
    /// Covered, and not in the list.
    unknown: BTreeSet<u16>,
    tests: usize,
}

impl Row {
    fn new(list: &List, results: &Results) -> Self {
        let mut covered = BTreeSet::new();
        let mut tests = 0;
        for name in &results.names {
            let mut numbers: BTreeSet<u16> = facts::of_test(name)
                .into_iter()
                .filter(|(prefix, _)| *prefix == list.prefix)
                .map(|(_, number)| number)
                .collect();
            tests += usize::from(!numbers.is_empty());
            covered.append(&mut numbers);
        }
        Self {
            missing: &list.required - &covered,
            unknown: &covered - &list.numbers,
            covered,
            tests,
        }
    }

    fn wrong(&self, list: &List) -> impl Iterator<Item = String> {
        let prefix = list.prefix;
        [("no test", &self.missing), ("no such", &self.unknown)]
            .into_iter()
            .filter(|(_, numbers)| !numbers.is_empty())
            .map(move |(what, numbers)| format!("{what}: {prefix} {}", ranges::shown(numbers)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(numbers: &[u16], required: &[u16]) -> List {
        List {
            prefix: "deviation",
            meaning: "",
            numbers: numbers.iter().copied().collect(),
            required: required.iter().copied().collect(),
        }
    }

    #[test]
    fn a_row_counts_facts_and_tests() {
        let mut results = Results::default();
        results.read("test a::deviation_001_002_x ... ok");
        results.read("test a::deviation_002_vent_001_y ... ok");
        results.read("test a::deviation_003_z ... FAILED");
        let row = Row::new(&list(&[1, 2, 3, 4], &[2, 3, 4]), &results);
        assert_eq!(row.covered, [1, 2].into());
        assert_eq!(row.missing, [3, 4].into());
        assert_eq!(row.unknown, [].into());
        assert_eq!(row.tests, 2);
    }

    #[test]
    fn found_505_a_line_without_a_test_and_a_test_without_a_line_are_wrong() {
        let mut results = Results::default();
        results.read("test a::ddp_088_deviation_002_x ... ok");
        results.read("test a::deviation_004_y ... ok");
        let list = list(&[1, 2, 3], &[1, 2, 3]);
        let wrong: Vec<String> = Row::new(&list, &results).wrong(&list).collect();
        assert_eq!(wrong, ["no test: deviation 1, 3", "no such: deviation 4"]);
        assert!(show(&results).is_err());
    }
}
