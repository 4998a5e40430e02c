//! The description of a run.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A run against one server.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// The protocol of the subscribers.
    pub protocol: Protocol,
    /// Where the server listens; a loopback address.
    pub address: SocketAddr,
    /// Path of the WebSocket; `{client}` and `{channel}` are replaced.
    pub path: String,
    /// The publication that DDP clients subscribe to.
    pub publication: String,
    /// How many subscribers.
    pub clients: usize,
    /// How many channels they are spread over.
    pub channels: usize,
    /// Bytes of a message's payload.
    pub size: usize,
    /// How fast messages are published.
    pub pace: Pace,
    /// Time before the measured time.
    pub warm_up: Duration,
    /// The measured time.
    pub time: Duration,
    /// How many of the subscribers stop reading once all are ready.
    pub silent: usize,
    /// The protocol of the publisher.
    pub feed: Feed,
    /// Where the publisher connects; a loopback address.
    pub feed_address: SocketAddr,
    /// Ids of the processes whose CPU time and memory are reported.
    pub processes: BTreeMap<String, u32>,
}

/// The protocol of a subscriber, inside WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// The bare payload; the path names the channel, and `ready` confirms the subscription.
    Plain,
    /// DDP.
    Ddp,
    /// DDP in SockJS frames.
    SockJs,
    /// Engine.IO 4 with Socket.IO in it.
    SocketIo,
    /// NATS.
    Nats,
    /// MQTT 3.1.1.
    Mqtt,
}

/// The protocol of the publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Feed {
    /// Redis `PUBLISH` of the payload.
    Redis,
    /// Redis `PUBLISH` in the format of Socket.IO's Redis adapter.
    SocketIo,
    /// NATS.
    Nats,
    /// MQTT 3.1.1.
    Mqtt,
    /// Calls of the method `change`, to the server itself.
    Method,
    /// The same, with documents of many members, to [`upstream`](crate::upstream), which stands
    /// behind the server.
    Upstream,
}

/// How fast messages are published.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pace {
    /// Not at all.
    Idle,
    /// This many messages a second, whatever the server does.
    Rate(f64),
    /// As fast as possible, but with at most this many deliveries outstanding.
    Window(u64),
    /// Not at all: when all clients are connected they subscribe at once, and each is sent as many
    /// messages as it has missed. The measured time ends with the last of them.
    Missed(u64),
    /// Not at all: each client makes one request after the other, each as soon as the last is
    /// answered.
    Requests(Request),
    /// Not at all: the clients in turn make so many [calls](Request::Echo) a second.
    Calls(f64),
}

/// The request that clients of a DDP server repeat. An answered request counts as a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// A call of the method `echo`, until `result` and `updated` have come.
    Call,
    /// The same with a document of many members.
    Echo,
    /// `sub` until `ready`, then `unsub` until `nosub`.
    Subscription,
    /// `login` with a resume token, `token` and the client's number; until `result` and `updated`
    /// have come.
    Login,
}

/// A run against the kernel: prepared frames, written to sockets that another process drains.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// How many connections.
    pub connections: usize,
    /// Bytes of a frame's payload.
    pub size: usize,
    /// How many frames share a write.
    pub frames_per_write: usize,
    /// Broadcasts a second; `None` means as many as possible.
    pub rate: Option<f64>,
    /// The measured time.
    pub time: Duration,
    /// The processor that the draining process is pinned to.
    pub drain_on: usize,
}
