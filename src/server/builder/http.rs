//! What HTTP may take before anybody is a client: heads and bodies of requests, the wait for a shard.
//! Each has a default that suits a server in the open.

use std::time::Duration;

use super::Builder;
use crate::server::front::{self, BodyLimits};
use crate::shard::{self, InboxLimits};

/// What the program says about requests.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) head: front::HeadLimits,
    pub(super) bodies: BodyLimits,
    pub(super) posted_within: Duration,
    pub(super) arrives_within: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            head: front::HeadLimits {
                within: Duration::from_secs(10),
                headers: 64,
                bytes: 16 * 1024,
            },
            bodies: BodyLimits {
                bytes: 1024 * 1024,
                progress: Duration::from_secs(30),
                total: Duration::from_secs(60),
            },
            posted_within: Duration::from_secs(30),
            arrives_within: Duration::from_secs(10),
        }
    }
}

/// The smallest head that hyper can be told to take, in bytes.
const SMALLEST_HEAD: usize = 8 * 1024;

/// The most headers that a request may be allowed: there is room for as many whenever one is read.
const MOST_HEADERS: usize = 1024;

impl Settings {
    /// What is wrong with them, if anything is.
    pub(super) fn mistake(&self) -> Option<String> {
        let front::HeadLimits { headers, bytes, .. } = self.head;
        if bytes < SMALLEST_HEAD {
            return Some(format!(
                "requests must be allowed {SMALLEST_HEAD} bytes of headers; {bytes} are too few"
            ));
        }
        (!(1..=MOST_HEADERS).contains(&headers)).then(|| {
            format!("requests may be allowed 1 to {MOST_HEADERS} headers, and not {headers}")
        })
    }

    pub(super) fn limits(self, inbox: InboxLimits, clients: shard::Limits) -> front::RequestLimits {
        front::RequestLimits {
            arrivals: inbox.arrivals,
            arrives_within: self.arrives_within,
            head: self.head,
            bodies: self.bodies,
            posted: clients.queued_bytes,
            posted_within: self.posted_within,
        }
    }
}

impl Builder {
    /// How long a request may take to send its headers: 10 s by default, and as long as it likes with zero. Then its
    /// connection is closed, as is one that sends no next request for so long.
    #[must_use]
    pub fn header_timeout(mut self, timeout: Duration) -> Self {
        self.http.head.within = timeout;
        self
    }

    /// How many headers a request may have (64 by default, and no more than 1,024), and how many bytes together with its
    /// first line (16 KiB by default, and no less than 8 KiB). What exceeds either is answered with 431, and the connection is closed.
    #[must_use]
    pub fn header_limit(mut self, headers: usize, bytes: usize) -> Self {
        self.http.head.headers = headers;
        self.http.head.bytes = bytes;
        self
    }

    /// Bytes of a request's body for SockJS (1 MiB by default; more is answered with 413), and how long it may make no
    /// progress (30 s; then 408).
    #[must_use]
    pub fn body_limit(mut self, bytes: usize, progress: Duration) -> Self {
        self.http.bodies.bytes = bytes;
        self.http.bodies.progress = progress;
        self
    }

    /// How long the body of a request for SockJS may take altogether, however it comes: 60 s by
    /// default; then 408. Bodies for [routes](Self::route) are read by their filters, which have to
    /// see to it themselves.
    #[must_use]
    pub fn body_timeout(mut self, total: Duration) -> Self {
        self.http.bodies.total = total;
        self
    }

    /// How long messages that a request has brought may wait for room in their session, which is that of
    /// [`queue_limit`](Self::queue_limit): 30 s by default. Then the request is answered with 503.
    #[must_use]
    pub fn post_timeout(mut self, timeout: Duration) -> Self {
        self.http.posted_within = timeout;
        self
    }

    /// Connections that the kernel may hold until the server accepts them: 4,096 by default, and no more than the kernel
    /// itself allows (`net.core.somaxconn` on Linux). To those beyond it the server seems away, and they try again a second
    /// later.
    #[must_use]
    pub fn listen_backlog(mut self, connections: u16) -> Self {
        self.sockets.backlog = connections;
        self
    }

    /// New connections that may be on their way to the shards (1,024 by default), and how long one more may wait for
    /// room there (10 s). Then it is closed; sessions of SockJS over HTTP are refused at once. Either is counted in
    /// [`Stats::refused_connections`](crate::Stats::refused_connections).
    #[must_use]
    pub fn arrival_backlog(mut self, connections: usize, wait: Duration) -> Self {
        self.inbox.arrivals = connections;
        self.http.arrives_within = wait;
        self
    }
}
