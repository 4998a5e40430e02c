//! The versions of DDP.

/// The versions, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    One,
    Pre2,
    Pre1,
}

impl Version {
    pub(super) const BEST_FIRST: [Self; 3] = [Self::One, Self::Pre2, Self::Pre1];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::One => "1",
            Self::Pre2 => "pre2",
            Self::Pre1 => "pre1",
        }
    }

    /// `pre1` has no pings.
    pub(super) fn has_heartbeat(self) -> bool {
        self != Self::Pre1
    }
}
