//! The connection, which all callers share. If it has failed, the next caller makes a new one.
//!
//! It is our own instead of the crate's manager: what may be asked again when a connection has
//! failed, and what must not, is decided here.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, FromRedisValue, IntoConnectionInfo,
    Pipeline, ProtocolVersion, PushInfo, PushKind, RedisError, RedisResult, Value,
};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::error::{failed, is_fatal, is_refusal, is_unknown_script};
use super::script::{Script, ScriptCall};
use crate::TopicError;

/// TCP keepalive: after how much idle time the operating system probes the connection, how often,
/// and after how many unanswered probes it closes it.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(15);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(5);
const KEEPALIVE_MISSES: u32 = 3;

pub(super) struct SharedConnection {
    client: Client,
    /// How long a caller waits, for everything together.
    deadline: Duration,
    /// Filled by the first caller after a failure, emptied when a failure is seen.
    current: Mutex<Option<Connection>>,
}

#[derive(Clone)]
struct Connection {
    commands: MultiplexedConnection,
    is_lost: Arc<AtomicBool>,
    /// The hashes of [`Script::ALL`].
    hashes: Arc<[String]>,
}

/// What is asked. A command, or a pipeline of them, is one that may be given twice.
#[derive(Clone, Copy)]
pub(super) enum Request<'a> {
    Call(&'a ScriptCall),
    Command(&'a Cmd),
    All(&'a Pipeline),
}

impl SharedConnection {
    /// For this URL. This does not connect.
    pub(super) fn new(url: &str, deadline: Duration) -> Result<Self, RedisError> {
        let info = url.into_connection_info()?;
        let keepalive = TcpKeepalive::new()
            .with_time(KEEPALIVE_AFTER)
            .with_interval(KEEPALIVE_EVERY)
            .with_retries(KEEPALIVE_MISSES);
        let tcp = TcpSettings::default()
            .set_nodelay(true)
            .set_keepalive(keepalive);
        // Only RESP3 reports that a connection has ended while nothing is being sent.
        let settings = info
            .redis_settings()
            .clone()
            .set_protocol(ProtocolVersion::RESP3);
        let info = info.set_tcp_settings(tcp).set_redis_settings(settings);
        Ok(Self {
            client: Client::open(info)?,
            deadline,
            current: Mutex::new(None),
        })
    }

    /// Asks, again on another connection if the first fails and that does no harm.
    pub(super) async fn ask<T: FromRedisValue>(
        &self,
        request: Request<'_>,
    ) -> Result<T, TopicError> {
        let answer = self.ask_until(request, Instant::now() + self.deadline);
        let answer = answer
            .await
            .and_then(|answer| Ok(T::from_redis_value(answer)?));
        answer.map_err(|error| failed(self.address(), error))
    }

    pub(super) fn address(&self) -> &ConnectionAddr {
        self.client.get_connection_info().addr()
    }

    async fn ask_until(&self, request: Request<'_>, until: Instant) -> Result<Value, RedisError> {
        let mut may_repeat = match request {
            Request::Call(call) => call.script.is_repeatable(),
            Request::Command(_) | Request::All(_) => true,
        };
        loop {
            let connection = timeout_at(until, self.connection()).await;
            let mut connection = connection.unwrap_or_else(|_| Err(timed_out()))?;
            let answer = timeout_at(until, connection.ask(request)).await;
            let is_answered = answer.is_ok();
            match answer.unwrap_or_else(|_| Err(timed_out())) {
                Err(error) if is_fatal(&error) => {
                    // Also after a timeout: a silent connection does not end by itself for a
                    // quarter of an hour.
                    connection.is_lost.store(true, Ordering::Relaxed);
                    if !is_answered || is_refusal(&error) || !may_repeat {
                        return Err(error);
                    }
                    may_repeat = false;
                }
                answer => return answer,
            }
        }
    }

    async fn connection(&self) -> Result<Connection, RedisError> {
        let mut current = self.current.lock().await;
        if let Some(connection) = current.as_ref()
            && !connection.is_lost.load(Ordering::Relaxed)
        {
            return Ok(connection.clone());
        }
        *current = None;
        let connection = self.open().await?;
        Ok(current.insert(connection).clone())
    }

    /// The host's name is resolved each time, and each of its addresses is tried.
    async fn open(&self) -> Result<Connection, RedisError> {
        let is_lost = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&is_lost);
        // The callers limit both times.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_push_sender(move |push: PushInfo| {
                if push.kind == PushKind::Disconnection {
                    told.store(true, Ordering::Relaxed);
                }
                Ok::<(), std::convert::Infallible>(())
            });
        let client = &self.client;
        let opened = client.get_multiplexed_async_connection_with_config(&config);
        let mut commands = opened.await?;
        let mut load = redis::pipe();
        for script in Script::ALL {
            load.cmd("SCRIPT").arg("LOAD").arg(script.text());
        }
        // Redis that refuses one refuses all, while it loads its data for example: told once.
        load.ignore_errors();
        let hashes: Vec<RedisResult<String>> = load.query_async(&mut commands).await?;
        let hashes: RedisResult<Vec<String>> = hashes.into_iter().collect();
        Ok(Connection {
            commands,
            is_lost,
            hashes: hashes?.into(),
        })
    }
}

impl Connection {
    async fn ask(&mut self, request: Request<'_>) -> Result<Value, RedisError> {
        let call = match request {
            Request::Call(call) => call,
            Request::Command(command) => return command.query_async(&mut self.commands).await,
            Request::All(commands) => return commands.query_async(&mut self.commands).await,
        };
        let hash = self.hashes.get(call.script.index());
        let by_hash = call.by_hash(hash.map_or("", String::as_str));
        match by_hash.query_async(&mut self.commands).await {
            Err(error) if is_unknown_script(&error) => {
                call.by_text().query_async(&mut self.commands).await
            }
            answer => answer,
        }
    }
}

impl fmt::Debug for SharedConnection {
    // Without the client, which would show the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedConnection")
            .field("address", self.address())
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

fn timed_out() -> RedisError {
    io::Error::from(io::ErrorKind::TimedOut).into()
}
