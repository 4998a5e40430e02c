//! The same work on a plain stream, as programs do it that use Redis' own groups: `XREADGROUP`,
//! `XACK`, and `XAUTOCLAIM` for what others have left.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, RedisError};

use crate::Failure;

pub(super) const STREAM: &str = "plain";
pub(super) const GROUP: &str = "workers";

/// How often a member looks for what others have left.
const CLAIM_EVERY: Duration = Duration::from_secs(1);

/// How a member acknowledges what it has handled.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Acks {
    /// Each entry by a command of its own, when it is handled.
    Each,
    /// All that it got at once, by one command when all are handled.
    Together,
}

/// The id of an entry, and its fields and values in turn.
pub(super) type Entry = (String, Vec<Vec<u8>>);

/// A member with a connection of its own.
pub(super) struct Worker {
    connection: MultiplexedConnection,
    name: String,
    /// For how long a member may have an entry before others claim it.
    idle: Duration,
    claimed: Instant,
}

pub(super) async fn connect(url: &str) -> Result<MultiplexedConnection, Failure> {
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    let client = Client::open(format!("{url}/?protocol=resp3"))?;
    Ok(client
        .get_multiplexed_async_connection_with_config(&config)
        .await?)
}

/// Makes the group of the stream, which is empty.
pub(super) async fn create(connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
    let mut create = redis::cmd("XGROUP");
    create
        .arg("CREATE")
        .arg(STREAM)
        .arg(GROUP)
        .arg("0")
        .arg("MKSTREAM");
    create.query_async(connection).await
}

/// Adds entries with keys and payloads.
pub(super) async fn add<'a>(
    connection: &mut MultiplexedConnection,
    entries: impl Iterator<Item = (String, &'a [u8])>,
) -> Result<(), RedisError> {
    let mut commands = redis::pipe();
    for (key, payload) in entries {
        let mut add = Cmd::new();
        add.arg("XADD").arg(STREAM).arg("*");
        add.arg("k").arg(key).arg("c").arg(payload);
        commands.add_command(add).ignore();
    }
    commands.query_async(connection).await
}

impl Worker {
    pub(super) async fn new(url: &str, name: String, idle: Duration) -> Result<Self, Failure> {
        Ok(Self {
            connection: connect(url).await?,
            name,
            idle,
            claimed: Instant::now(),
        })
    }

    /// What it gets next: what others have left too long, if it is time to look for that, and what
    /// is new.
    pub(super) async fn fetch(&mut self, most: usize) -> Result<Vec<Entry>, RedisError> {
        if self.claimed.elapsed() >= CLAIM_EVERY.min(self.idle) {
            self.claimed = Instant::now();
            let claimed = self.claim(most).await?;
            if !claimed.is_empty() {
                return Ok(claimed);
            }
        }
        let mut read = redis::cmd("XREADGROUP");
        read.arg("GROUP").arg(GROUP).arg(&self.name);
        read.arg("COUNT").arg(most);
        read.arg("STREAMS").arg(STREAM).arg(">");
        let streams: Option<HashMap<String, Vec<Entry>>> =
            read.query_async(&mut self.connection).await?;
        let streams = streams.unwrap_or_default();
        Ok(streams.into_values().flatten().collect())
    }

    async fn claim(&mut self, most: usize) -> Result<Vec<Entry>, RedisError> {
        let mut claim = redis::cmd("XAUTOCLAIM");
        claim.arg(STREAM).arg(GROUP).arg(&self.name);
        let idle = u64::try_from(self.idle.as_millis()).unwrap_or(u64::MAX);
        claim.arg(idle).arg("0-0").arg("COUNT").arg(most);
        let (_, claimed, _): (String, Vec<Entry>, Vec<String>) =
            claim.query_async(&mut self.connection).await?;
        Ok(claimed)
    }

    pub(super) async fn acknowledge(
        &mut self,
        entries: &[Entry],
        how: Acks,
    ) -> Result<(), RedisError> {
        let ack = |entries: &[Entry]| {
            let mut ack = redis::cmd("XACK");
            ack.arg(STREAM).arg(GROUP);
            for (id, _) in entries {
                ack.arg(id);
            }
            ack
        };
        match how {
            Acks::Together => ack(entries).exec_async(&mut self.connection).await,
            Acks::Each => {
                let mut commands = redis::pipe();
                for entry in entries {
                    commands
                        .add_command(ack(std::slice::from_ref(entry)))
                        .ignore();
                }
                commands.query_async(&mut self.connection).await
            }
        }
    }
}
