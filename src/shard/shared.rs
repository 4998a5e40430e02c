//! What the shards of a server have in common, beside what every context reaches.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use updraft_protocol::session::SessionConfig;

use super::orders::Orders;
use super::polling_sessions;
use super::registry::ResumableSessions;
use crate::handler::{Hooks, Host};
use crate::method::Methods;
use crate::publication::Publication;

/// One per server.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) host: Arc<Host>,
    /// Names and limits, as sessions know them.
    pub(crate) session: Arc<SessionConfig>,
    /// Publications by the number that `session` gives them.
    pub(crate) publications: Vec<Publication>,
    /// Methods by the number that `session` gives them.
    pub(crate) methods: Arc<Methods>,
    pub(crate) orders: Orders,
    pub(crate) hooks: Hooks,
    /// Cancelled as the server begins to end, before the first client is sent away: the server is
    /// not ready any more, and nobody new is let in.
    pub(crate) draining: CancellationToken,
    /// The threads of the shards, each of which ends with its last client.
    pub(crate) shards: TaskTracker,
    /// What lives as long as the server: the bus, and what watches certificates and users.
    pub(crate) background: TaskTracker,
    /// Sessions that live on HTTP requests.
    pub(crate) polling: Arc<polling_sessions::PollingSessions>,
    /// Sessions that their clients can come back to.
    pub(crate) resumable: ResumableSessions,
}
