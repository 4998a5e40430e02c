//! The store in this process' memory. It is the reference for what the others do: where the text of
//! the traits leaves a doubt, they are to behave as this one.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use updraft_bus::{Bus, ChannelSettings, Channels};

use crate::clock::{StoreClock, millis};
use crate::{
    Answer, Append, Appended, AppendedBatch, Bounds, Create, End, Epoch, Features, Limit, Log,
    NewRecord, Offset, Page, Place, Read, Record, Register, RegisterKey, Registers, Removal, Store,
    Swap, Swapped, TopicError, TopicName, Version,
};

/// Topics and registers in this process' memory. Its clones are one store, which is gone with the
/// last of them.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<MemoryState>);

#[derive(Default)]
struct MemoryState {
    /// Filled by `open`, drained by `end`; bounded by the topics that a program allows.
    topics: Mutex<BTreeMap<TopicName, Arc<Mutex<MemoryTopic>>>>,
    registers: Mutex<RegisterTable>,
    clock: StoreClock,
    /// What wakes readers, in this process only.
    channels: OnceLock<Arc<Channels>>,
}

struct MemoryTopic {
    bounds: Bounds,
    /// Filled by `append`, drained by `trim` and `remove`.
    records: BTreeMap<Offset, Record>,
    /// The time of the last record.
    time: u64,
    dedup: DedupIds,
}

/// What was stored under the ids of the latest records.
#[derive(Default)]
struct DedupIds {
    by_id: HashMap<Box<str>, Appended>,
    /// Their ids by age, oldest first. Filled by `append`, which also drops those whose time is
    /// over.
    by_age: VecDeque<Box<str>>,
}

#[derive(Default)]
struct RegisterTable {
    /// Filled and drained by `swap`, which also removes those whose time is over, whenever there
    /// are twice as many as the last time.
    by_key: BTreeMap<RegisterKey, KeptRegister>,
    tidy_at: usize,
}

struct KeptRegister {
    register: Register,
    /// When it may be removed.
    expires: Option<u64>,
}

impl Memory {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty store whose clock is this function: milliseconds since 1970. For tests.
    pub fn with_clock(now: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(MemoryState {
            clock: StoreClock::new(now),
            ..MemoryState::default()
        }))
    }

    fn topic(&self, name: &TopicName) -> Result<Arc<Mutex<MemoryTopic>>, TopicError> {
        let topics = lock(&self.0.topics);
        topics.get(name).cloned().ok_or(TopicError::UnknownTopic)
    }

    fn now(&self) -> u64 {
        self.0.clock.now()
    }
}

impl From<Memory> for Store {
    fn from(memory: Memory) -> Self {
        let open = || Channels::new(Bus::default(), ChannelSettings::default());
        let channels = memory.0.channels.get_or_init(|| Arc::new(open()));
        let channels = Arc::clone(channels);
        Self::new(Arc::new(memory.clone()), Arc::new(memory), channels)
    }
}

impl Log for Memory {
    fn features(&self) -> Features {
        Features {
            durable: false,
            shared: false,
            atomic_batch: true,
            dedup: true,
            expect: true,
            remove: true,
            announces: false,
        }
    }

    fn open<'a>(&'a self, topic: &'a TopicName, create: Create) -> Answer<'a, Bounds> {
        Box::pin(async move {
            if create == Create::Never {
                return Ok(lock(&*self.topic(topic)?).bounds);
            }
            let mut topics = lock(&self.0.topics);
            let topic = topics.entry(topic.clone()).or_default();
            Ok(lock(topic).bounds)
        })
    }

    fn append<'a>(&'a self, topic: &'a TopicName, append: Append) -> Answer<'a, AppendedBatch> {
        Box::pin(async move {
            let topic = self.topic(topic)?;
            let now = self.now();
            lock(&topic).append(append, now)
        })
    }

    fn read<'a>(&'a self, topic: &'a TopicName, after: Place, limit: Limit) -> Answer<'a, Read> {
        Box::pin(async move {
            let topic = self.topic(topic)?;
            let topic = lock(&topic);
            Ok(topic.read(after, limit))
        })
    }

