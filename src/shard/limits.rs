//! What a client may send, how long it may take, and what may wait for it, beside what its session
//! bounds. The defaults suit a server in the open.

use std::time::Duration;

use crate::transport::websocket::FrameRate;

/// The limits that a shard keeps of each client.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ClientLimits {
    /// Bytes of a message before `connect`, all its fragments together: 64 KiB by default. A frame
    /// that would exceed it closes the connection with 1009 as soon as its header is here.
    pub first_message: usize,
    /// Bytes of a message after `connect`, likewise: 4 MiB by default.
    pub message: usize,
    /// Small frames that a client may send, which are control frames (pings above all) and
    /// fragments of less than 1 KiB: 1,000 within 10 s by default. One more closes the connection
    /// with 1008.
    pub small_frames: FrameRate,
    /// Messages of one client that may wait behind a handler, and calls of it that may run at once:
    /// 100 by default. A client with more is not read from until a handler has ended; so the
    /// message that exceeds the limit is still taken in, with what came in the same read.
    pub queued_messages: usize,
    /// Bytes of these messages, and of the parameters of its handlers that run: 4 MiB by default. A
    /// client with more is not read from, and none of its handlers begins while the parameters of
    /// those that run have as many. Bytes are those of memory: parameters of many small values take
    /// many times their text.
    pub queued_bytes: usize,
    /// Bytes that may wait for one client before others wait for it: 1 MiB by default. With more,
    /// no further subscription or method of this client begins, what its handlers have sent waits,
    /// and handlers wait where they await [`flowing`](crate::Subscription::flowing) or anything
    /// else of their context. Nothing is lost, and nobody is closed.
    pub flow: usize,
    /// Bytes that may wait for one client before events of channels find no room: 16 MiB by
    /// default. Those that come then are lost, which is a gap: the subscription is told when there
    /// is room again, and goes on.
    pub events: usize,
    /// Bytes of messages from the bus that are kept for one client while its user changes, until
    /// its subscriptions have run again and say what becomes of them: 256 KiB by default. More is a
    /// gap.
    pub user_change: usize,
    /// How long a client that something waits for may show no sign of life before it is closed with
    /// 1013: 10 s by default. A sign of life is that its socket takes something, or that anything
    /// is heard of it. The frame under way is finished, what waits behind it is dropped.
    pub output_timeout: Duration,
    /// How long a connection may take to end once its close frame has been queued: 5 s by default,
    /// from the last time on that its client has taken some of what was queued before. Then it is
    /// reset.
    pub close_timeout: Duration,
    /// When a connection may take over the session of another that is still open.
    pub takeover: TakeoverLimits,
    /// For clients whom nothing else asks for a sign of life.
    pub silence: SilenceLimit,
}

/// How a connection gets the session of another one, whose client has come back.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct TakeoverLimits {
    /// How long the other connection may stay silent when it is pinged: 2 s by default. Then it is
    /// closed, and the new one has the session. If anything is heard of it, the new one gets a
    /// session of its own.
    pub timeout: Duration,
    /// Whether a session is resumed from the client's former address only: no by default, for people
    /// move from one network to another.
    pub same_address: bool,
}

/// How a client is watched whom nothing else asks for a sign of life: those of the version `pre1`,
/// those of a [SockJS service](crate::Builder::sockjs_service) over its raw WebSocket, and any
/// where [the heartbeat](crate::config::SessionSettings::heartbeat_interval) and that of
/// [SockJS](crate::SockJs::heartbeat) are off.
///
/// Over HTTP the response that waits is ended instead of a ping, and the client has to ask again.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct SilenceLimit {
    /// How long after its last answer such a client is sent a ping of WebSocket: 60 s by default,
    /// so that a client that has stopped is gone within two minutes. Zero switches this off.
    pub interval: Duration,
    /// How long it may be silent after that before its connection is closed: 45 s by default.
    pub timeout: Duration,
}

impl ClientLimits {
    /// Bytes of a message of a client that has, or has not, said `connect`.
    pub(super) fn message_of(&self, is_connected: bool) -> usize {
        if is_connected {
            self.message
        } else {
            self.first_message
        }
    }
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            first_message: 64 * 1024,
            message: 4 * 1024 * 1024,
            small_frames: FrameRate {
                frames: 1000,
                within: Duration::from_secs(10),
            },
            queued_messages: 100,
            queued_bytes: 4 * 1024 * 1024,
            flow: 1024 * 1024,
            events: 16 * 1024 * 1024,
            user_change: 256 * 1024,
            output_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(5),
            takeover: TakeoverLimits::default(),
            silence: SilenceLimit::default(),
        }
    }
}

impl Default for TakeoverLimits {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(2),
            same_address: false,
        }
    }
}

impl Default for SilenceLimit {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(60),
            timeout: Duration::from_secs(45),
        }
    }
}
