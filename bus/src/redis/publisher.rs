//! The connection that publishes. If it has failed, the next caller that publishes makes a new one.
//! It is our own instead of the crate's manager, which does not say whether a message had been
//! passed to a connection before it failed.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, IntoConnectionInfo,
    ProtocolVersion, PushInfo, PushKind, RedisError,
};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::classify::{cause, is_refusal, not_connected, unusable};
use super::options::RedisOptions;
use crate::fault::Side;
use crate::{BusError, EmitError};

/// TCP keepalive: after how much idle time the operating system probes the connection, how often,
/// and after how many unanswered probes it closes it.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(15);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(5);
const KEEPALIVE_MISSES: u32 = 3;

/// Publishes. Clones share the connection, and may differ in their options.
#[derive(Clone)]
pub(crate) struct Publisher {
    pub(super) options: RedisOptions,
    shared: Arc<PublisherState>,
}

struct PublisherState {
    /// For the connection that listens, and for publishing to a server that does not know RESP3.
    resp2: Client,
    /// Only RESP3 reports that a connection has ended while nothing is being sent.
    resp3: Client,
    /// Whether the server has said that it does not know RESP3.
    is_old: AtomicBool,
    /// Filled by the first caller that publishes after a failure, emptied when a failure is seen.
    current: Mutex<Option<PublishingConnection>>,
    /// All failed attempts to connect so far. A caller that waited for an attempt that failed does
    /// not make another.
    failures: AtomicU64,
}

#[derive(Clone)]
struct PublishingConnection {
    commands: MultiplexedConnection,
    is_lost: Arc<AtomicBool>,
}

impl Publisher {
    /// For this URL. This does not connect.
    pub(crate) fn new(url: &str) -> Result<Self, BusError> {
        let info = url.into_connection_info();
        let info = info.map_err(|error| unusable(url, &error))?;
        let keepalive = TcpKeepalive::new()
            .with_time(KEEPALIVE_AFTER)
            .with_interval(KEEPALIVE_EVERY)
            .with_retries(KEEPALIVE_MISSES);
        let tcp = TcpSettings::default()
            .set_nodelay(true)
            .set_keepalive(keepalive);
        let info = info.set_tcp_settings(tcp);
        let client = |protocol| {
            let settings = info.redis_settings().clone().set_protocol(protocol);
            let client = Client::open(info.clone().set_redis_settings(settings));
            client.map_err(|error| unusable(url, &error))
        };
        Ok(Self {
            options: RedisOptions::default(),
            shared: Arc::new(PublisherState {
                resp2: client(ProtocolVersion::RESP2)?,
                resp3: client(ProtocolVersion::RESP3)?,
                is_old: AtomicBool::new(false),
                current: Mutex::new(None),
                failures: AtomicU64::new(0),
            }),
        })
    }

    /// Connects, and pings Redis.
    pub(crate) async fn check(&self) -> Result<(), BusError> {
        let ping = self.query::<redis::Value>(&redis::cmd("PING")).await;
        ping.map(drop)
            .map_err(|error| self.not_connected(Side::Publishing, error))
    }

    /// The error for a failed attempt to open one of the two connections.
    pub(super) fn not_connected(&self, side: Side, error: RedisError) -> BusError {
        not_connected(side, self.client().get_connection_info().addr(), error)
    }

    /// The client of the connection that listens.
    pub(crate) fn client(&self) -> &Client {
        &self.shared.resp2
    }

    /// Publishes on a channel; the prefix is added to its name.
    pub(crate) async fn publish(&self, channel: &str, payload: &[u8]) -> Result<(), EmitError> {
        let channel = self.options.with_prefix(channel);
        match &self.options.queue {
            None => self.publish_once(&channel, payload).await,
            Some(queue) => {
                let attempt = || self.publish_once(&channel, payload);
                queue.publish(payload.len(), attempt).await
            }
        }
    }

    async fn publish_once(&self, channel: &str, payload: &[u8]) -> Result<(), EmitError> {
        let connection = self
            .connection()
            .await
            .map_err(|error| EmitError::NotSent(cause(error)))?;
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(channel).arg(payload);
        match self.ask::<redis::Value>(connection, &publish).await {
            Ok(_) => Ok(()),
            Err(error) if is_refusal(&error) => Err(EmitError::NotSent(cause(error))),
            Err(error) => Err(EmitError::OutcomeUnknown(cause(error))),
        }
    }

    /// Runs any command on the connection that publishes.
    pub(super) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisError> {
        let connection = self.connection().await?;
        self.ask(connection, command).await
    }

    async fn ask<T: FromRedisValue>(
        &self,
        mut connection: PublishingConnection,
        command: &Cmd,
    ) -> Result<T, RedisError> {
        let answer = command.query_async(&mut connection.commands);
        let answer = timeout(self.options.answering, answer).await;
        let answer = answer.unwrap_or_else(|_| Err(timed_out()));
        if let Err(error) = &answer
            && !is_refusal(error)
        {
            // Also after a timeout: a silent connection does not end by itself for a quarter of an
            // hour.
            connection.is_lost.store(true, Ordering::Relaxed);
        }
        answer
    }

    async fn connection(&self) -> Result<PublishingConnection, RedisError> {
        let PublisherState {
            current, failures, ..
        } = &*self.shared;
        let failed = failures.load(Ordering::Relaxed);
        let mut current = current.lock().await;
        if let Some(connection) = current
            .as_ref()
            .filter(|connection| !connection.is_lost.load(Ordering::Relaxed))
        {
            return Ok(connection.clone());
        }
        *current = None;
        if failures.load(Ordering::Relaxed) != failed {
            return Err(std::io::Error::from(std::io::ErrorKind::NotConnected).into());
        }
        let opened = timeout(self.options.connecting, self.open()).await;
        match opened.unwrap_or_else(|_| Err(timed_out())) {
            Ok(connection) => Ok(current.insert(connection).clone()),
            Err(error) => {
                failures.fetch_add(1, Ordering::Relaxed);
                Err(error)
            }
        }
    }

    /// The host's name is resolved each time, and each of its addresses is tried.
    async fn open(&self) -> Result<PublishingConnection, RedisError> {
        let is_lost = Arc::new(AtomicBool::new(false));
        // The callers limit both times.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        let PublisherState {
            resp2,
            resp3,
            is_old,
            ..
        } = &*self.shared;
        if !is_old.load(Ordering::Relaxed) {
            let told = Arc::clone(&is_lost);
            let config = config.clone().set_push_sender(move |push: PushInfo| {
                if push.kind == PushKind::Disconnection {
                    told.store(true, Ordering::Relaxed);
                }
                Ok::<(), std::convert::Infallible>(())
            });
            match resp3
                .get_multiplexed_async_connection_with_config(&config)
                .await
            {
                Err(error) if error.kind() == ErrorKind::RESP3NotSupported => {
                    is_old.store(true, Ordering::Relaxed);
                }
                opened => return opened.map(|commands| PublishingConnection { commands, is_lost }),
            }
        }
        let commands = resp2
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        Ok(PublishingConnection { commands, is_lost })
    }
}

impl fmt::Debug for Publisher {
    // Without the client, which would show the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher")
            .field("address", self.shared.resp2.get_connection_info().addr())
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

pub(super) fn timed_out() -> RedisError {
    std::io::Error::from(std::io::ErrorKind::TimedOut).into()
}
