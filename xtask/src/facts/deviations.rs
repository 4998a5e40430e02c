//! Where Updraft does on purpose what Meteor does not, as `docs/deviations.md` says it: the one list of them, which people
//! read and the coverage of tests is measured against. A line with a number is held by tests whose names carry it; a line
//! that names checks says which of them have no counterpart, and so no test.

use std::collections::BTreeSet;
use std::fs;

use crate::workspace::root;

/// What the page says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Deviations {
    /// The lines to be tested.
    pub(super) numbers: BTreeSet<u16>,
    /// Checks of `ddp` that cannot be made.
    pub(super) without_counterpart: BTreeSet<u16>,
}

impl Deviations {
    /// Those of this project.
    pub(super) fn load() -> Result<Self, String> {
        let page = root().join("docs/deviations.md");
        let text = fs::read_to_string(&page).map_err(|e| format!("{}: {e}", page.display()))?;
        Self::parse(&text)
    }

    /// Reads the first column of all tables. The numbers of lines have to ascend one by one, so that none is given twice.
    fn parse(page: &str) -> Result<Self, String> {
        let mut lines = 0;
        let mut without_counterpart = BTreeSet::new();
        for line in page.lines().filter_map(|line| line.strip_prefix("| ")) {
            let first = line.split(" |").next().unwrap_or_default();
            if let Some(checks) = first.strip_prefix("ddp ") {
                for check in checks.split(", ") {
                    let check = check.parse().map_err(|_| format!("no check: {line}"))?;
                    without_counterpart.insert(check);
                }
            } else if first.starts_with(|letter: char| letter.is_ascii_digit()) {
                lines += 1;
                if first != format!("{lines:03}") {
                    return Err(format!("not the line with the number {lines:03}: {line}"));
                }
            }
        }
        Ok(Self {
            numbers: (1..=lines).collect(),
            without_counterpart,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_by_its_first_column() {
        let page = "# 001\n| number | Meteor |\n| --- | --- |\n| 001 | a |\n\n| 002 | b |\n| ddp 79, 82 | c |\n";
        let expected = Deviations {
            numbers: [1, 2].into(),
            without_counterpart: [79, 82].into(),
        };
        assert_eq!(Deviations::parse(page), Ok(expected));
        for page in ["| 002 | a |", "| 001 | a |\n| 001 | b |", "| ddp x | a |"] {
            assert!(Deviations::parse(page).is_err(), "{page}");
        }
    }

    #[test]
    fn the_page_about_vent_decides_each_check_once() {
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
