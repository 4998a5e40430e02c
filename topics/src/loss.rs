//! What a reader that comes back with a place is told if it cannot simply go on.

use std::fmt;

use crate::{Bounds, Offset, Position, TopicName};

/// Why a reader does not simply go on from its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a program must know both")]
pub enum Lost {
    /// Records are missing.
    Gap(Gap),
    /// What was read before may be wrong.
    Reset(Reset),
}

/// Records that a reader has missed: they were trimmed, or were ends of ids that were compacted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gap {
    /// The offset behind which was to be read.
    pub requested: Offset,
    /// The first offset that can be read.
    pub first: Offset,
    /// How many offsets in between cannot be read. If the ends of ids are missing and nothing was
    /// trimmed, that is how many offsets these may have had.
    pub lost: u64,
}

/// A place that is not one of this topic any more. What was read before it may be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reset {
    /// Why.
    pub reason: ResetReason,
    /// The first offset that can be read.
    pub first: Offset,
    /// The position of the last record.
    pub last: Position,
}

/// Why a place is not one of a topic any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResetReason {
    /// `unknown-epoch`: the topic was created again, or its store has lost it.
    UnknownEpoch,
    /// `ahead`: the topic has no such offset yet, so the record was lost.
    Ahead,
    /// `diverged`: the offset has another record now, so the first was lost.
    Diverged,
}

impl Lost {
    /// The code: `gap` or `reset`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Gap(_) => "gap",
            Self::Reset(_) => "reset",
        }
    }
}

impl Reset {
    pub(crate) fn new(reason: ResetReason, topic: &TopicName, bounds: &Bounds) -> Self {
        Self {
            reason,
            first: bounds.first,
            last: Position::at(topic, bounds.end()),
        }
    }
}

impl ResetReason {
    /// The reason as a word for programs and clients. It does not change.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownEpoch => "unknown-epoch",
            Self::Ahead => "ahead",
            Self::Diverged => "diverged",
        }
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            requested,
            first,
            lost,
        } = self;
        write!(
            f,
            "{lost} records behind offset {requested} are gone; read on from offset {first}, or \
             from a snapshot"
        )
    }
}

impl fmt::Display for Reset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = match self.reason {
            ResetReason::UnknownEpoch => "the topic was created again or was lost",
            ResetReason::Ahead => "the store has lost the record of the position",
            ResetReason::Diverged => "the store has lost the record and given its offset again",
        };
        write!(
            f,
            "the position is not one of this topic any more: {reason}; forget what was read, and \
             read from the earliest record or a snapshot"
        )
    }
}
