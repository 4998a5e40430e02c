//! The store in Redis. Each step is one script, which Redis runs as a whole; each is in a file of
//! its own in `scripts`.

mod connection;
mod error;
mod ingest;
mod keys;
mod log;
mod registers;
mod script;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use self::connection::{Request, SharedConnection};
pub use self::ingest::{Ingest, IngestSettings, IngestStats};
use self::keys::KeyNames;
#[cfg(fuzzing)]
pub(crate) use self::log::page;
use self::script::ScriptCall;
use crate::error::because;
use crate::{Cause, Store, TopicError, TopicName};
use updraft_bus::{BusError, ChannelSettings, Channels, Redis};

/// Topics and registers in Redis 7.0 or newer, or in Valkey. Its clones share one connection.
///
/// ```no_run
/// # async fn open() -> Result<(), Box<dyn std::error::Error>> {
/// use updraft_topics::{RedisSettings, Store, Topics};
///
/// let url = "redis://127.0.0.1:6379";
/// let topics = Topics::open(Store::redis(url, RedisSettings::default()).await?);
/// # Ok(()) }
/// ```
///
/// [`Store::redis`] goes together with the bus on the same Redis, over which scripts publish the
/// wake-ups that readers hear. [`Store::new`] takes a bus of the program's own.
///
/// It uses the one server that its URL leads to, which must be the master; neither Sentinel nor a
/// cluster is asked where that is. A connection that has failed, or leads to a replica, is
/// replaced with the next call, for which the host's name is resolved again.
///
/// # What it keeps, and what it may lose
///
/// | | |
/// | --- | --- |
/// | batches | each is stored as a whole or not at all, also in the append-only file and on replicas |
/// | a killed process of Redis | with `appendonly yes` and `appendfsync always` nothing acknowledged is lost; with `everysec`, up to about a second; with snapshots, all since the latest |
/// | a failover to a replica | replication does not wait: what was acknowledged and not replicated yet is lost. `min-replicas-to-write` bounds how much |
/// | `FLUSHALL`, a lost volume | everything. A topic that this process has opened is created again with a new epoch when it is next used, whether or not [`open`](crate::Log::open) might create it |
/// | a topic of which one key was removed or replaced | it gets a new epoch. What is held stays, and numbers go on behind all that were given |
/// | eviction | any `maxmemory-policy` but `noeviction` may remove keys: a warning when the store is opened, or an error with [`RedisSettings::refuse_eviction`] |
/// | no memory | `store-full`, nothing is stored. Reading, trimming, removing and deleting go on, and so do registers: retention needs their leases |
/// | no disk | `store-full` as soon as Redis finds out, for whatever changes anything. Reading goes on. With `appendfsync always` Redis ends when it cannot write |
/// | Redis away | `backend-unavailable` within [`RedisSettings::deadline`]; nothing waits in this process |
///
/// How a reader is told of what is lost: if the topic has a new epoch, it is
/// [`Read::UnknownEpoch`](crate::Read). If a failover has lost the end of the log, a place behind
/// the end is [`Read::Ahead`](crate::Read); when more was appended since, the offset has a record
/// with another mark, and the place is [`Read::Diverged`](crate::Read). That cannot be told any
/// more once the record of that offset was trimmed or removed. Registers that a failover has set
/// back have earlier versions: a swap that expects the lost one is a conflict.
///
/// # Keys
///
/// All keys of a topic have the hash tag of its name, and all registers of a namespace theirs, so
/// that every script touches one node of a cluster. `PREFIX` is [`RedisSettings::prefix`]. In
/// names, `{`, `}` and `%` are written as `%7B`, `%7D` and `%25`.
///
/// | key | what |
/// | --- | --- |
/// | `PREFIXtopics` | a sorted set of the names of topics |
/// | `PREFIXt{TOPIC}meta` | a hash: epoch, bounds, time, and the id that the stream must have generated last. For an hour after a topic was deleted, a note of that |
/// | `PREFIXt{TOPIC}log` | a stream. The id of an entry is `OFFSET-MARK`, its fields are `t`, the time, and `c`, the content with its checksum |
/// | `PREFIXt{TOPIC}ids`, `…ages` | ids for deduplication, and their times |
/// | `PREFIXt{TOPIC}ingest`, `…rejected` | the streams of [`Ingest`]. They are removed with the topic |
/// | `PREFIXr{NAMESPACE}=NAME` | a register |
/// | `PREFIXr{NAMESPACE}names`, `…ends` | sorted sets of the names of registers, and of the times at which they expire |
///
/// # What it costs
///
/// Time of the processor in Redis 7.0.15, in µs for each record of 200 bytes, on two shared cores,
/// from `used_cpu_user_main_thread` and `used_cpu_sys_main_thread` of `INFO cpu` over 20,000
/// records. Each batch is one call of the script, or a pipeline of `XADD`; the next leaves when it
/// is answered. A call alone is mostly the network.
///
/// | records in a batch | `XADD` | append | append with ids for deduplication and an expected offset |
/// | --- | --- | --- | --- |
/// | 1 | 12.0–13.9 | 30.5–32.3 | 34.1–36.2 |
/// | 10 | 2.0–2.4 | 5.2–5.4 | 8.9–9.9 |
/// | 100 | 1.3 | 2.6–2.7 | 6.1–6.2 |
///
/// A page of 256 records costs 1.9 a record (`XRANGE` 0.5), a read that finds nothing 27. A swap
/// of 64 registers of 200 bytes costs 186, or 375 if they expire. One such swap for every 64
/// records of 20,000 a second keeps up, with 8–12 % of a core (17–18 % if they expire) and no
/// answer later than 6 ms, or 30 ms where other programs keep both cores busy. Redis is saturated
/// by 3,800 (2,100) of them a second.
#[derive(Clone, Debug)]
pub struct RedisStore(Arc<RedisState>);

