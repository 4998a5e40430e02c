//! What is wrong with a registry: every problem at once, each with its place.

use std::error::Error;
use std::fmt;
use std::panic;
use std::sync::Arc;

/// Where something is declared: in a file of a registry, or in the source of the program.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Location {
    /// The file, as the program named it.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
}

/// One thing that is wrong with a registry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Problem {
    /// Where it is.
    pub at: Location,
    /// What it is, and what to do.
    pub text: String,
    /// The other place, of something that is declared twice.
    pub other: Option<Location>,
}

/// Everything that is wrong with a registry, in the order of files, lines and columns. Printed, it
/// is a line for each problem, with file, line and column in front, as compilers do it. `Debug` is the
/// same on lines of its own, since that is what a `main` prints which returns an error.
#[derive(Clone, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

/// Something with the place where it is declared.
#[derive(Clone, Debug)]
pub(super) struct Declared<T> {
    pub(super) value: T,
    pub(super) at: Location,
}

impl Location {
    #[cfg(feature = "registry-files")]
    pub(super) fn new(file: &Arc<str>, line: u32, column: u32) -> Self {
        Self {
            file: Arc::clone(file),
            line,
            column,
        }
    }

    /// Where the program calls.
    #[track_caller]
    pub(super) fn caller() -> Self {
        let caller = panic::Location::caller();
        Self {
            file: caller.file().into(),
            line: caller.line(),
            column: caller.column(),
        }
    }
}

impl Problem {
    pub(super) fn new(at: &Location, text: impl Into<String>) -> Self {
        Self {
            at: at.clone(),
            text: text.into(),
            other: None,
        }
    }

    pub(super) fn with(mut self, other: &Location) -> Self {
        self.other = Some(other.clone());
        self
    }
}

impl Problems {
    /// In order; `None` if there is none.
    pub(super) fn new(mut problems: Vec<Problem>) -> Option<Self> {
        problems.sort();
        problems.dedup();
        (!problems.is_empty()).then_some(Self(problems))
    }

    /// The problems, at least one.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Problem> {
        self.0.iter()
    }
}

impl<T> Declared<T> {
    pub(super) fn new(value: T, at: Location) -> Self {
        Self { value, at }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column } = self;
        write!(f, "{file}:{line}:{column}")
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.text)?;
        match &self.other {
            Some(other) => write!(f, " (the other one is at {other})"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{self}")
    }
}

impl Error for Problems {}
