//! How the bus behaves towards Redis: its times, its prefix, what it does with what could not be
//! published.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use super::queue::PendingEmits;

/// What [`Redis`](super::Redis) was told. Clones share the queue.
#[derive(Debug, Clone)]
pub(crate) struct RedisOptions {
    /// How long connecting may take, with name resolution, TLS and authentication.
    pub(super) connecting: Duration,
    /// How long Redis may take to answer. A fork or a slow script stops it for a while, and then
    /// giving up helps nobody.
    pub(super) answering: Duration,
    /// How often a sign of life is asked for, and how long it may take.
    pub(super) ping_every: Duration,
    pub(super) ping_patience: Duration,
    /// How long nothing is heard before a message to ourselves is sent, and again before that is
    /// missed.
    pub(super) probe_every: Duration,
    /// Between attempts to connect: the first wait, and the longest.
    pub(super) shortest_wait: Duration,
    pub(super) longest_wait: Duration,
    /// Between two reads of a stream of single messages; zero reads at once.
    pub(super) rest: Duration,
    /// From the refusal of a channel to the next attempt to subscribe to it.
    pub(super) retry_refused: Duration,
    /// Before every channel's name, on Redis only.
    pub(super) prefix: Arc<str>,
    pub(super) queue: Option<Arc<PendingEmits>>,
}

impl RedisOptions {
    /// A channel's name as Redis knows it.
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
