//! The limits of connections: what a client may send, how long it may take, and what may wait for it.
//! Each has a default that suits a server in the open.

use std::time::Duration;

use super::Builder;
use crate::transport::websocket::FrameRate;

impl Builder {
    /// How long a client may take to send `connect`: 15 s by default.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.settings.sessions.connect_timeout = timeout;
        self
    }

    /// Bytes of a client's message, all its fragments together: before `connect` (64 KiB by default) and after it
    /// (4 MiB). A frame that would exceed it closes the connection with 1009 as soon as its header is here.
    #[must_use]
    pub fn message_limit(mut self, before_connect: usize, after: usize) -> Self {
        self.settings.clients.first_message = before_connect;
        self.settings.clients.message = after;
        self
    }

    /// How many small frames a client may send within a span of time: control frames (pings above all), and fragments
    /// of less than 1 KiB. 1,000 within 10 s by default; one more closes the connection with 1008.
    #[must_use]
    pub fn small_frame_limit(mut self, frames: u32, within: Duration) -> Self {
        self.settings.clients.small_frames = FrameRate { frames, within };
        self
    }

    /// How many messages of one client may wait behind a handler (100 by default), and how many bytes (4 MiB); as many
    /// of its calls may run at once, and none begins while the parameters of those that run have as many bytes. A client
    /// with more is not read from until a handler has ended; so the message that exceeds the limit is still taken in,
    /// with what came in the same read. Bytes are those of memory: parameters of many small values take many times
    /// their text.
    #[must_use]
    pub fn queue_limit(mut self, messages: usize, bytes: usize) -> Self {
        self.settings.clients.queued_messages = messages;
        self.settings.clients.queued_bytes = bytes;
        self
    }

    /// Bytes that may wait for one client before others wait for it: 1 MiB by default. With more, no further subscription
    /// or method of this client begins, what its handlers have sent waits, and handlers wait where they await
    /// [`flowing`](crate::Subscription::flowing) or anything else of their context. Nothing is lost, and nobody is closed.
    #[must_use]
    pub fn flow_limit(mut self, bytes: usize) -> Self {
        self.settings.clients.flow = bytes;
        self
    }

    /// Bytes that may wait for one client before events of channels find no room: 16 MiB by default. Those that come then
    /// are lost, which is a gap: the subscription is told when there is room again, and goes on.
    #[must_use]
    pub fn event_limit(mut self, bytes: usize) -> Self {
        self.settings.clients.events = bytes;
        self
    }

    /// How long a client that something waits for may show no sign of life before it is closed with 1013: 10 s by
    /// default. A sign of life is that its socket takes something, or that anything is heard of it. The frame under way is
    /// finished, what waits behind it is dropped.
    #[must_use]
    pub fn output_timeout(mut self, timeout: Duration) -> Self {
        self.settings.clients.output_timeout = timeout;
        self
    }

    /// How long a connection may take to end once its close frame has been queued: 5 s by default, from the last time on
    /// that its client has taken some of what was queued before. Then it is reset.
    #[must_use]
    pub fn close_timeout(mut self, timeout: Duration) -> Self {
        self.settings.clients.close_timeout = timeout;
        self
    }

    /// Bytes that the kernel may hold for one client: 256 KiB by default. More would hide that a client does not read.
    #[must_use]
    pub fn send_buffer(mut self, bytes: usize) -> Self {
        self.settings.listener.send_buffer = bytes;
        self
    }

    /// How long the kernel waits for a client's machine to take what an answer over HTTP says before it gives the
    /// connection up: 45 s by default, zero for the kernel's own time. Linux only.
    ///
    /// WebSockets have the kernel's own time, for they have the [heartbeat](Self::heartbeat) and the
    /// [output timeout](Self::output_timeout): the kernel counts one that has no room for what is sent among those that do
    /// not answer, from the first time that it asks for room, and so would reset who reads steadily into little room.
    #[must_use]
    pub fn tcp_user_timeout(mut self, timeout: Duration) -> Self {
        self.settings.listener.tcp_user_timeout = timeout;
        self
    }

    /// Bytes of what a change of the user makes different that a client is told of at a time: 256 KiB by default. The next
    /// are told when it has taken these.
    #[must_use]
    pub fn user_change_slice(mut self, bytes: usize) -> Self {
        self.settings.sessions.difference_slice = bytes;
        self
    }

    /// Bytes of messages from the bus that are kept for one client while its user changes (256 KiB by default), until its
    /// subscriptions have run again and say what becomes of them. More is a gap.
    #[must_use]
    pub fn user_change_limit(mut self, bytes: usize) -> Self {
        self.settings.clients.user_change = bytes;
        self
    }

    /// Bytes that may wait in the whole process, for clients that have not taken them and for handlers that do not keep
    /// up: by default a quarter of the machine's memory or, where that is less, of its control group's, and 1 GiB where neither
    /// can be told; the log says how much that is. While more waits for clients, handlers wait: none begins, and those who have something on its
    /// way to their client stop where they await something of their context. So everybody gets what they want, in turns.
    /// While more waits in all, clients whose messages wait are not read from.
    ///
    /// What handlers send without waiting is taken all the same. With twice the limit those who hold most on their shard
    /// are closed with 1013, and new connections are answered with 503.
    #[must_use]
    pub fn memory_limit(mut self, bytes: usize) -> Self {
        self.settings.memory_limit = Some(bytes);
        self
    }

    /// Bytes of messages from the bus that may wait for one shard: 64 MiB by default. A shard that does not keep up
    /// loses what exceeds it, and the subscriptions concerned are told of a gap.
    #[must_use]
    pub fn bus_backlog(mut self, bytes: usize) -> Self {
        self.settings.inbox.bus_bytes = bytes;
        self
    }

    /// Greets every client with `{"server_id":"0"}` before it has said anything, as old Meteor servers did; off by
    /// default. There are clients that wait for it, and clients that take it for an error.
    #[must_use]
    pub fn greeting(mut self, greets: bool) -> Self {
        self.settings.sessions.greeting = greets;
        self
    }

    /// How deep a client's JSON may be nested (64 by default, 512 at most), and how many entries an array or an object
    /// in it may have (10,000). What exceeds either is a `Bad request`.
    #[must_use]
    pub fn json_limits(mut self, depth: usize, entries: usize) -> Self {
        self.settings.sessions.json.depth = depth;
        self.settings.sessions.json.keys = entries;
        self
    }

    /// Bytes of an id or a name that a client sends (256 by default): of subscriptions, publications, calls, methods
    /// and pings. A longer one is refused as malformed.
    #[must_use]
    pub fn name_limit(mut self, bytes: usize) -> Self {
        self.settings.sessions.bounds.name = bytes;
        self
    }

    /// Bytes of a refused message that its `error` quotes as `offendingMessage` (1 KiB by default). Of a longer one the
    /// client hears the reason only.
    #[must_use]
    pub fn quote_limit(mut self, bytes: usize) -> Self {
        self.settings.sessions.bounds.quote = bytes;
        self
    }

    /// So many messages that are no JSON within [`json_limits`](Self::json_limits), or have no `msg`, close their
    /// connection with 1008 when they come within this time; by default 100 within 10 s.
    #[must_use]
    pub fn unreadable_limit(mut self, messages: usize, window: Duration) -> Self {
        self.settings.sessions.max_unreadable = messages;
        self.settings.sessions.unreadable_window = window;
        self
    }

    /// Subscriptions that one session may have (256 by default), universal ones not counted. One more gets `nosub` with
    /// the error `too-many-subscriptions`.
    #[must_use]
    pub fn subscription_limit(mut self, subscriptions: usize) -> Self {
        self.settings.sessions.max_subscriptions = subscriptions;
        self
    }

    /// How long a publication's handler may take (60 s by default), unblocked or not. Then it is dropped, and its
    /// subscription ends with `nosub` 503. Zero is for ever. What a handler ties to its subscription with
    /// [`Subscription::run`](crate::Subscription::run) is not meant.
    #[must_use]
    pub fn publication_timeout(mut self, timeout: Duration) -> Self {
        self.settings.sessions.publication_timeout = timeout;
        self
    }

    /// How long a session waits for a client whose connection is lost: 15 s by default, as Meteor. Until then its
    /// subscriptions go on; a client that comes back gets what it has missed, and is told nothing else. With zero no
    /// session waits.
    ///
    /// A client that says `disconnect`, or that the server has closed, is not waited for.
    #[must_use]
    pub fn resumption_grace(mut self, grace: Duration) -> Self {
        self.settings.sessions.resumption.grace = grace;
        self
    }

    /// How much is kept of what a client was sent, until it answers a ping: 100 messages and 64 KiB by default. A client
    /// that comes back and has missed more gets a new session. As much again may come up while it is away; with more its
    /// session ends.
    #[must_use]
    pub fn resumption_history(mut self, messages: usize, bytes: usize) -> Self {
        self.settings.sessions.resumption.messages = messages;
        self.settings.sessions.resumption.bytes = bytes;
        self
    }

    /// How often somebody may try to resume a waiting session with a count that is impossible, or from the wrong
    /// address, before it ends: 5 times by default.
    #[must_use]
    pub fn resumption_attempts(mut self, attempts: u32) -> Self {
        self.settings.sessions.resumption.attempts = attempts;
        self
    }

    /// Whether a session is resumed from the client's former address only; off by default, for people move from one
    /// network to another.
    #[must_use]
    pub fn resume_same_address(mut self, same: bool) -> Self {
        self.settings.clients.resume_same_address = same;
        self
    }

    /// How long a connection may stay silent, when it is pinged because another one claims its session: 2 s by default.
    /// Then it is closed, and the other one has the session. If anything is heard of it, the other one gets a session of
    /// its own.
    #[must_use]
    pub fn takeover_timeout(mut self, timeout: Duration) -> Self {
        self.settings.clients.takeover_timeout = timeout;
        self
    }

    /// How long one subscription that waits for the bus may keep its client's next messages waiting (250 ms by default).
    /// After that it waits beside them, as if its handler had called `unblock`.
    #[must_use]
    pub fn bus_patience(mut self, patience: Duration) -> Self {
        self.settings.handlers.bus_patience = patience;
        self
    }

    /// From when on a running method counts among [`Stats::slow_methods`](crate::Stats::slow_methods): 30 s by default.
    /// Nothing ends it.
    #[must_use]
    pub fn slow_method(mut self, after: Duration) -> Self {
        self.settings.handlers.slow_method = after;
        self
    }
}
