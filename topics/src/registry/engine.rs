//! A registry whose pools are open.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Registry;
use crate::nearest::nearest;
use crate::{
    Group, GroupSettings, Interest, Lease, RegisterKey, Settings, Topic, TopicError, Topics,
};

/// The pools, streams and groups of a registry. Its clones are handles of the same ones. What runs for
/// them in this process ends with the last handle of any kind, those of brokers, topics and groups
/// included.
#[derive(Clone, Debug)]
pub struct Engine(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pools: BTreeMap<String, Topics>,
    streams: BTreeMap<String, Stream>,
    groups: BTreeMap<String, DeclaredGroup>,
    /// After how long a consumer that has stopped is replaced.
    lease: Duration,
    /// The rights to be a numbered consumer of a group. Filled by `consumer_lease`, bounded by the
    /// numbers that the program uses.
    consumers: Mutex<HashMap<RegisterKey, Lease>>,
}

/// A stream, and where it belongs.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) topic: Topic,
    pub(crate) pool: String,
    /// In the order of their declaration.
    pub(crate) groups: Vec<String>,
}

/// A group, and where it belongs.
#[derive(Debug)]
pub(crate) struct DeclaredGroup {
    pub(crate) group: Group,
    pub(crate) pool: String,
}

impl Engine {
    pub(super) async fn open(registry: &Registry) -> Result<Self, TopicError> {
        let mut pools = BTreeMap::new();
        for pool in &registry.pools {
            let topics = pool.store.value.clone().open().await?;
            let topics = topics.with_lease(registry.lease);
            pools.insert(pool.name.value.clone(), topics);
        }
        let of_pool = |name: &str| pools.get(name).ok_or(TopicError::UnknownTopic);
        let mut streams = BTreeMap::new();
        for stream in &registry.streams {
            let name = &stream.name.value;
            let settings = settings_of(registry, name);
            let topics = of_pool(&stream.pool.value)?;
            let opened = Stream {
                topic: topics.topic(&**name, settings).await?,
                pool: stream.pool.value.clone(),
                groups: stream.groups().map(|group| group.value.clone()).collect(),
            };
            streams.insert(name.clone(), opened);
        }
        let mut groups = BTreeMap::new();
        for group in registry.groups() {
            let name = &group.value;
            // By name, so that the order of declarations makes no difference to an existing group.
            let reads = |stream: &&Stream| stream.groups.contains(name);
            let Some(first) = streams.values().find(reads) else {
                continue;
            };
            let topics = streams.values().filter(reads).map(|stream| &stream.topic);
            let mut settings = GroupSettings::on(topics);
            for (group, change) in &registry.group_settings {
                if group.value == *name {
                    settings = change(settings);
                }
            }
            let pool = first.pool.clone();
            let group = of_pool(&pool)?.group(name, settings).await?;
            groups.insert(name.clone(), DeclaredGroup { group, pool });
        }
        Ok(Self(Arc::new(Inner {
            pools,
            streams,
            groups,
            lease: registry.lease,
            consumers: Mutex::default(),
        })))
    }

    /// The topics of a pool, also those that the registry does not know.
    ///
    /// # Errors
    ///
    /// [`TopicError::Undeclared`].
    pub fn topics(&self, pool: &str) -> Result<&Topics, TopicError> {
        let pools = &self.0.pools;
        let found = pools.get(pool);
        found.ok_or_else(|| undeclared("pool", pool, pools.keys()))
    }

    /// The topic of a stream: to read it without a group, for example.
    ///
    /// # Errors
    ///
    /// [`TopicError::Undeclared`].
    pub fn topic(&self, stream: &str) -> Result<&Topic, TopicError> {
        Ok(&self.stream(stream)?.topic)
    }

    /// A group.
    ///
    /// # Errors
    ///
    /// [`TopicError::Undeclared`].
    pub fn group(&self, name: &str) -> Result<&Group, TopicError> {
        Ok(&self.declared_group(name)?.group)
    }

    /// The names of the streams, in the order of their bytes.
    pub fn streams(&self) -> impl Iterator<Item = &str> {
        self.0.streams.keys().map(String::as_str)
    }

    pub(crate) fn stream(&self, name: &str) -> Result<&Stream, TopicError> {
        let streams = &self.0.streams;
        let found = streams.get(name);
        found.ok_or_else(|| undeclared("stream", name, streams.keys()))
    }

    pub(crate) fn declared_group(&self, name: &str) -> Result<&DeclaredGroup, TopicError> {
        let groups = &self.0.groups;
        let found = groups.get(name);
        found.ok_or_else(|| undeclared("group", name, groups.keys()))
    }

    /// The right to be this consumer of the group. The same one each time, which remembers what it
    /// has seen of other owners.
    pub(crate) fn consumer_lease(&self, group: &str, number: u32) -> Result<Lease, TopicError> {
        let pool = &self.declared_group(group)?.pool;
        let key = RegisterKey::new(&format!("consumers of {group}"), &number.to_string())?;
        let registers = Arc::clone(&self.topics(pool)?.store().registers);
        let mut consumers = self
            .0
            .consumers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let lease = consumers
            .entry(key.clone())
            .or_insert_with(|| Lease::new(registers, key, self.0.lease));
        Ok(lease.clone())
    }
}

/// The settings of a stream: it is kept for its groups, unless the registry changes that.
fn settings_of(registry: &Registry, stream: &str) -> Settings {
    let mut settings = Settings::default();
    settings.retention.interest = Some(Interest::default());
    for (name, change) in &registry.stream_settings {
        if name.value == stream {
            change(&mut settings);
        }
    }
    settings
}

fn undeclared<'a>(
    what: &'static str,
    name: &str,
    known: impl Iterator<Item = &'a String>,
) -> TopicError {
    let nearest = nearest(name, known.map(String::as_str));
    TopicError::Undeclared {
        what,
        nearest: nearest.map(Into::into),
    }
}