    fn trim<'a>(&'a self, topic: &'a TopicName, epoch: Epoch, up_to: Offset) -> Answer<'a, Bounds> {
        Box::pin(async move {
            let topic = self.topic(topic)?;
            let mut topic = lock(&topic);
            let removed = topic.trim(epoch, up_to);
            let bounds = topic.bounds;
            drop(topic);
            // Many records take a while, in which the topic can be used.
            drop(removed);
            Ok(bounds)
        })
    }

    fn remove<'a>(&'a self, topic: &'a TopicName, removal: Removal) -> Answer<'a, ()> {
        Box::pin(async move {
            let topic = self.topic(topic)?;
            lock(&topic).remove(&removal);
            Ok(())
        })
    }

    fn end<'a>(&'a self, topic: &'a TopicName, end: End) -> Answer<'a, ()> {
        Box::pin(async move {
            match end {
                End::Close => lock(&*self.topic(topic)?).bounds.closed = true,
                End::Delete => drop(lock(&self.0.topics).remove(topic)),
            }
            Ok(())
        })
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a TopicName>,
        limit: usize,
    ) -> Answer<'a, Vec<TopicName>> {
        Box::pin(async move {
            let topics = lock(&self.0.topics);
            let from = match after {
                Some(after) if after.as_str() >= prefix => Bound::Excluded(after.as_str()),
                _ => Bound::Included(prefix),
            };
            let names = topics.range::<str, _>((from, Bound::Unbounded));
            let names = names.map(|(name, _)| name);
            let names = names.take_while(|name| name.as_str().starts_with(prefix));
            Ok(names.take(limit).cloned().collect())
        })
    }
}

impl MemoryTopic {
    fn append(&mut self, append: Append, now: u64) -> Result<AppendedBatch, TopicError> {
        let time = now.max(self.time);
        self.dedup.forget(time, append.dedup_window);
        let bounds = &mut self.bounds;
        let is_new = |record: &NewRecord| {
            let known = record.dedup.as_ref().map(|id| self.dedup.by_id.get(id));
            known.flatten().is_none()
        };
        if append.records.iter().any(is_new) {
            if bounds.closed {
                return Err(TopicError::Closed);
            }
            if append
                .expect
                .is_some_and(|expected| expected != bounds.last)
            {
                return Err(TopicError::Conflict { last: bounds.last });
            }
        }
        let mut records = Vec::with_capacity(append.records.len());
        for record in append.records {
            let NewRecord {
                mark,
                dedup,
                content,
            } = record;
            if let Some(first) = dedup.as_ref().and_then(|id| self.dedup.by_id.get(id)) {
                let duplicate = true;
                records.push(Appended {
                    duplicate,
                    ..*first
                });
                continue;
            }
            let offset = bounds.last.saturating_add(1);
            bounds.last = offset;
            bounds.last_mark = mark;
            self.time = time;
            let appended = Appended::new(offset, mark, time, false);
            records.push(appended);
            if let Some(id) = dedup {
                self.dedup.remember(id, appended);
            }
            let record = Record::new(offset, mark, time, content);
            self.records.insert(offset, record);
        }
        Ok(AppendedBatch::new(bounds.epoch, records))
    }

    fn read(&self, after: Place, limit: Limit) -> Read {
        let bounds = self.bounds;
        if after.epoch != bounds.epoch {
            return Read::UnknownEpoch(bounds);
        }
        if after.offset > bounds.last {
            return Read::Ahead(bounds);
        }
        let held = if after.offset == bounds.last {
            Some(bounds.last_mark)
        } else {
            self.records.get(&after.offset).map(|record| record.mark)
        };
        if let (Some(mark), Some(held)) = (after.mark, held)
            && mark != held
        {
            return Read::Diverged(bounds);
        }
        let behind = (Bound::Excluded(after.offset), Bound::Unbounded);
        let mut behind = self.records.range(behind).map(|(_, record)| record);
        let mut records = Vec::new();
        let mut bytes: usize = 0;
        let mut next = bounds.end();
        for record in behind.by_ref() {
            bytes = bytes.saturating_add(record.content.size());
            let is_full = records.len() >= limit.count.max(1) || bytes > limit.bytes;
            if is_full && let Some(last) = records.last() {
                let last: &Record = last;
                next = Place::new(bounds.epoch, last.offset, last.mark);
                break;
            }
            records.push(record.clone());
        }
        Read::Page(Page::new(records, next, bounds))
    }

