//! How often a client may send frames that cost much and carry little: control frames and small
//! fragments. They are counted in fixed spans of time, which takes little memory and no timer.

use std::time::Duration;

/// A number of frames within a time.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct FrameRate {
    /// The number of frames.
    pub frames: u32,
    /// The span of time, which begins with the first frame.
    pub within: Duration,
}

impl FrameRate {
    /// For a peer that may send what it likes.
    pub(crate) const UNLIMITED: Self = Self {
        frames: u32::MAX,
        within: Duration::ZERO,
    };
}

/// Counts the frames of one client.
#[derive(Debug, Default)]
pub(super) struct FrameCount {
    /// The start of the current span in milliseconds, to keep this small: each client has one.
    since: u64,
    frames: u32,
}

impl FrameCount {
    /// Counts a frame. Returns whether it exceeds the rate.
    pub(super) fn exceeds(&mut self, rate: FrameRate, now: Duration) -> bool {
        if now.saturating_sub(Duration::from_millis(self.since)) >= rate.within {
            *self = Self {
                since: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
                frames: 0,
            };
        }
        self.frames = self.frames.saturating_add(1);
        self.frames > rate.frames
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_span_begins_with_nothing() {
        let rate = FrameRate {
            frames: 2,
            within: Duration::from_secs(10),
        };
        let mut count = FrameCount::default();
        let at = Duration::from_secs;
        assert!(!count.exceeds(rate, at(1)));
        assert!(!count.exceeds(rate, at(2)));
        assert!(count.exceeds(rate, at(9)));
        assert!(!count.exceeds(rate, at(10)));
        assert!(!count.exceeds(rate, at(19)));
        assert!(count.exceeds(rate, at(19)));
    }
}
