//! A page that lists facts in tables, for readers and for the check of the tests. A row that begins
//! with a number is a fact; one that begins with a prefix and numbers (`row 3, 9–11`) says why
//! these need no test.

use std::collections::{BTreeMap, BTreeSet};

use super::number;
use crate::ranges;

/// The contents of a page.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) title: String,
    /// By number.
    pub(super) facts: BTreeMap<u16, String>,
    /// Facts of any page that need no test, as prefix and number.
    pub(super) exempt: BTreeSet<(String, u16)>,
}

impl Page {
    /// Reads all tables. Numbers have to ascend, so that none is used twice.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut page = Self::default();
        for line in text.lines() {
            if let Some(title) = line.strip_prefix("# ") {
                page.title = title.into();
            } else if let Some(row) = line.strip_prefix("| ") {
                let mut cells = row.split(" |").map(str::trim);
                let [first, second] = [(); 2].map(|()| cells.next().unwrap_or_default());
                page.row(first, second)
                    .ok_or_else(|| format!("out of order, or no numbers: {line}"))?;
            }
        }
        Ok(page)
    }

    fn row(&mut self, first: &str, second: &str) -> Option<()> {
        if let Some(number) = number(first) {
            let last = self.facts.last_key_value().map(|(last, _)| *last);
            self.facts.insert(number, second.into());
            return (last < Some(number)).then_some(());
        }
        if let Some((prefix, numbers)) = first.split_once(' ') {
            let numbers = ranges::parse(numbers)?.into_iter();
            let exempt = numbers.map(|number| (prefix.to_owned(), number));
            self.exempt.extend(exempt);
            return Some(());
        }
        // The header of a table and the line below it have no digits.
        let is_head = !first.contains(|letter: char| letter.is_ascii_digit());
        is_head.then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_by_its_first_column() {
        let text = "\
# Facts

## 001

| number | Meteor | Updraft |
| --- | --- | --- |
| 001 | a | b |

| 003 | `c` |
| ddp 79, 82–83 | d | e |
";
        let expected = Page {
            title: "Facts".into(),
            facts: [(1, "a".into()), (3, "`c`".into())].into(),
            exempt: [79, 82, 83].map(|number| ("ddp".into(), number)).into(),
        };
        assert_eq!(Page::parse(text), Ok(expected));
        for text in [
            "| 002 | a |\n| 001 | b |",
            "| 001 | a |\n| 001 | b |",
            "| 1 | a |",
            "| ddp x | a |",
        ] {
            assert!(Page::parse(text).is_err(), "{text}");
        }
    }
}