    /// Answers the records, for the caller to drop.
    fn trim(&mut self, epoch: Epoch, up_to: Offset) -> BTreeMap<Offset, Record> {
        let bounds = &mut self.bounds;
        if epoch != bounds.epoch {
            return BTreeMap::new();
        }
        let first = up_to.min(bounds.last).saturating_add(1);
        bounds.first = bounds.first.max(first);
        let kept = self.records.split_off(&bounds.first);
        std::mem::replace(&mut self.records, kept)
    }

    fn remove(&mut self, removal: &Removal) {
        if removal.epoch == self.bounds.epoch {
            self.bounds.horizon = self.bounds.horizon.max(removal.horizon);
            for offset in &removal.offsets {
                self.records.remove(offset);
            }
        }
    }
}

impl Default for MemoryTopic {
    fn default() -> Self {
        Self {
            bounds: Bounds::new(Epoch::draw()),
            records: BTreeMap::new(),
            time: 0,
            dedup: DedupIds::default(),
        }
    }
}

impl DedupIds {
    fn remember(&mut self, id: Box<str>, appended: Appended) {
        self.by_age.push_back(id.clone());
        self.by_id.insert(id, appended);
    }

    fn forget(&mut self, now: u64, window: Duration) {
        let window = millis(window);
        while let Some(id) = self.by_age.front() {
            let stored = self.by_id.get(id).map_or(0, |appended| appended.time);
            if stored.saturating_add(window) > now {
                return;
            }
            self.by_id.remove(id);
            self.by_age.pop_front();
        }
    }
}

impl Registers for Memory {
    fn get<'a>(&'a self, keys: &'a [RegisterKey]) -> Answer<'a, Vec<Option<Register>>> {
        Box::pin(async move {
            let now = self.now();
            let registers = lock(&self.0.registers);
            Ok(keys
                .iter()
                .map(|key| registers.get(key, now).cloned())
                .collect())
        })
    }

    fn swap<'a>(&'a self, swaps: Vec<Swap>) -> Answer<'a, Vec<Swapped>> {
        Box::pin(async move {
            let now = self.now();
            let mut registers = lock(&self.0.registers);
            let swapped = swaps.into_iter().map(|swap| registers.swap(swap, now));
            Ok(swapped.collect())
        })
    }

    fn scan<'a>(
        &'a self,
        namespace: &'a str,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> Answer<'a, Vec<(RegisterKey, Register)>> {
        Box::pin(async move {
            let now = self.now();
            let registers = lock(&self.0.registers);
            let from = RegisterKey::bound(namespace, prefix.max(after.unwrap_or_default()));
            let found = registers
                .by_key
                .range(from..)
                .take_while(|(key, _)| {
                    key.namespace() == namespace && key.name().starts_with(prefix)
                })
                .filter(|(key, _)| after.is_none_or(|after| key.name() > after))
                .filter_map(|(key, kept)| Some((key.clone(), kept.at(now)?.clone())));
            Ok(found.take(limit).collect())
        })
    }
}

impl RegisterTable {
    fn get(&self, key: &RegisterKey, now: u64) -> Option<&Register> {
        self.by_key.get(key).and_then(|kept| kept.at(now))
    }

    fn swap(&mut self, swap: Swap, now: u64) -> Swapped {
        let actual = self.get(&swap.key, now).map(|register| register.version);
        if actual != swap.expected {
            return Swapped::Conflict { actual };
        }
        let Some(value) = swap.value else {
            self.by_key.remove(&swap.key);
            return Swapped::Removed;
        };
        let version = Version::draw();
        let kept = KeptRegister {
            register: Register::new(version, value),
            expires: swap.expires.map(|after| now.saturating_add(millis(after))),
        };
        self.by_key.insert(swap.key, kept);
        self.tidy(now);
        Swapped::Written(version)
    }

    fn tidy(&mut self, now: u64) {
        if self.by_key.len() > self.tidy_at {
            self.by_key.retain(|_, kept| kept.at(now).is_some());
            self.tidy_at = self.by_key.len().saturating_mul(2).max(1024);
        }
    }
}

impl KeptRegister {
    /// The register, if its time is not over.
    fn at(&self, now: u64) -> Option<&Register> {
        let is_over = self.expires.is_some_and(|expires| expires <= now);
        (!is_over).then_some(&self.register)
    }
}

impl fmt::Debug for MemoryState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryState").finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
