//! Proves of a stream of events that nothing was lost in silence: every message gets a number of
//! its channel, and each subscription's checker sees that the numbers come without duplicate,
//! without reordering and without an untold gap.

use std::collections::BTreeMap;

use crate::eventually;
use crate::redis::RedisServer;

/// Gives numbers to messages.
#[derive(Debug, Default)]
pub struct Numbering {
    next: BTreeMap<String, u64>,
}

impl Numbering {
    /// The next message of a channel, as text that carries both: `channel#number`. It needs no
    /// escaping in JSON if the channel's name does not.
    pub fn stamp(&mut self, channel: &str) -> String {
        let next = self.next.entry(channel.to_owned()).or_default();
        let stamp = format!("{channel}#{next}");
        *next += 1;
        stamp
    }

    /// How many messages a channel has had.
    pub fn count(&self, channel: &str) -> u64 {
        self.next.get(channel).copied().unwrap_or(0)
    }
}

/// The stamp that a frame carries as a string of its own, such as `threads::7#5` in
/// `{"event":"threads::7#5"}`.
pub fn stamp_in(frame: &str) -> Option<&str> {
    frame.split('"').find(|text| parse(text).is_some())
}

/// What one subscription has been sent.
#[derive(Debug)]
pub struct Checker {
    /// For messages of failure.
    name: String,
    /// Of each channel that it follows.
    channels: BTreeMap<String, Progress>,
}

#[derive(Debug)]
struct Progress {
    /// The number that comes next if nothing is missing.
    next: u64,
    /// Messages that did not come, and of which it was not told yet.
    untold: Option<(u64, u64)>,
    /// Gaps that it was told of and has not seen. The telling may overtake messages from before the
    /// gap.
    told: u64,
}

impl Checker {
    /// For one subscription, which begins now: messages numbered so far are not expected.
    pub fn new<'a>(
        name: impl Into<String>,
        channels: impl IntoIterator<Item = &'a str>,
        numbering: &Numbering,
    ) -> Self {
        let begin = |channel: &str| Progress {
            next: numbering.count(channel),
            untold: None,
            told: 0,
        };
        Self {
            name: name.into(),
            channels: channels
                .into_iter()
                .map(|channel| (channel.to_owned(), begin(channel)))
                .collect(),
        }
    }

    /// The subscription was sent a message.
    ///
    /// # Panics
    /// When it is a duplicate, comes too late, is of another's channel, or follows a gap after one
    /// that was not told.
    #[track_caller]
    pub fn received(&mut self, stamp: &str) {
        let name = &self.name;
        let (channel, number) =
            parse(stamp).unwrap_or_else(|| panic!("{name}: not a stamp: {stamp}"));
        let progress = self
            .channels
            .get_mut(channel)
            .unwrap_or_else(|| panic!("{name}: does not follow {channel}"));
        let expected = progress.next;
        assert!(
            number >= expected,
            "{name}: {stamp} came again or too late: {expected} was next"
        );
        if number > expected {
            match progress.told.checked_sub(1) {
                Some(told) => progress.told = told,
                None => {
                    assert_eq!(
                        progress.untold, None,
                        "{name}: a gap of {channel} was not told"
                    );
                    progress.untold = Some((expected, number));
                }
            }
        }
        progress.next = number + 1;
    }

    /// The subscription was told that messages of all its channels may be missing: those that are
    /// missing already, or else those of the next gap.
    pub fn gap_told(&mut self) {
        for progress in self.channels.values_mut() {
            if progress.untold.take().is_none() {
                progress.told += 1;
            }
        }
    }

    /// Whether every message has come, or is excused.
    pub fn is_complete(&self, numbering: &Numbering) -> bool {
        self.channels.iter().all(|(channel, progress)| {
            progress.untold.is_none()
                && (progress.told > 0 || progress.next == numbering.count(channel))
        })
    }

    /// The end: everything that was numbered has come, or was told to be missing.
    ///
    /// # Panics
    /// When that is not so.
    #[track_caller]
    pub fn finish(self, numbering: &Numbering) {
        for (channel, progress) in &self.channels {
            assert!(
                self.is_complete(numbering),
                "{}: of {} messages of {channel}: {progress:?}",
                self.name,
                numbering.count(channel)
            );
        }
    }
}

/// Waits until nothing is held any more: every gauge is zero, and nobody is subscribed to these
/// channels of Redis.
///
/// # Panics
/// When that does not come to be; the message names what is left.
pub fn all_released<const N: usize>(
    mut gauges: impl FnMut() -> [(&'static str, u64); N],
    redis: Option<(&RedisServer, &[&str])>,
) {
    for at in 0..N {
        let (gauge, value) = gauges()[at];
        let what = format!("{gauge} is zero; it was {value}");
        eventually(&what, || gauges()[at].1 == 0);
    }
    if let Some((redis, channels)) = redis {
        for channel in channels {
            redis.await_numsub(channel, 0);
        }
    }
}

fn parse(stamp: &str) -> Option<(&str, u64)> {
    let (channel, number) = stamp.rsplit_once('#')?;
    Some((channel, number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(events: &[&str]) -> (Checker, Numbering) {
        let mut numbering = Numbering::default();
        let mut checker = Checker::new("test", ["c"], &numbering);
        for _ in 0..5 {
            numbering.stamp("c");
        }
        for event in events {
            match *event {
                "gap" => checker.gap_told(),
                stamp => checker.received(stamp),
            }
        }
        (checker, numbering)
    }

    fn passes(events: &[&str]) -> bool {
        let run = || {
            let (checker, numbering) = after(events);
            checker.finish(&numbering);
        };
        std::panic::catch_unwind(run).is_ok()
    }

    #[test]
    fn all_in_order_passes_and_anything_else_does_not() {
        assert!(passes(&["c#0", "c#1", "c#2", "c#3", "c#4"]));
        assert!(
            !passes(&["c#0", "c#1", "c#2", "c#3"]),
            "the last is missing"
        );
        assert!(
            !passes(&["c#0", "c#1", "c#1", "c#2", "c#3", "c#4"]),
            "twice"
        );
        assert!(!passes(&["c#0", "c#2", "c#1", "c#3", "c#4"]), "reordered");
        assert!(!passes(&["c#0", "c#2", "c#3", "c#4"]), "an untold gap");
        assert!(!passes(&["d#0"]), "of another channel");
        assert!(!passes(&["c"]), "no number");
    }

    #[test]
    fn a_gap_that_is_told_before_or_after_is_excused_once() {
        assert!(passes(&["c#0", "gap", "c#3", "c#4"]));
        assert!(passes(&["c#0", "c#3", "gap", "c#4"]));
        assert!(passes(&["c#0", "gap", "c#1", "c#2", "c#3", "c#4"]));
        assert!(passes(&["c#0", "c#1", "gap"]), "all the rest is in it");
        assert!(!passes(&["c#0", "gap", "c#2", "c#4"]), "the second gap");
        assert!(!passes(&["c#0", "c#2", "gap", "c#4"]), "the second gap");
    }

    #[test]
    fn a_stamp_is_found_in_a_frame() {
        let stamp = Numbering::default().stamp("a::b");
        let frame = format!(r##"{{"msg":"changed","id":"#x","fields":{{"event":"{stamp}"}}}}"##);
        assert_eq!(stamp_in(&frame), Some("a::b#0"));
        assert_eq!(stamp_in(r#"{"msg":"ping"}"#), None);
    }
}
