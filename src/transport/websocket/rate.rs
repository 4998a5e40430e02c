//! How often a client may send what costs much and carries little: control frames and small fragments.
//! Frames are counted in fixed spans of time, which takes no memory and no timer.

use std::time::Duration;

/// So many frames within so long.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct FrameRate {
    /// How many.
    pub frames: u32,
    /// Within which span of time, which begins with the first of them.
    pub within: Duration,
}

/// The frames of one client.
#[derive(Debug, Default)]
pub(super) struct Count {
    /// When the span began in which `frames` were counted, in milliseconds: each client has one of these.
    since: u64,
    frames: u32,
}

impl Count {
    /// Counts a frame; whether it is one too many.
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
        let mut count = Count::default();
        let at = Duration::from_secs;
        assert!(!count.exceeds(rate, at(1)));
        assert!(!count.exceeds(rate, at(2)));
        assert!(count.exceeds(rate, at(9)));
        assert!(!count.exceeds(rate, at(10)));
        assert!(!count.exceeds(rate, at(19)));
        assert!(count.exceeds(rate, at(19)));
    }
}
