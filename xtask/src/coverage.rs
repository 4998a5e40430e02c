//! Which facts have a passing test, and which should have one.
//! What a test holds is read from its name, so the table comes from the tests that ran.

use std::collections::BTreeSet;

use crate::facts::{LISTS, List, of_test};
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

/// Shows the table; an error says what is missing.
pub(crate) fn show(results: &Results) -> Result<(), String> {
    let mut table = String::new();
    let mut missing = Vec::new();
    for list in &LISTS {
        let row = Row::new(list, results);
        table += &format!(
            "{:<6} {}\n       covered:  {}\n       missing:  {}\n       tests:    {}\n",
            list.prefix,
            list.meaning,
            ranges::shown(&row.covered),
            ranges::shown(&row.missing),
            row.tests
        );
        for deviation in list.deviations {
            let numbers = deviation.numbers.iter().copied().collect();
            let numbers = ranges::shown(&numbers);
            table += &format!("       deviates: {numbers}: {}\n", deviation.reason);
        }
        if !row.missing.is_empty() {
            missing.push(format!("{} {}", list.prefix, ranges::shown(&row.missing)));
        }
    }
    print!("{table}");
    if missing.is_empty() {
        return Ok(());
    }
    let missing = missing.join(", ");
    Err(format!("neither tested nor a deviation: {missing}"))
}

/// What is known of one list.
struct Row {
    covered: BTreeSet<u16>,
    /// Required, not covered, and no deviation without a test.
    missing: BTreeSet<u16>,
    tests: usize,
}

impl Row {
    fn new(list: &List, results: &Results) -> Self {
        let mut covered = BTreeSet::new();
        let mut tests = 0;
        for name in &results.names {
            let mut numbers: BTreeSet<u16> = of_test(name)
                .into_iter()
                .filter(|(prefix, _)| *prefix == list.prefix)
                .map(|(_, number)| number)
                .collect();
            tests += usize::from(!numbers.is_empty());
            covered.append(&mut numbers);
        }
        Self {
            missing: &(&list.required() - &covered) - &list.untested(),
            covered,
            tests,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_counts_facts_and_tests() {
        let mut results = Results::default();
        results.read("test a::ddp_001_002_x ... ok");
        results.read("test a::ddp_002_vent_001_y ... ok");
        results.read("test a::ddp_003_z ... FAILED");
        let row = Row::new(&LISTS[0], &results);
        assert_eq!(row.covered, [1, 2].into());
        assert_eq!(row.tests, 2);
        assert!(row.missing.contains(&3) && !row.missing.contains(&1));
        assert!(!row.missing.contains(&79), "there is nothing to test");
        let missing = show(&results).unwrap_err();
        let expected = "neither tested nor a deviation: ddp 3–78, 83–";
        assert!(missing.starts_with(expected), "{missing}");
    }
}
