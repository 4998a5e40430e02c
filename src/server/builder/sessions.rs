//! The limits of sessions and handlers: what a client may say, and how long a handler may keep others waiting.
//! Each has a default that no honest client notices.

use std::time::Duration;

use super::Builder;

impl Builder {
    /// Greets every client with `{"server_id":"0"}` before it has said anything, as old Meteor servers did; off by
    /// default. There are clients that wait for it, and clients that take it for an error.
    #[must_use]
    pub fn greeting(mut self, greets: bool) -> Self {
        self.session.greeting = greets;
        self
    }

    /// How deep a client's JSON may be nested (64 by default, 512 at most), and how many entries an array or an object
    /// in it may have (10,000). What exceeds either is a `Bad request`.
    #[must_use]
    pub fn json_limits(mut self, depth: usize, entries: usize) -> Self {
        self.session.limits.depth = depth;
        self.session.limits.keys = entries;
        self
    }

    /// Bytes of an id or a name that a client sends (256 by default): of subscriptions, publications, calls, methods
    /// and pings. A longer one is refused as malformed.
    #[must_use]
    pub fn name_limit(mut self, bytes: usize) -> Self {
        self.session.bounds.name = bytes;
        self
    }

    /// Bytes of a refused message that its `error` quotes as `offendingMessage` (1 KiB by default). Of a longer one the
    /// client hears the reason only.
    #[must_use]
    pub fn quote_limit(mut self, bytes: usize) -> Self {
        self.session.bounds.quote = bytes;
        self
    }

    /// So many messages without a readable `msg` within this time close their connection with 1008; by default 100
    /// within 10 s.
    #[must_use]
    pub fn unreadable_limit(mut self, messages: usize, window: Duration) -> Self {
        self.session.max_unreadable = messages;
        self.session.unreadable_window = window;
        self
    }

    /// Subscriptions that one session may have (256 by default), universal ones not counted. One more gets `nosub` with
    /// the error `too-many-subscriptions`.
    #[must_use]
    pub fn subscription_limit(mut self, subscriptions: usize) -> Self {
        self.session.max_subscriptions = subscriptions;
        self
    }

    /// How long a publication's handler may take (60 s by default), unblocked or not. Then it is dropped, and its
    /// subscription ends with `nosub` 503. Zero is for ever. What a handler ties to its subscription with
    /// [`Subscription::run`](crate::Subscription::run) is not meant.
    #[must_use]
    pub fn publication_timeout(mut self, timeout: Duration) -> Self {
        self.session.publication_timeout = timeout;
        self
    }

    /// How long one subscription that waits for the bus may keep its client's next messages waiting (250 ms by default).
    /// After that it waits beside them, as if its handler had called `unblock`.
    #[must_use]
    pub fn bus_patience(mut self, patience: Duration) -> Self {
        self.patience.bus = patience;
        self
    }

    /// From when on a running method counts among [`Stats::slow_methods`](crate::Stats::slow_methods): 30 s by default.
    /// Nothing ends it.
    #[must_use]
    pub fn slow_method(mut self, after: Duration) -> Self {
        self.patience.method = after;
        self
    }
}
