//! The numbered facts that tests hold, as the pages of `docs/facts` and `docs/deviations.md` list
//! them. The name of a test says which: `ddp_053_054_ready_follows_the_documents` holds two facts
//! of `ddp`.

mod page;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::workspace::root;
use page::Page;

/// A numbered list of facts.
pub(crate) struct List {
    /// The prefix in test names.
    pub(crate) prefix: &'static str,
    /// The page's title.
    pub(crate) meaning: String,
    /// The meaning of each number. A test with another number has a wrong name.
    pub(crate) facts: BTreeMap<u16, String>,
    /// Facts for which a page says why they need no test.
    pub(crate) exempt: BTreeSet<u16>,
}

/// The prefixes in test names, and their pages.
const PAGES: [(&str, &str); 8] = [
    ("ddp", "docs/facts/ddp.md"),
    ("vent", "docs/facts/vent.md"),
    ("row", "docs/facts/rows.md"),
    ("topic", "docs/facts/topics.md"),
    ("seed", "docs/facts/seeds.md"),
    ("gateway", "docs/facts/gateway.md"),
    ("found", "docs/facts/found.md"),
    ("deviation", "docs/deviations.md"),
];

/// All lists. An error says what is wrong with a page.
pub(crate) fn lists() -> Result<Vec<List>, String> {
    let mut lists = Vec::new();
    let mut exempt = BTreeSet::new();
    for (prefix, path) in PAGES {
        let wrong = |reason: String| format!("{path}: {reason}");
        let text = fs::read_to_string(root().join(path)).map_err(|e| wrong(e.to_string()))?;
        let page = Page::parse(&text).map_err(wrong)?;
        exempt.extend(page.exempt);
        lists.push(List {
            prefix,
            meaning: page.title,
            facts: page.facts,
            exempt: BTreeSet::new(),
        });
    }
    // A page may exempt another page's facts.
    for (prefix, number) in exempt {
        let list = lists.iter_mut().find(|list| list.prefix == prefix);
        let list = list.filter(|list| list.facts.contains_key(&number));
        let list = list.ok_or_else(|| format!("no such fact needs a test: {prefix} {number}"))?;
        list.exempt.insert(number);
    }
    Ok(lists)
}

/// The facts in a test's name, as prefix and number: each prefix is followed by numbers of three
/// digits.
pub(crate) fn of_test(name: &str) -> BTreeSet<(&'static str, u16)> {
    let mut facts = BTreeSet::new();
    let mut current = None;
    for word in name.split(|letter: char| !letter.is_ascii_alphanumeric()) {
        let prefix = PAGES.into_iter().find(|(prefix, _)| *prefix == word);
        current = match (prefix, current, number(word)) {
            (Some((prefix, _)), _, _) => Some(prefix),
            (None, Some(prefix), Some(number)) => {
                facts.insert((prefix, number));
                current
            }
            _ => None,
        };
    }
    facts
}

/// A number as in test names and pages: three digits.
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
        assert_eq!(
            shown("row_013_found_114_x"),
            ["found 114", "row 13"],
            "found is a list of its own"
        );
    }

    #[test]
    fn other_numbers_are_not_facts() {
        assert!(shown("ddp_53_x").is_empty());
        assert!(shown("ddp_0053").is_empty());
        assert!(shown("http_404_and_100_times").is_empty());
        assert_eq!(shown("ddp_007_closes_with_400"), ["ddp 7"]);
        assert!(shown("protocol/src/vent/mod.rs - vent (line 100)").is_empty());
    }

    #[test]
    fn found_410_the_pages_list_every_fact() {
        let counts: Vec<_> = lists()
            .unwrap()
            .into_iter()
            .map(|list| (list.prefix, list.facts.len()))
            .collect();
        let least = [
            ("ddp", 247),
            ("vent", 80),
            ("row", 110),
            ("topic", 112),
            ("seed", 92),
            ("gateway", 84),
            ("found", 63),
            ("deviation", 39),
        ];
        assert_eq!(counts.len(), least.len());
        for ((prefix, count), (expected, least)) in counts.into_iter().zip(least) {
            assert_eq!(prefix, expected);
            assert!(count >= least, "{prefix}: {count} lines");
        }
    }

    #[test]
    fn the_page_about_vent_decides_each_fact_once() {
        let page = fs::read_to_string(root().join("docs/vent.md")).unwrap();
        let rows = page.lines().filter_map(|line| line.strip_prefix("| "));
        let first = rows.filter_map(|row| row.split(" |").next());
        let numbers: Vec<u16> = first
            .flat_map(|numbers| numbers.split(", "))
            .filter_map(|number| number.parse().ok())
            .collect();
        let decided: BTreeSet<u16> = numbers.iter().copied().collect();
        assert_eq!(numbers.len(), decided.len());
        assert!(decided.iter().all(|number| (1..=80).contains(number)));
        assert!(decided.len() >= 20);
    }
}
