//! What HTTP may take before anybody is a client: heads and bodies of requests, the wait for a shard.
//! Each has a default that suits a server in the open.

use std::time::Duration;

use super::Builder;

impl Builder {
    /// How long a request may take to send its headers: 10 s by default, and as long as it likes with zero. Then its
    /// connection is closed, as is one that sends no next request for so long.
    #[must_use]
    pub fn header_timeout(mut self, timeout: Duration) -> Self {
        self.settings.http.header_timeout = timeout;
        self
    }

    /// How many headers a request may have (64 by default, and no more than 1,024), and how many bytes together with its
    /// first line (16 KiB by default, and no less than 8 KiB). What exceeds either is answered with 431, and the connection is closed.
    #[must_use]
    pub fn header_limit(mut self, headers: usize, bytes: usize) -> Self {
        self.settings.http.headers = headers;
        self.settings.http.header_bytes = bytes;
        self
    }

    /// Bytes of a request's body for SockJS (1 MiB by default; more is answered with 413), and how long it may make no
    /// progress (30 s; then 408).
    #[must_use]
    pub fn body_limit(mut self, bytes: usize, progress: Duration) -> Self {
        self.settings.http.body_bytes = bytes;
        self.settings.http.body_progress_timeout = progress;
        self
    }

    /// How long the body of a request for SockJS may take altogether, however it comes: 60 s by
    /// default; then 408. Bodies for [routes](Self::route) are read by their filters, which have to
    /// see to it themselves.
    #[must_use]
    pub fn body_timeout(mut self, total: Duration) -> Self {
        self.settings.http.body_timeout = total;
        self
    }

    /// How long messages that a request has brought may wait for room in their session, which is that of
    /// [`queue_limit`](Self::queue_limit): 30 s by default. Then the request is answered with 503.
    #[must_use]
    pub fn post_timeout(mut self, timeout: Duration) -> Self {
        self.settings.http.post_timeout = timeout;
        self
    }

    /// Connections that the kernel may hold until the server accepts them: 4,096 by default, and no more than the kernel
    /// itself allows (`net.core.somaxconn` on Linux). To those beyond it the server seems away, and they try again a second
    /// later.
    #[must_use]
    pub fn listen_backlog(mut self, connections: u16) -> Self {
        self.settings.listener.backlog = connections;
        self
    }

    /// New connections that may be on their way to the shards (1,024 by default), and how long one more may wait for
    /// room there (10 s). Then it is closed; sessions of SockJS over HTTP are refused at once. Either is counted in
    /// [`Stats::refused_connections`](crate::Stats::refused_connections).
    #[must_use]
    pub fn arrival_backlog(mut self, connections: usize, wait: Duration) -> Self {
        self.settings.inbox.arrivals = connections;
        self.settings.inbox.arrival_timeout = wait;
        self
    }
}
