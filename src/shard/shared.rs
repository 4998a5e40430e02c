//! What the shards of a server have in common, in addition to what every context can reach.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use updraft_protocol::session::SessionConfig;

use super::orders::Orders;
use super::polling_sessions;
use super::registry::ResumableSessions;
use crate::gateway::Gateway;
use crate::handler::{Hooks, Host};
use crate::method::Methods;
use crate::publication::Publication;

/// One per server.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) host: Arc<Host>,
    /// Names and limits that sessions need.
    pub(crate) session: Arc<SessionConfig>,
    /// Publications, indexed by the number that `session` gives them.
    pub(crate) publications: Vec<Publication>,
    /// Methods, indexed by the number that `session` gives them.
    pub(crate) methods: Arc<Methods>,
    pub(crate) orders: Orders,
    pub(crate) hooks: Hooks,
    /// Cancelled when shutdown begins, before the first client is closed. From then on the server
    /// is not ready and admits no new client.
    pub(crate) draining: CancellationToken,
    /// The threads of the shards. Each ends with its last client.
    pub(crate) shards: TaskTracker,
    /// Tasks that live as long as the server: the bus, and the watchers of certificates and users.
    pub(crate) background: TaskTracker,
    /// SockJS sessions over HTTP requests.
    pub(crate) polling: Arc<polling_sessions::PollingSessions>,
    /// The way to the Meteor server behind this one, if there is one.
    pub(crate) gateway: Option<Arc<Gateway>>,
    /// Sessions that a client can resume.
    pub(crate) resumable: ResumableSessions,
}