/// How a store uses Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RedisSettings {
    /// What the names of all keys begin with. Stores with different prefixes share nothing.
    pub prefix: String,
    /// What the bus on the same Redis puts before the names of its channels.
    pub bus_prefix: String,
    /// How long a step may take, for everything together: connecting, the answer, and asking again
    /// when a connection has failed. Most calls are one step; a trim of many records, or the
    /// creation of a topic, are several.
    pub deadline: Duration,
    /// Whether a Redis that may remove keys to make room is refused. Otherwise there is a warning.
    pub refuse_eviction: bool,
}

#[derive(Debug)]
struct RedisState {
    connection: SharedConnection,
    keys: KeyNames,
    channel: String,
    /// The topics that were opened here and not deleted since, as far as is known. If Redis has
    /// lost one of them, it is created again. Filled by `open`, drained by `end` and by whoever
    /// finds that the topic was deleted; bounded by the topics that a program opens.
    opened: Mutex<HashSet<TopicName>>,
    eviction: Option<String>,
}

impl RedisStore {
    /// Connects to the Redis of this URL, as `redis://127.0.0.1:6379/0`, and looks whether topics
    /// can be kept there.
    ///
    /// # Errors
    ///
    /// [`TopicError::NotOpened`] if the URL cannot be used, there is no answer, Redis is older than
    /// 7.0, or it removes keys to make room and [`RedisSettings::refuse_eviction`] is set.
    pub async fn open(url: &str, settings: RedisSettings) -> Result<Self, TopicError> {
        let RedisSettings {
            prefix,
            bus_prefix,
            deadline,
            refuse_eviction,
        } = settings;
        let connection = SharedConnection::new(url, deadline).map_err(|error| {
            let advice = "write it as redis://HOST:PORT, with the password as redis://:PASSWORD@";
            not_opened("of this URL", Arc::new(error), advice)
        })?;
        let address = connection.address().to_string();
        let info = connection.ask(Request::Command(&redis::cmd("INFO"))).await;
        let info: String = info.map_err(|error| {
            let cause = match error {
                TopicError::Unavailable(Some(cause)) => cause,
                error => Arc::new(error),
            };
            let advice = "see that it runs, and that the URL has its address and its password";
            not_opened(&address, cause, advice)
        })?;
        let is_old = value(&info, "redis_version")
            .and_then(|version| version.split('.').next()?.parse::<u32>().ok())
            .is_some_and(|major| major < 7);
        if is_old {
            let cause = because("it is older than Redis 7.0");
            return Err(not_opened(&address, cause, "use a newer one, or Valkey"));
        }
        let eviction = value(&info, "maxmemory_policy").filter(|policy| *policy != "noeviction");
        if let Some(policy) = eviction {
            if refuse_eviction {
                let cause = because(format!("its maxmemory-policy is {policy}"));
                return Err(not_opened(&address, cause, "set it to noeviction"));
            }
            tracing::warn!(
                policy,
                "Redis may remove topics to make room: set its maxmemory-policy to noeviction."
            );
        }
        Ok(Self(Arc::new(RedisState {
            connection,
            keys: KeyNames::new(&prefix),
            channel: format!("{bus_prefix}updraft:topics"),
            opened: Mutex::default(),
            eviction: eviction.map(str::to_owned),
        })))
    }

    /// The `maxmemory-policy` that Redis had when the store was opened, if it is not `noeviction`.
    pub fn eviction(&self) -> Option<&str> {
        self.0.eviction.as_deref()
    }

    async fn call(&self, call: &ScriptCall) -> Result<Vec<Vec<u8>>, TopicError> {
        self.0.connection.ask(Request::Call(call)).await
    }

    fn opened(&self) -> MutexGuard<'_, HashSet<TopicName>> {
        self.0.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Topics in the Redis of this URL, and the bus there that wakes their readers.
    ///
    /// # Errors
    ///
    /// As [`RedisStore::open`], and [`TopicError::NotOpened`] if the bus cannot be used.
    pub async fn redis(url: &str, settings: RedisSettings) -> Result<Self, TopicError> {
        let bus_prefix = settings.bus_prefix.clone();
        let store = Arc::new(RedisStore::open(url, settings).await?);
        let address = store.0.connection.address().to_string();
        let advice = "see that this user may listen there, and that the prefix of the bus is one";
        let unusable = |error: BusError| not_opened(&address, Arc::new(error), advice);
        let bus = Redis::connect(url).await.map_err(unusable)?;
        let bus = bus.prefix(&bus_prefix).map_err(unusable)?;
        let channels = Channels::open(bus, ChannelSettings::default())
            .map_err(|error| not_opened(&address, Arc::new(error), "free some resources"))?;
        Ok(Self::new(store.clone(), store, Arc::new(channels)))
    }
}

impl Default for RedisSettings {
    fn default() -> Self {
        Self {
            prefix: "updraft:topics:".into(),
            bus_prefix: String::new(),
            deadline: Duration::from_secs(5),
            refuse_eviction: false,
        }
    }
}

/// The value of a field in the answer of INFO.
fn value<'a>(info: &'a str, field: &str) -> Option<&'a str> {
    let mut fields = info.lines().filter_map(|line| line.split_once(':'));
    fields.find_map(|(name, value)| (name == field).then(|| value.trim()))
}

fn not_opened(store: &str, cause: Cause, advice: &'static str) -> TopicError {
    TopicError::NotOpened {
        store: store.into(),
        cause,
        advice,
    }
}

/// The error for an answer that is not one of our scripts.
fn unexpected() -> TopicError {
    let cause = "Redis did not answer as the scripts of this version do";
    TopicError::Unavailable(Some(because(cause)))
}
