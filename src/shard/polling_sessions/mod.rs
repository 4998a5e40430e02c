//! SockJS sessions over HTTP requests: the part that requests and shards share. A session has no
//! task. Its requests send letters to the shard that owns it, and the shard fills their responses.

mod counts;
mod posts;
mod registry;
mod session;

pub use counts::PollingLimits;
pub(crate) use counts::{CountedSession, Full};
pub(crate) use posts::Posts;
pub(crate) use registry::{Found, PollingSessions};
pub(crate) use session::{
    Chunks, PollingRequest, PollingSession, RequestInbox, SessionKey, SessionShare, WaitingRequest,
};
