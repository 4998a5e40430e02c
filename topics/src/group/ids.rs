//! What processes, members and records of a group are called.

use std::fmt;

use crate::Offset;
use crate::random::random;

/// Milliseconds on this process' monotonic clock, since its group was opened.
pub(crate) type Millis = u64;

/// A process that takes part in groups, as a random number: one that starts again is another one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ProcessId(u128);

/// A member of a group in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct MemberId(pub(crate) u64);

/// A record of one of the topics that a group reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RecordId {
    /// Which of them.
    pub(crate) input: usize,
    pub(crate) offset: Offset,
}

/// One time that a record was handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct DeliveryId {
    /// The number of its slot.
    pub(crate) slot: usize,
    pub(crate) record: RecordId,
    /// The slot's generation then. No two deliveries of a record have the same.
    pub(crate) generation: u64,
}

impl ProcessId {
    pub(crate) fn draw() -> Self {
        Self(u128::from(random()) << 64 | u128::from(random()))
    }

    pub(crate) const fn to_u128(self) -> u128 {
        self.0
    }

    /// `None` for 0, which stands for nobody.
    pub(crate) fn from_u128(number: u128) -> Option<Self> {
        (number != 0).then_some(Self(number))
    }

    /// Reads what `Display` writes.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let number = u128::from_str_radix(text, 16).ok()?;
        Self::from_u128(number).filter(|id| id.to_string() == text)
    }
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
