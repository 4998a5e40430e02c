//! Which tests passed, read from the output of test programs. The relevant lines are kept in a
//! file, so that the table of facts can be shown again later.

use std::path::PathBuf;
use std::{fs, io};

use crate::workspace;

/// The results of all test programs of a run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Results {
    /// From the totals that the programs print.
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) ignored: usize,
    /// The names of the tests that passed.
    pub(crate) names: Vec<String>,
    /// The tests that were skipped.
    pub(crate) skipped: Vec<Skipped>,
    /// The lines from which all of this was read.
    lines: Vec<String>,
}

/// A test that did not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Skipped {
    pub(crate) name: String,
    /// Empty if no reason is given.
    pub(crate) reason: String,
}

impl Results {
    /// Reads a line of output; most lines are ignored.
    pub(crate) fn read(&mut self, line: &str) {
        if let Some(totals) = line.strip_prefix("test result: ") {
            self.passed += total(totals, "passed");
            self.failed += total(totals, "failed");
            self.ignored += total(totals, "ignored");
        } else if let Some((name, verdict)) = test(line) {
            if verdict == "ok" {
                self.names.push(name.to_owned());
            } else if let Some(reason) = verdict.strip_prefix("ignored") {
                self.skipped.push(Skipped {
                    name: name.to_owned(),
                    reason: bare(reason).to_owned(),
                });
            }
        } else {
            return;
        }
        self.lines.push(line.to_owned());
    }

    /// The results of the last run.
    pub(crate) fn load() -> io::Result<Self> {
        let mut results = Self::default();
        for line in fs::read_to_string(path())?.lines() {
            results.read(line);
        }
        Ok(results)
    }

    pub(crate) fn save(&self) -> io::Result<()> {
        let path = path();
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, self.lines.join("\n"))
    }
}

fn path() -> PathBuf {
    workspace::target().join("xtask/test-results.txt")
}

/// `test NAME ... VERDICT`
fn test(line: &str) -> Option<(&str, &str)> {
    let (name, verdict) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    Some((name.trim_end(), verdict.trim_end()))
}

/// A reason without the text that introduces it: `, REASON` in Rust's own tests, ` (REASON)` in
/// others.
fn bare(reason: &str) -> &str {
    let in_brackets = reason
        .strip_prefix(" (")
        .and_then(|it| it.strip_suffix(')'));
    in_brackets.unwrap_or_else(|| reason.trim_start_matches([',', ' ']))
}

/// The number before a word in `ok. 12 passed; 0 failed; …`.
fn total(totals: &str, word: &str) -> usize {
    let mut words = totals
        .split([' ', ';', '.'])
        .filter(|word| !word.is_empty());
    let mut before = "";
    words
        .find_map(|found| {
            if found == word {
                return Some(before);
            }
            before = found;
            None
        })
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_add_up_over_programs() {
        let mut results = Results::default();
        for line in [
            "   Running unittests src/lib.rs",
            "running 2 tests",
            "test ddp_001_connect ... ok",
            "test socket::meteor::setUser               ... ignored",
            "test socket::meteor::ping                  ... ok",
            "test broken ... FAILED",
            "test later ... ignored, needs a cluster",
            "test mongo ... ignored (needs a database)",
            "test src/lib.rs - session (line 12) ... ok",
            "test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.88s",
            "test result: ok. 40 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 1.00s",
        ] {
            results.read(line);
        }
        assert_eq!(
            (results.passed, results.failed, results.ignored),
            (42, 1, 3)
        );
        let names = [
            "ddp_001_connect",
            "socket::meteor::ping",
            "src/lib.rs - session (line 12)",
        ];
        assert_eq!(results.names, names);
        assert_eq!(results.lines.len(), 9);
    }

    #[test]
    fn found_412_a_skipped_test_has_its_reason() {
        let mut results = Results::default();
        for line in [
            "test socket::meteor::setUser               ... ignored",
            "test later ... ignored, needs a cluster",
            "test mongo    ... ignored (needs a database)",
        ] {
            results.read(line);
        }
        let skipped = results.skipped.iter();
        let skipped: Vec<_> = skipped.map(|it| (&*it.name, &*it.reason)).collect();
        let expected = [
            ("socket::meteor::setUser", ""),
            ("later", "needs a cluster"),
            ("mongo", "needs a database"),
        ];
        assert_eq!(skipped, expected);
    }
}
