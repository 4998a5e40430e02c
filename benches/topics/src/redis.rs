//! The store in Redis. Bare is its append script, called by its hash over one connection of the
//! crate `redis` that all callers share, with the same arguments.

use std::sync::Arc;

use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use updraft_bus::{Bus, ChannelSettings, Channels};
use updraft_test_support::redis::RedisServer;
use updraft_topics::{RedisSettings, RedisStore, Store, Topic, Topics};

use crate::Failure;
use crate::options::Options;
use crate::records::{content, entries, payloads, settings};
use crate::rounds::{Good, compare, micros_of_one, per_second};
use crate::table::Table;

/// Records of a batch, callers at the same time, and batches of each of them in a round.
const LOADS: [(usize, usize, usize); 3] = [(1, 64, 100), (10, 16, 100), (100, 4, 50)];
/// Records of a round that are published one after the other.
const ALONE: usize = 1000;

const TOPIC: &str = "published";
const BARE: &str = "bare";
const SCRIPT: &str = concat!(
    "#!lua\n",
    include_str!("../../../topics/src/redis/scripts/topic.lua"),
    include_str!("../../../topics/src/redis/scripts/append.lua")
);

pub(crate) fn measure(options: &Options) -> Result<Table, Failure> {
    let server = RedisServer::start();
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let opened = Opened::new(&runtime, &server.url())?;
    let mut table = Table::of_ratios();
    for (size, callers, batches) in LOADS {
        let payloads = payloads(size * callers * options.records(batches));
        let outcome = compare(
            options,
            Good::High,
            || {
                let publishing = opened.publish(&payloads, size, callers);
                let figure = per_second(payloads.len(), || runtime.block_on(publishing));
                opened.empty(&runtime)?;
                figure
            },
            || {
                let appending = opened.append(&payloads, size, callers);
                let figure = per_second(payloads.len(), || runtime.block_on(appending));
                opened.empty(&runtime)?;
                figure
            },
        )?;
        let what = match size {
            1 => format!("{callers} callers of `publish`, records/s"),
            size => format!("{callers} callers of `publish_many` with {size}, records/s"),
        };
        table.compared(&what, "≥ 0.8", &outcome);
    }
    let payloads = payloads(options.records(ALONE));
    let outcome = compare(
        options,
        Good::Low,
        || {
            let mut payloads = payloads.chunks(1);
            micros_of_one(payloads.len(), || {
                let payload = payloads.next().unwrap_or_default();
                runtime.block_on(opened.publish(payload, 1, 1))
            })
        },
        || {
            let mut payloads = payloads.chunks(1);
            micros_of_one(payloads.len(), || {
                let payload = payloads.next().unwrap_or_default();
                runtime.block_on(opened.append(payload, 1, 1))
            })
        },
    )?;
    table.compared("a caller alone, µs for one `publish`", "≤ 1.3", &outcome);
    Ok(table)
}

/// A store with two topics, and a connection beside it.
pub(crate) struct Opened {
    pub(crate) store: Arc<RedisStore>,
    topic: Topic,
    /// The topic for which the script is called here.
    bare: Topic,
    /// Ends the topics with its owner.
    _topics: Topics,
    pub(crate) connection: MultiplexedConnection,
    hash: Arc<str>,
}

impl Opened {
    pub(crate) fn new(runtime: &Runtime, url: &str) -> Result<Self, Failure> {
        runtime.block_on(async {
            let store = Arc::new(RedisStore::open(url, RedisSettings::default()).await?);
            let bus = Arc::new(Channels::new(Bus::default(), ChannelSettings::default()));
            let topics = Topics::open(Store::new(store.clone(), store.clone(), bus));
            let config = AsyncConnectionConfig::new().set_response_timeout(None);
            let client = Client::open(format!("{url}/?protocol=resp3"))?;
            let connecting = client.get_multiplexed_async_connection_with_config(&config);
            let mut connection = connecting.await?;
            let mut load = redis::cmd("SCRIPT");
            load.arg("LOAD").arg(SCRIPT);
            let hash: String = load.query_async(&mut connection).await?;
            Ok(Self {
                store,
                topic: topics.topic(TOPIC, settings()).await?,
                bare: topics.topic(BARE, settings()).await?,
                _topics: topics,
                connection,
                hash: hash.into(),
            })
        })
    }

    /// Callers publish batches at the same time.
    pub(crate) async fn publish(
        &self,
        payloads: &[Bytes],
        size: usize,
        callers: usize,
    ) -> Result<(), Failure> {
        together(payloads, callers, |payloads| {
            let topic = self.topic.clone();
            async move {
                for payloads in payloads.chunks(size) {
                    topic.publish_many(entries(payloads)).await?;
                }
                Ok(())
            }
        })
        .await
    }

    /// The same without this crate.
    pub(crate) async fn append(
        &self,
        payloads: &[Bytes],
        size: usize,
        callers: usize,
    ) -> Result<(), Failure> {
        together(payloads, callers, |payloads| {
            let mut connection = self.connection.clone();
            let hash = Arc::clone(&self.hash);
            async move {
                for payloads in payloads.chunks(size) {
                    let call = call(&hash, payloads);
                    let _: Vec<Vec<u8>> = call.query_async(&mut connection).await?;
                }
                Ok(())
            }
        })
        .await
    }

    /// Empties both topics, so that Redis does not fill.
    pub(crate) fn empty(&self, runtime: &Runtime) -> Result<(), Failure> {
        runtime.block_on(async {
            for topic in [&self.topic, &self.bare] {
                topic.trim(u64::MAX).await?;
            }
            Ok(())
        })
    }
}

/// Shares payloads among tasks, or does without a task for one caller.
async fn together<F>(
    payloads: &[Bytes],
    callers: usize,
    call: impl Fn(Vec<Bytes>) -> F,
) -> Result<(), Failure>
where
    F: Future<Output = Result<(), Failure>> + Send + 'static,
{
    if callers == 1 {
        return call(payloads.to_vec()).await;
    }
    let mut tasks = JoinSet::new();
    for payloads in payloads.chunks(payloads.len().div_ceil(callers)) {
        tasks.spawn(call(payloads.to_vec()));
    }
    tasks.join_all().await.into_iter().collect()
}

/// What the store asks Redis for these records.
fn call(hash: &str, payloads: &[Bytes]) -> Cmd {
    let mut call = redis::cmd("EVALSHA");
    call.arg(hash).arg(4);
    for part in ["meta", "log", "ids", "ages"] {
        call.arg(format!("updraft:topics:t{{{BARE}}}{part}"));
    }
    call.arg("")
        .arg("300000")
        .arg("updraft:topics")
        .arg("\"bare\"");
    for payload in payloads {
        call.arg("7").arg("").arg(&content(payload).encode(7)[..]);
    }
    call
}
