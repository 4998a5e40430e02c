//! The limits of connections: what a client may send, how long it may take, and what may wait for it.
//! Each has a default that suits a server in the open.

use std::time::Duration;

use super::Builder;
use crate::transport::websocket::Rate;

impl Builder {
    /// How long a client may take to send `connect`: 15 s by default.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.session.connect_timeout = timeout;
        self
    }

    /// Bytes of a client's message, all its fragments together: before `connect` (64 KiB by default) and after it
    /// (4 MiB). A frame that would exceed it closes the connection with 1009 as soon as its header is here.
    #[must_use]
    pub fn message_limit(mut self, before_connect: usize, after: usize) -> Self {
        self.limits.first_message = before_connect;
        self.limits.message = after;
        self
    }

    /// How many small frames a client may send within a span of time: control frames (pings above all), and fragments
    /// of less than 1 KiB. 1,000 within 10 s by default; one more closes the connection with 1008.
    #[must_use]
    pub fn small_frame_limit(mut self, frames: u32, within: Duration) -> Self {
        self.limits.small_frames = Rate { frames, within };
        self
    }

    /// How many messages of one client may wait behind a handler (100 by default), and how many bytes (4 MiB). A client
    /// with more is not read from until a handler has ended; so the message that exceeds the limit is still taken in,
    /// with what came in the same read.
    #[must_use]
    pub fn queue_limit(mut self, messages: usize, bytes: usize) -> Self {
        self.limits.queued_messages = messages;
        self.limits.queued_bytes = bytes;
        self
    }

    /// Bytes of output that may wait for one client (1 MiB by default), and bytes of what its handlers have sent and its
    /// session has not looked at yet. One that does not read is closed with 1013: the frame under way is finished, what
    /// waits behind it is dropped.
    #[must_use]
    pub fn output_limit(mut self, bytes: usize) -> Self {
        self.limits.output = bytes;
        self
    }

    /// How long a client may take nothing of what waits for it before it is closed with 1013: 10 s by default.
    #[must_use]
    pub fn output_timeout(mut self, timeout: Duration) -> Self {
        self.limits.stuck = timeout;
        self
    }

    /// How long a connection may take to end once its close frame has been queued: 5 s by default. Then it is reset.
    #[must_use]
    pub fn close_timeout(mut self, timeout: Duration) -> Self {
        self.limits.linger = timeout;
        self
    }

    /// Bytes that the kernel may hold for one client: 256 KiB by default. More would hide that a client does not read.
    #[must_use]
    pub fn send_buffer(mut self, bytes: usize) -> Self {
        self.sockets.send_buffer = bytes;
        self
    }

    /// How long the kernel waits for a client's machine to confirm what was sent before it gives the connection up: 45 s
    /// by default, zero for the kernel's own time. A second net below the [heartbeat](Self::heartbeat); Linux only.
    #[must_use]
    pub fn tcp_user_timeout(mut self, timeout: Duration) -> Self {
        self.sockets.user_timeout = timeout;
        self
    }

    /// Bytes that may wait in the whole process, for clients that do not read and for handlers that do not keep up:
    /// 1 GiB by default. Above it those who hold most on their shard are closed with 1013, and new connections are
    /// answered with 503.
    #[must_use]
    pub fn memory_limit(mut self, bytes: usize) -> Self {
        self.memory_limit = bytes;
        self
    }

    /// Bytes of messages from the bus that may wait for one shard: 64 MiB by default. A shard that does not keep up
    /// loses what exceeds it, and the subscriptions concerned are told of a gap.
    #[must_use]
    pub fn bus_backlog(mut self, bytes: usize) -> Self {
        self.inbox.batches = bytes;
        self
    }

    /// New connections that may wait for one shard: 1,024 by default. Those beyond it are closed.
    #[must_use]
    pub fn arrival_backlog(mut self, connections: usize) -> Self {
        self.inbox.arrivals = connections;
        self
    }
}
