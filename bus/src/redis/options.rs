//! The options of the bus on Redis: times, prefix, and the queue for messages that could not be
//! published.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use super::queue::PendingEmits;

/// The options that were set on a [`Redis`](super::Redis). Clones share the queue.
#[derive(Debug, Clone)]
pub(crate) struct RedisOptions {
    /// How long connecting may take, including name resolution, TLS and authentication.
    pub(super) connecting: Duration,
    /// How long Redis may take to answer. A fork or a slow script delays it for a while, and giving
    /// up early would not help.
    pub(super) answering: Duration,
    /// How often Redis is pinged, and how long its answer may take.
    pub(super) ping_every: Duration,
    pub(super) ping_patience: Duration,
    /// How long no message may come before the probe is published, and how long the probe may then
    /// take.
    pub(super) probe_every: Duration,
    /// The first and the longest wait between attempts to connect.
    pub(super) shortest_wait: Duration,
    pub(super) longest_wait: Duration,
    /// The sleep between two reads of a stream of single messages; zero reads at once.
    pub(super) rest: Duration,
    /// The time from the refusal of a channel to the next attempt to subscribe to it.
    pub(super) retry_refused: Duration,
    /// The text before every channel's name, on Redis only.
    pub(super) prefix: Arc<str>,
    pub(super) queue: Option<Arc<PendingEmits>>,
}

impl RedisOptions {
    /// A channel's name on Redis.
    pub(super) fn with_prefix<'a>(&self, channel: &'a str) -> Cow<'a, str> {
        if self.prefix.is_empty() {
            Cow::Borrowed(channel)
        } else {
            Cow::Owned(format!("{}{channel}", self.prefix))
        }
    }
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self {
            connecting: Duration::from_millis(1500),
            answering: Duration::from_secs(2),
            ping_every: Duration::from_secs(2),
            ping_patience: Duration::from_secs(1),
            probe_every: Duration::from_secs(5),
            shortest_wait: Duration::from_millis(50),
            longest_wait: Duration::from_secs(1),
            rest: Duration::ZERO,
            retry_refused: Duration::from_secs(10),
            prefix: Arc::from(""),
            queue: None,
        }
    }
}
