//! Groups on the store's registers: sharing, order, failures, dead letters, and taking over.

mod answers;
mod faults;
mod options;
mod order;
mod retention;
mod run;

pub use self::answers::*;
pub use self::faults::*;
pub use self::options::*;
pub use self::order::*;
pub use self::retention::*;
pub use self::run::*;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use updraft_bus::Channels;

use super::{Handles, Harness, PATIENCE, channels, second};
use crate::{
    Answer, Delivery, Entry, Group, GroupSettings, GroupStats, Interest, Member, Register,
    RegisterKey, Registers, Settings, Store, Swap, Swapped, Topic, Topics,
};

/// Short, so that a test need not wait for long. A slow store loses its slots now and then.
const LEASE: Duration = Duration::from_secs(2);

/// A process' way to the registers, which can be cut as a crash would.
#[derive(Debug)]
struct Way {
    registers: Arc<dyn Registers>,
    is_cut: AtomicBool,
}

impl Way {
    async fn pass(&self) {
        while self.is_cut.load(Ordering::SeqCst) {
            sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Registers for Way {
    fn get<'a>(&'a self, keys: &'a [RegisterKey]) -> Answer<'a, Vec<Option<Register>>> {
        Box::pin(async move {
            self.pass().await;
            self.registers.get(keys).await
        })
    }

    fn swap<'a>(&'a self, swaps: Vec<Swap>) -> Answer<'a, Vec<Swapped>> {
        Box::pin(async move {
            self.pass().await;
            self.registers.swap(swaps).await
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
            self.pass().await;
            self.registers.scan(namespace, prefix, after, limit).await
        })
    }
}

/// A process that takes part in a group.
struct Process {
    way: Arc<Way>,
    orders: Topic,
    group: Group,
}

impl Process {
    async fn start(
        store: &Handles,
        channels: &Arc<Channels>,
        settings: impl FnOnce(GroupSettings) -> GroupSettings,
    ) -> Self {
        let way = Arc::new(Way {
            registers: Arc::clone(&store.registers),
            is_cut: AtomicBool::new(false),
        });
        let store = Store::new(Arc::clone(&store.log), way.clone(), Arc::clone(channels));
        let topics = Topics::open(store).with_lease(LEASE);
        let mut of_topic = Settings {
            // What the other process publishes is not announced here.
            poll: Duration::from_millis(50),
            ..Settings::default()
        };
        of_topic.retention.interest = Some(Interest::default());
        let orders = topics.topic("orders", of_topic).await.unwrap();
        let settings = settings(GroupSettings::on([&orders]));
        let group = topics.group("billing", settings).await.unwrap();
        Self { way, orders, group }
    }
}

async fn publish(orders: &Topic, keys: usize, count: usize) {
    let entries = (0..count).map(|n| Entry::value(&n).key(format!("key {}", n % keys)));
    let entries: Vec<_> = entries.collect();
    for batch in entries.chunks(50) {
        orders.publish_many(batch.iter().cloned()).await.unwrap();
    }
}

async fn fetch(member: &mut Member, most: usize) -> Vec<Delivery> {
    let fetched = timeout(PATIENCE, member.fetch(most)).await;
    fetched.expect("something to have").unwrap()
}

/// The topics of a process that nobody takes anything from, however slow the store is.
async fn patient(harness: &impl Harness) -> Topics {
    let store = harness.open().await;
    Topics::open(store.with(&channels())).with_lease(PATIENCE)
}

async fn orders(topics: &Topics) -> Topic {
    topics.topic("orders", Settings::default()).await.unwrap()
}

/// A group in which no record is taken back because a slow machine takes long.
fn settings(topic: &Topic) -> GroupSettings {
    GroupSettings::on([topic]).ack_wait(PATIENCE * 10)
}

/// Fetches until the member has so many more.
async fn gather(member: &mut Member, count: usize) -> Vec<Delivery> {
    let mut all = Vec::new();
    while all.len() < count {
        all.extend(fetch(member, count - all.len()).await);
    }
    all
}

async fn ack_all(deliveries: &[Delivery]) {
    for delivery in deliveries {
        delivery.ack().await.unwrap();
    }
}

fn offsets(deliveries: &[Delivery]) -> Vec<u64> {
    deliveries.iter().map(|it| it.message().offset()).collect()
}

async fn until(group: &Group, what: &str, holds: impl Fn(&GroupStats) -> bool) {
    let began = Instant::now();
    loop {
        let stats = group.stats().await.unwrap();
        if holds(&stats) {
            return;
        }
        assert!(
            began.elapsed() < PATIENCE,
            "never happened: {what}: {stats:?}"
        );
        sleep(Duration::from_millis(20)).await;
    }
}

fn is_finished(stats: &GroupStats) -> bool {
    stats.pending == 0 && stats.topics.iter().all(|topic| topic.lag == 0)
}

/// In two processes, with failures, and in the order of each key. All that is finished is removed
/// from a topic that is kept for its groups.
pub async fn topic_047_067_075_members_share_records_and_keep_the_order_of_keys(
    harness: &impl Harness,
) {
    let store = harness.open().await;
    let other = second(harness, &store).await;
    let channels = channels();
    let one = Process::start(&store, &channels, |it| it).await;
    let two = Process::start(&other, &channels, |it| it).await;
    publish(&one.orders, 10, 200).await;
    let left = Arc::new(AtomicUsize::new(200));
    let mut workers = JoinSet::new();
    for n in 0..4 {
        let group = if n % 2 == 0 { &one.group } else { &two.group };
        let mut member = group.member(&format!("w{n}"));
        let left = Arc::clone(&left);
        workers.spawn(async move {
            let mut finished = Vec::new();
            while left.load(Ordering::SeqCst) > 0 {
                let fetched = timeout(LEASE / 10, member.fetch(5)).await;
                for delivery in fetched.map_or_else(|_| Vec::new(), Result::unwrap) {
                    if !delivery.is_current() {
                        continue;
                    }
                    let message = delivery.message();
                    let (key, offset) = (message.key().unwrap().to_owned(), message.offset());
                    // The next one of its key may be handled before its answer is heard of.
                    let at = Instant::now();
                    if delivery.deliveries() == 1 && offset % 7 == 0 {
                        drop(delivery.nack(None).await);
                    } else if delivery.ack().await.is_ok() {
                        left.fetch_sub(1, Ordering::SeqCst);
                        finished.push((key, offset, at));
                    }
                }
            }
            finished
        });
    }
    let mut finished: Vec<_> = workers.join_all().await.concat();
    finished.sort_by_key(|(_, _, at)| *at);
    let mut keys: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for (key, offset, _) in finished {
        keys.entry(key).or_default().push(offset);
    }
    assert_eq!(keys.values().map(Vec::len).sum::<usize>(), 200);
    for (key, offsets) in keys {
        assert!(offsets.is_sorted(), "{key}: {offsets:?}");
    }
    until(&one.group, "all is finished", is_finished).await;
    let began = Instant::now();
    while one.orders.bounds().await.unwrap().first <= 200 {
        assert!(began.elapsed() < PATIENCE, "the records are still there");
        sleep(Duration::from_millis(50)).await;
    }
}

/// With a higher generation, and is shut out when it comes back.
pub async fn topic_049_050_a_process_that_is_cut_off_is_replaced(harness: &impl Harness) {
    let store = harness.open().await;
    let other = second(harness, &store).await;
    let channels = channels();
    let settings = |it: GroupSettings| it.ack_wait(PATIENCE * 10);
    let one = Process::start(&store, &channels, settings).await;
    publish(&one.orders, 20, 20).await;
    let mut member = one.group.member("one");
    let mut held = Vec::new();
    while held.len() < 20 {
        held.extend(fetch(&mut member, 20).await);
    }
    held[0].ack().await.unwrap();
    let done = held.remove(0).message().offset();

    let two = Process::start(&other, &channels, settings).await;
    let mut heir = two.group.member("two");
    one.way.is_cut.store(true, Ordering::SeqCst);
    let mut again = Vec::new();
    while again.len() < 19 {
        again.extend(fetch(&mut heir, 20).await);
    }
    one.way.is_cut.store(false, Ordering::SeqCst);
    for delivery in &again {
        let offset = delivery.message().offset();
        assert_ne!(offset, done);
        let before = held.iter().find(|it| it.message().offset() == offset);
        let before = before.unwrap();
        assert!(delivery.generation() > before.generation());
        assert!(delivery.deliveries() >= 2 && !before.is_current());
        assert_eq!(before.ack().await.unwrap_err().code(), "stale");
    }
    drop(member);
    for delivery in again {
        // The store may have been slow, so that it had to be delivered once more.
        if delivery.ack().await.is_err() {
            sleep(LEASE).await;
        }
    }
    while !is_finished(&two.group.stats().await.unwrap()) {
        if let Ok(fetched) = timeout(LEASE, heir.fetch(20)).await {
            for delivery in fetched.unwrap() {
                drop(delivery.ack().await);
            }
        }
    }
}

/// And are replayed or dropped.
pub async fn topic_055_057_records_that_fail_become_dead_letters(harness: &impl Harness) {
    let store = harness.open().await;
    let settings = |it: GroupSettings| it.max_deliveries(2);
    let process = Process::start(&store, &channels(), settings).await;
    let (orders, group) = (&process.orders, &process.group);
    publish(orders, 1, 3).await;
    let mut member = group.member("w1");
    let began = Instant::now();
    while group.dead_letters().count().await.unwrap() < 2 {
        assert!(began.elapsed() < PATIENCE, "no dead letters");
        let Ok(fetched) = timeout(LEASE, member.fetch(1)).await else {
            continue;
        };
        for delivery in fetched.unwrap() {
            let outcome = match delivery.message().offset() {
                1 => delivery.reject("no").await,
                2 => delivery.nack(None).await,
                _ => delivery.ack().await,
            };
            drop(outcome);
        }
    }
    let letters = group.dead_letters().list(9).await.unwrap();
    let offsets: Vec<_> = letters.iter().map(|letter| letter.offset).collect();
    assert_eq!(offsets, [1, 2]);
    assert_eq!(letters[0].reason, "no");
    if store.log.features().remove {
        let dead = group.dead_letters();
        assert!(dead.drop("orders", letters[0].id).await.unwrap());
        assert!(dead.replay("orders", letters[1].id).await.unwrap());
        assert!(dead.list(9).await.unwrap().is_empty());
        let mut replayed = false;
        while !replayed {
            for delivery in fetch(&mut member, 9).await {
                replayed |= delivery.message().parse::<u64>().unwrap() == 1;
                drop(delivery.ack().await);
            }
        }
    }
    until(group, "all is finished", is_finished).await;
}
