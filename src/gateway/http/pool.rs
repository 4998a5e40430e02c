//! Connections to Meteor for HTTP, and those that wait for the next request.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::runtime::Handle as Runtime;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::super::address::UpstreamAddress;
use super::super::handshake::Refusal;
use super::PassedHttpSettings;
use super::request::Upload;
use super::upload_socket::UploadSocket;
use crate::base::clock;

/// How often connections that wait are looked at.
const REST: Duration = Duration::from_secs(1);

/// The most headers of an answer.
const HEADERS: usize = 256;

/// A connection to a server. Dropping this ends it.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) sender: SendRequest<Upload>,
    _open: DropGuard,
}

/// The connections that wait for a request.
#[derive(Debug)]
pub(in crate::gateway) struct Pool {
    settings: PassedHttpSettings,
    tasks: TaskTracker,
    runtime: Runtime,
    draining: CancellationToken,
    idle: Mutex<Idle>,
}

#[derive(Debug)]
struct Idle {
    /// For each server, the latest last. Filled by `put`, drained by `take` and by a task that
    /// ends those which wait for long; bounded by `idle_connections`.
    servers: Vec<Vec<(Instant, Connection)>>,
    /// Whether that task runs.
    is_watched: bool,
}

impl Pool {
    /// `tasks` are those which nobody waits for.
    pub(in crate::gateway) fn new(
        servers: usize,
        settings: PassedHttpSettings,
        tasks: TaskTracker,
        runtime: Runtime,
        draining: CancellationToken,
    ) -> Self {
        let servers = std::iter::repeat_with(Vec::new).take(servers).collect();
        Self {
            settings,
            tasks,
            runtime,
            draining,
            idle: Mutex::new(Idle {
                servers,
                is_watched: false,
            }),
        }
    }

    /// A connection that waits, if there is one.
    pub(super) fn take(&self, number: usize) -> Option<Connection> {
        let now = clock::now();
        let mut idle = self.lock();
        let connections = idle.servers.get_mut(number)?;
        connections.retain(|waiting| self.is_usable(waiting, now));
        let ready = |(_, it): &(Instant, Connection)| it.sender.is_ready();
        let index = connections.iter().rposition(ready)?;
        let (_, connection) = connections.remove(index);
        Some(connection)
    }

    /// Keeps a connection whose answer was read to its end.
    pub(super) fn put(self: &Arc<Self>, number: usize, connection: Connection) {
        if connection.sender.is_closed() || self.draining.is_cancelled() {
            return;
        }
        let mut idle = self.lock();
        let Some(connections) = idle.servers.get_mut(number) else {
            return;
        };
        if connections.len() >= self.settings.idle_connections {
            return;
        }
        connections.push((clock::now(), connection));
        if !std::mem::replace(&mut idle.is_watched, true) {
            self.tasks.spawn_on(self.clone().watch(), &self.runtime);
        }
    }

    /// Opens a connection. Limited in time by the caller.
    pub(super) async fn connect(&self, address: &UpstreamAddress) -> Result<Connection, Refusal> {
        let socket = TcpStream::connect(address.host_and_port()).await?;
        socket.set_nodelay(true)?;
        let (sender, connection) = Builder::new()
            .max_buf_size(self.settings.header_bytes.max(SMALLEST_BUFFER))
            .max_headers(HEADERS)
            .handshake(TokioIo::new(UploadSocket::new(socket)))
            .await?;
        let open = CancellationToken::new();
        let ended = open.clone();
        let carry = async move {
            let carried = ended.run_until_cancelled(connection.with_upgrades()).await;
            if let Some(Err(error)) = carried {
                tracing::debug!(%error, "An HTTP connection to Meteor ended with an error.");
            }
        };
        self.tasks.spawn_on(carry, &self.runtime);
        Ok(Connection {
            sender,
            _open: open.drop_guard(),
        })
    }

    /// Ends connections that wait for long, until none waits.
    async fn watch(self: Arc<Self>) {
        loop {
            let rest = tokio::time::sleep(REST);
            let is_draining = self.draining.run_until_cancelled(rest).await.is_none();
            let now = clock::now();
            let mut idle = self.lock();
            for connections in &mut idle.servers {
                connections.retain(|waiting| !is_draining && self.is_usable(waiting, now));
            }
            if idle.servers.iter().all(Vec::is_empty) {
                idle.is_watched = false;
                return;
            }
        }
    }

    fn is_usable(&self, (since, connection): &(Instant, Connection), now: Instant) -> bool {
        let waited = now.saturating_duration_since(*since);
        waited < self.settings.idle_timeout && !connection.sender.is_closed()
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        // Nothing that can panic runs under the lock.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The smallest buffer that hyper accepts.
const SMALLEST_BUFFER: usize = 8 * 1024;
