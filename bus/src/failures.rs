//! Which channels fail: dropped payloads and failed mapping functions, by channel. Clients decide
//! how many channels there are, so only a limited number are counted separately.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// What went wrong with the messages of one channel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelFailures {
    /// The channel; empty for all channels without an entry of their own.
    pub channel: String,
    /// Messages that were not JSON, too large or too deep.
    pub dropped_payloads: u64,
    /// Mapping functions that failed or panicked.
    pub failed_mappings: u64,
}

#[derive(Debug)]
pub(crate) struct Failures {
    /// Filled when channels first fail, never drained, bounded by `limit`; further channels are
    /// counted under the empty name.
    channels: Mutex<HashMap<Box<str>, (u64, u64)>>,
    limit: usize,
}

impl Failures {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            channels: Mutex::default(),
            limit,
        }
    }

    pub(crate) fn dropped_payload(&self, channel: &str) {
        self.count(channel, |(dropped, _)| *dropped += 1);
    }

    pub(crate) fn failed_mapping(&self, channel: &str) {
        self.count(channel, |(_, failed)| *failed += 1);
    }

    /// Sorted by name, the empty one first.
    pub(crate) fn read(&self) -> Vec<ChannelFailures> {
        let channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = channels
            .iter()
            .map(
                |(channel, (dropped_payloads, failed_mappings))| ChannelFailures {
                    channel: channel.to_string(),
                    dropped_payloads: *dropped_payloads,
                    failed_mappings: *failed_mappings,
                },
            )
            .collect();
        drop(channels);
        all.sort_unstable_by(|a, b| a.channel.cmp(&b.channel));
        all
    }

    fn count(&self, channel: &str, count: impl FnOnce(&mut (u64, u64))) {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = channels.contains_key(channel) || channels.len() < self.limit;
        let channel = if is_known { channel } else { "" };
        count(channels.entry(channel.into()).or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_090_only_so_many_channels_are_told_apart() {
        let failures = Failures::new(2);
        for channel in ["a", "b", "c", "d"] {
            failures.dropped_payload(channel);
        }
        failures.failed_mapping("a");
        let read = failures.read();
        let row = |channel: &str, dropped_payloads, failed_mappings| ChannelFailures {
            channel: channel.into(),
            dropped_payloads,
            failed_mappings,
        };
        assert_eq!(read, [row("", 2, 0), row("a", 1, 1), row("b", 1, 0)]);
    }
}
