//! A Redis, topics on it as a process has them, and which processor does what.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use updraft_bus::{ChannelSettings, Channels, Redis};
use updraft_test_support::redis::RedisServer;
use updraft_topics::{RedisSettings, RedisStore, Store, Topics};

use crate::Failure;

/// Topics as a process has them that shares the store with others.
pub(super) async fn topics(url: &str, lease: Duration) -> Result<Topics, Failure> {
    let store = Arc::new(RedisStore::open(url, RedisSettings::default()).await?);
    let bus = Redis::connect(url).await?;
    let channels = Arc::new(Channels::open(bus, ChannelSettings::default())?);
    let topics = Topics::open(Store::new(store.clone(), store, channels));
    Ok(topics.with_lease(lease))
}

/// The processor of servers, where there is more than one.
const SERVERS: &str = "1";

/// This process is on the first processor, and Redis on the second, where there are two.
pub(super) struct Pinned(usize);

impl Pinned {
    pub(super) fn new(server: &RedisServer) -> Result<Self, Failure> {
        let processors = available_parallelism()?.get();
        if processors > 1 {
            pin(std::process::id(), "0")?;
            let found = info(server, "server", "process_id");
            pin(found.ok_or("Redis does not say its id")?.parse()?, SERVERS)?;
        }
        Ok(Self(processors))
    }

    /// The processor of servers, for those that are started later.
    pub(super) fn server(&self) -> Option<&'static str> {
        (self.0 > 1).then_some(SERVERS)
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if self.0 > 1
            && let Err(error) = pin(std::process::id(), &format!("0-{}", self.0 - 1))
        {
            eprintln!("bench: this process stays on one processor: {error}");
        }
    }
}

fn pin(process: u32, processors: &str) -> Result<(), Failure> {
    // It fails for a thread that ends meanwhile, and then does not look at the others.
    let mut attempts = 3;
    loop {
        let mut pin = Command::new("taskset");
        pin.args(["-acp", processors, &process.to_string()]);
        attempts -= 1;
        match pin.stdout(Stdio::null()).status()? {
            status if status.success() => return Ok(()),
            status if attempts == 0 => return Err(format!("taskset: {status}").into()),
            _ => {}
        }
    }
}

/// What Redis says of itself.
pub(super) fn info(server: &RedisServer, section: &str, field: &str) -> Option<String> {
    let mut info = ::redis::cmd("INFO");
    let text: String = info.arg(section).query(&mut server.connection()).ok()?;
    let field = format!("{field}:");
    let value = text.lines().find_map(|line| line.strip_prefix(&field));
    value.map(|value| value.trim().to_owned())
}
