//! Limits for one client: what it may send, how long it may take, and how much may wait for it. A
//! session has limits of its own. The defaults suit a server on the open internet.

use std::time::Duration;

use crate::transport::websocket::FrameRate;

/// The limits that a shard applies to each client.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ClientLimits {
    /// Bytes of a message before `connect`, all its fragments together: 64 KiB by default. A frame
    /// that would exceed this closes the connection with 1009 as soon as its header has been read.
    pub first_message: usize,
    /// Bytes of a message after `connect`, all its fragments together: 4 MiB by default. A larger
    /// one closes the connection in the same way.
    pub message: usize,
    /// How many small frames a client may send: 1,000 within 10 s by default. Small frames are
    /// control frames (mostly pings) and fragments of less than 1 KiB. One more closes the
    /// connection with 1008.
    pub small_frames: FrameRate,
    /// How many messages of one client may wait for a handler, and how many of its calls may run at
    /// once: 100 by default each. A client that reaches this limit is not read from until a handler
    /// has ended. The rest of a read that has already happened is still accepted.
    pub queued_messages: usize,
    /// Bytes of these messages, plus the parameters of the handlers that run: 4 MiB by default. A
    /// client that reaches this limit is not read from. No handler of it starts while the
    /// parameters of those that run reach the limit alone. Bytes are counted as memory: parameters
    /// of many small values take many times the size of their text.
    pub queued_bytes: usize,
    /// Bytes of output that may wait for one client before the server holds back more: 1 MiB by
    /// default. Above this limit no further subscription or method of the client starts, what its
    /// handlers have sent stays queued, and its handlers wait wherever they await
    /// [`flowing`](crate::Subscription::flowing) or another future of their context. Nothing is
    /// lost, and no connection is closed.
    pub flow: usize,
    /// Bytes of output that may wait for one client before further events of channels are dropped:
    /// 16 MiB by default. A dropped event is a gap: the subscription goes on, and is told of the
    /// gap when there is room again.
    pub events: usize,
    /// Records of a topic that may wait for a client, for each subscription that follows one: 256
    /// by default. Then the subscription gets no more until half of them are written, and goes on
    /// in the topic where it was: nothing is lost.
    pub followed_records: usize,
    /// Bytes of these records: 256 KiB by default.
    pub followed_bytes: usize,
    /// Bytes of bus messages that are kept for one client while its user changes, until its
    /// subscriptions have run again and say what becomes of the messages: 256 KiB by default. More
    /// is a gap.
    pub user_change: usize,
    /// How long a client for which output waits may show no sign of life before it is closed with
    /// 1013: 10 s by default. A sign of life is that its socket accepts bytes, or that anything
    /// arrives from it. The frame that is being written is completed; the output behind it is
    /// dropped.
    pub output_timeout: Duration,
    /// How long a connection may take to end once its close frame has been queued: 5 s by default.
    /// The time starts again whenever the client accepts bytes that were queued before. Then the
    /// connection is reset.
    pub close_timeout: Duration,
    /// When a connection may take over the session of another that is still open.
    pub takeover: TakeoverLimits,
    /// For clients that are not pinged otherwise.
    pub silence: SilenceLimit,
}

/// When a connection gets the session of another one that is still open.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct TakeoverLimits {
    /// How long the other connection may stay silent after a ping: 2 s by default. Then it is
    /// closed, and the new connection gets the session. If anything arrives from it, the new
    /// connection gets a session of its own.
    pub timeout: Duration,
    /// Whether a session can only be resumed from the client's former address: no by default,
    /// because people move from one network to another.
    pub same_address: bool,
}

/// How the server checks clients that are not pinged otherwise. These are clients of version
/// `pre1`, clients of a [SockJS service](crate::Builder::sockjs_service) over its raw WebSocket,
/// and all clients where [the heartbeat](crate::config::SessionSettings::heartbeat_interval) and
/// that of [SockJS](crate::SockJs::heartbeat) are off.
///
/// Over HTTP the server ends the waiting response instead of sending a ping, and the client has to
/// send the next request.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct SilenceLimit {
    /// How long after its last answer such a client is sent a WebSocket ping: 60 s by default, so
    /// that a client that has stopped is gone within two minutes. Zero turns this off.
    pub interval: Duration,
    /// How long it may then stay silent before its connection is closed: 45 s by default.
    pub timeout: Duration,
}

impl ClientLimits {
    /// The largest message in bytes, for a client that has, or has not, sent `connect`.
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
            followed_records: 256,
            followed_bytes: 256 * 1024,
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
