//! Which facts have a passing test, and which lack one. The facts of a test are read from its name,
//! so the table comes from the tests that ran.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::facts::{self, List};
use crate::results::Results;
use crate::{ranges, workspace};

/// Shows the table of the last run. Returns whether nothing is missing.
pub(crate) fn run() -> bool {
    match Results::load() {
        Ok(results) => show(&results)
            .inspect_err(|reason| eprintln!("{reason}"))
            .is_ok(),
        Err(_) => {
            eprintln!("no tests have run yet: `cargo xtask test` runs them");
            false
        }
    }
}

/// Shows the table, and writes a longer one that names the tests of each fact. An error names the
/// missing facts, and the numbers in test names that no page lists.
pub(crate) fn show(results: &Results) -> Result<(), String> {
    let lists = facts::lists()?;
    let rows: Vec<Row<'_>> = lists.iter().map(|list| Row::new(list, results)).collect();
    let mut page = String::from("# Tests of the facts\n");
    for row in &rows {
        println!("{}", row.summary());
        page += &row.section();
    }
    let path = workspace::target().join("xtask/coverage.md");
    let written = fs::create_dir_all(workspace::target().join("xtask"));
    written
        .and_then(|()| fs::write(&path, page))
        .map_err(|error| format!("{}: {error}", path.display()))?;
    println!("the tests of each fact: {}", path.display());
    let wrong: Vec<String> = rows.iter().flat_map(Row::wrong).collect();
    if wrong.is_empty() {
        return Ok(());
    }
    Err(wrong.join(", "))
}

/// The state of one list.
struct Row<'a> {
    list: &'a List,
    /// The tests of each fact that has one, by number; including numbers that no page lists.
    tests: BTreeMap<u16, Vec<&'a str>>,
    /// How many tests hold at least one of the facts.
    count: usize,
}

impl<'a> Row<'a> {
    fn new(list: &'a List, results: &'a Results) -> Self {
        let mut tests: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
        let mut count = 0;
        for name in &results.names {
            let held = facts::of_test(name);
            let held = held.iter().filter(|(prefix, _)| *prefix == list.prefix);
            let numbers: Vec<u16> = held.map(|(_, number)| *number).collect();
            count += usize::from(!numbers.is_empty());
            for number in numbers {
                tests.entry(number).or_default().push(name);
            }
        }
        Self { list, tests, count }
    }

    fn summary(&self) -> String {
        let List {
            prefix, meaning, ..
        } = self.list;
        let rows = [
            ("covered", ranges::shown(&self.covered())),
            ("missing", ranges::shown(&self.missing())),
            ("exempt", ranges::shown(&self.list.exempt)),
            ("tests", self.count.to_string()),
        ];
        let rows =
            rows.map(|(name, value)| format!("\n          {:<9} {value}", format!("{name}:")));
        format!("{prefix:<9} {meaning}{}", rows.concat())
    }

    /// A table of the facts with their tests.
    fn section(&self) -> String {
        let mut section = format!("\n## {}\n\n", self.list.meaning);
        section += "| number | fact | tests |\n| --- | --- | --- |\n";
        for (number, fact) in &self.list.facts {
            let tests = self.tests.get(number).map_or_else(
                || "–".to_owned(),
                |tests| format!("`{}`", tests.join("`, `")),
            );
            let prefix = self.list.prefix;
            section += &format!("| {prefix} {number:03} | {fact} | {tests} |\n");
        }
        section
    }

    fn wrong(&self) -> impl Iterator<Item = String> {
        let prefix = self.list.prefix;
        let unknown = &self.covered() - &self.numbers();
        [("no test", self.missing()), ("no such", unknown)]
            .into_iter()
            .filter(|(_, numbers)| !numbers.is_empty())
            .map(move |(what, numbers)| format!("{what}: {prefix} {}", ranges::shown(&numbers)))
    }

    fn numbers(&self) -> BTreeSet<u16> {
        self.list.facts.keys().copied().collect()
    }

    fn covered(&self) -> BTreeSet<u16> {
        self.tests.keys().copied().collect()
    }

    /// Neither covered nor exempt.
    fn missing(&self) -> BTreeSet<u16> {
        &(&self.numbers() - &self.covered()) - &self.list.exempt
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(numbers: &[u16], exempt: &[u16]) -> List {
        List {
            prefix: "deviation",
            meaning: "Deviations".into(),
            facts: numbers
                .iter()
                .map(|number| (*number, format!("fact {number}")))
                .collect(),
            exempt: exempt.iter().copied().collect(),
        }
    }

    #[test]
    fn a_row_counts_facts_and_tests() {
        let mut results = Results::default();
        results.read("test a::deviation_001_002_x ... ok");
        results.read("test a::deviation_002_vent_001_y ... ok");
        results.read("test a::deviation_003_z ... FAILED");
        let list = list(&[1, 2, 3, 4], &[1]);
        let row = Row::new(&list, &results);
        assert_eq!(row.covered(), [1, 2].into());
        assert_eq!(row.missing(), [3, 4].into());
        assert_eq!(row.count, 2);
        let section = row.section();
        let line =
            "| deviation 002 | fact 2 | `a::deviation_001_002_x`, `a::deviation_002_vent_001_y` |";
        assert!(section.contains(line), "{section}");
        assert!(
            section.contains("| deviation 003 | fact 3 | – |"),
            "{section}"
        );
    }

    #[test]
    fn found_505_a_line_without_a_test_and_a_test_without_a_line_are_wrong() {
        let mut results = Results::default();
        results.read("test a::ddp_088_deviation_002_x ... ok");
        results.read("test a::deviation_004_y ... ok");
        let list = list(&[1, 2, 3], &[]);
        let wrong: Vec<String> = Row::new(&list, &results).wrong().collect();
        assert_eq!(wrong, ["no test: deviation 1, 3", "no such: deviation 4"]);
    }
}
