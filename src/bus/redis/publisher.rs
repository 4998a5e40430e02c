//! The connection that publishes. It is made anew when it fails, by the next who publishes.
//! It is ours rather than the crate's manager because only so is it known whether a message had been handed to a
//! connection when that failed.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, ErrorKind, IntoConnectionInfo, ProtocolVersion,
    PushInfo, PushKind, RedisError,
};
use tokio::sync::Mutex;

use super::listener::is_refusal;
use super::supervisor::CONNECTING;
use crate::bus::{BusError, EmitError};

/// How long Redis may take to answer. A fork or a slow script stops it for a while, and then giving up helps nobody.
const ANSWERING: Duration = Duration::from_secs(2);

pub(crate) struct Publisher {
    /// For the connection that listens.
    client: Client,
    /// For this one.
    commands: Client,
    /// Filled by the first who publishes after a failure, emptied when a failure is seen.
    current: Mutex<Option<Connection>>,
    /// Attempts to connect that failed, ever: who waited for one while it failed does not make another.
    failures: AtomicU64,
}

#[derive(Clone)]
struct Connection {
    commands: MultiplexedConnection,
    is_lost: Arc<AtomicBool>,
}

impl Publisher {
    pub(crate) async fn connect(url: &str) -> Result<Self, BusError> {
        let info = url.into_connection_info().map_err(invalid)?;
        let info = info
            .clone()
            .set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let mut publisher = Self {
            client: client(&info, ProtocolVersion::RESP2)?,
            // Only this version of the protocol tells of a connection that ends while nothing is being sent.
            commands: client(&info, ProtocolVersion::RESP3)?,
            current: Mutex::new(None),
            failures: AtomicU64::new(0),
        };
        let mut connection = match publisher.open().await {
            Ok(connection) => connection,
            Err(error) if error.kind() == ErrorKind::RESP3NotSupported => {
                publisher.commands = publisher.client.clone();
                publisher.open().await.map_err(unavailable)?
            }
            Err(error) => return Err(unavailable(error)),
        };
        redis::cmd("PING")
            .exec_async(&mut connection.commands)
            .await
            .map_err(unavailable)?;
        *publisher.current.get_mut() = Some(connection);
        Ok(publisher)
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) async fn publish(&self, channel: &str, payload: &[u8]) -> Result<(), EmitError> {
        let mut connection = self
            .connection()
            .await
            .map_err(|error| EmitError::NotSent(Arc::new(error)))?;
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(channel).arg(payload);
        match publish.exec_async(&mut connection.commands).await {
            Ok(()) => Ok(()),
            Err(error) if is_refusal(&error) => Err(EmitError::NotSent(Arc::new(error))),
            Err(error) => {
                // Also after a timeout: a connection that fell silent does not end by itself for a quarter of an hour.
                connection.is_lost.store(true, Ordering::Relaxed);
                Err(EmitError::OutcomeUnknown(Arc::new(error)))
            }
        }
    }

    async fn connection(&self) -> Result<Connection, RedisError> {
        let failures = self.failures.load(Ordering::Relaxed);
        let mut current = self.current.lock().await;
        if let Some(connection) = current
            .as_ref()
            .filter(|connection| !connection.is_lost.load(Ordering::Relaxed))
        {
            return Ok(connection.clone());
        }
        *current = None;
        if self.failures.load(Ordering::Relaxed) != failures {
            return Err(std::io::Error::from(std::io::ErrorKind::NotConnected).into());
        }
        match self.open().await {
            Ok(connection) => Ok(current.insert(connection).clone()),
            Err(error) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                Err(error)
            }
        }
    }

    async fn open(&self) -> Result<Connection, RedisError> {
        let is_lost = Arc::new(AtomicBool::new(false));
        let mut config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECTING))
            .set_response_timeout(Some(ANSWERING));
        if self
            .commands
            .get_connection_info()
            .redis_settings()
            .protocol()
            == ProtocolVersion::RESP3
        {
            let is_lost = Arc::clone(&is_lost);
            config = config.set_push_sender(move |push: PushInfo| {
                if push.kind == PushKind::Disconnection {
                    is_lost.store(true, Ordering::Relaxed);
                }
                Ok::<(), std::convert::Infallible>(())
            });
        }
        let commands = self
            .commands
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        Ok(Connection { commands, is_lost })
    }
}

impl fmt::Debug for Publisher {
    // Without the client, which would show the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher")
            .field("address", self.client.get_connection_info().addr())
            .finish_non_exhaustive()
    }
}

fn client(info: &ConnectionInfo, protocol: ProtocolVersion) -> Result<Client, BusError> {
    let settings = info.redis_settings().clone().set_protocol(protocol);
    Client::open(info.clone().set_redis_settings(settings)).map_err(invalid)
}

fn invalid(error: RedisError) -> BusError {
    BusError::InvalidUrl(Arc::new(error))
}

fn unavailable(error: RedisError) -> BusError {
    if is_refusal(&error) || error.kind() == ErrorKind::AuthenticationFailed {
        BusError::Refused(Arc::new(error))
    } else {
        BusError::unavailable(error)
    }
}
