//! Groups whose members are in several processes: each process shares the slots with the others,
//! and one that crashes or stands still is replaced and shut out.

use std::collections::BTreeSet;

use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep};
use updraft_topics::{Delivery, Group, GroupSettings, Member, OnPoison, Order, Topic};

use super::*;

/// Short, so that tests need not wait long; the machine may be slow.
const LEASE: Duration = Duration::from_secs(2);

const LONG: Duration = Duration::from_secs(60);

/// What a process has, in a runtime of its own. Dropping it is a crash: nothing is said to anybody.
struct Worker {
    runtime: Option<Runtime>,
    /// They outlive the runtime, so that it cannot say goodbye.
    _topics: Topics,
    group: Group,
}

impl Worker {
    async fn start(url: &str, settings: fn(GroupSettings) -> GroupSettings) -> Self {
        Self::with_lease(url, LEASE, settings).await
    }

    async fn with_lease(
        url: &str,
        lease: Duration,
        settings: fn(GroupSettings) -> GroupSettings,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let url = url.to_owned();
        let starting = runtime.spawn(async move {
            let topics = topics(&url).await.with_lease(lease);
            let orders = topics.topic("orders", Settings::default()).await.unwrap();
            let settings = settings(GroupSettings::on([&orders]));
            let group = topics.group("billing", settings).await.unwrap();
            (topics, group)
        });
        let (topics, group) = starting.await.unwrap();
        Self {
            runtime: Some(runtime),
            _topics: topics,
            group,
        }
    }

    fn group(&self) -> Group {
        self.group.clone()
    }

    /// Its tasks are gone before anything is dropped that they might hear of.
    async fn crash(&mut self) {
        let runtime = self.runtime.take().unwrap();
        let shutdown = move || runtime.shutdown_timeout(LONG);
        tokio::task::spawn_blocking(shutdown).await.unwrap();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn orders(url: &str) -> (Topics, Topic) {
    let topics = topics(url).await.with_lease(LEASE);
    let orders = topics.topic("orders", Settings::default()).await.unwrap();
    (topics, orders)
}

fn by_key(settings: GroupSettings) -> GroupSettings {
    settings.ack_wait(LONG * 10)
}

/// Publishes a record for each of so many keys.
async fn publish(orders: &Topic, keys: usize) {
    let entries = (0..keys).map(|key| Entry::value(&key).key(format!("key {key}")));
    orders.publish_many(entries).await.unwrap();
}

async fn wait(member: &mut Member, most: usize) -> Vec<Delivery> {
    let fetched = timeout(LONG, member.fetch(most)).await;
    fetched.expect("something to have").unwrap()
}

/// Fetches until a member has so many.
async fn gather(member: &mut Member, count: usize) -> Vec<Delivery> {
    let mut all = Vec::new();
    while all.len() < count {
        all.extend(wait(member, count - all.len()).await);
    }
    all
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < LONG, "never happened: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Which slots each process has, as the registers say.
async fn owners(url: &str) -> Vec<u128> {
    let store = open(url).await;
    let found = store
        .scan("group billing", "slot ", None, 100)
        .await
        .unwrap();
    let owners = found.iter().map(|(_, register)| {
        let owner = register.value.get(1..17).unwrap().try_into().unwrap();
        u128::from_be_bytes(owner)
    });
    owners.collect()
}

fn count(owners: &[u128]) -> Vec<usize> {
    let ids: BTreeSet<_> = owners.iter().collect();
    let count = |id| owners.iter().filter(|owner| *owner == id).count();
    let mut counts: Vec<_> = ids.into_iter().map(count).collect();
    counts.sort_unstable();
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_072_processes_share_the_slots_evenly_and_nobody_pauses() {
    let server = RedisServer::start();
    let url = server.url();
    let (_topics, orders) = orders(&url).await;
    let one = Worker::start(&url, by_key).await;
    publish(&orders, 200).await;
    let mut first = one.group().member("first");
    let mut seen = BTreeSet::new();
    let handle = async |deliveries: Vec<Delivery>, seen: &mut BTreeSet<u64>| {
        for delivery in deliveries {
            delivery.ack().await.unwrap();
            assert!(seen.insert(delivery.message().offset()), "delivered twice");
        }
    };
    let deliveries = wait(&mut first, 20).await;
    assert_eq!(count(&owners(&url).await), [64]);
    // Another process comes while the first one is at work: the slots of that work stay, until it
    // is done.
    let two = Worker::start(&url, by_key).await;
    let mut second = two.group().member("second");
    let others = gather(&mut second, 20).await;
    assert!(deliveries.iter().all(Delivery::is_current));
    handle(deliveries, &mut seen).await;
    handle(others, &mut seen).await;
    until("each has half", async || {
        count(&owners(&url).await) == [32, 32]
    })
    .await;
    let three = Worker::start(&url, by_key).await;
    let mut third = three.group().member("third");
    let some = wait(&mut third, 5).await;
    handle(some, &mut seen).await;
    until("each has a third", async || {
        count(&owners(&url).await) == [21, 21, 22]
    })
    .await;
    let stats = one.group().stats().await.unwrap();
    assert_eq!((stats.processes, stats.pending), (3, 0));
    // One leaves in good order, and the others have its share.
    second.leave().await.unwrap();
    until("each has half again", async || {
        count(&owners(&url).await) == [32, 32]
    })
    .await;
    while seen.len() < 200 {
        let (one, two) = tokio::join!(first.fetch_now(50), third.fetch_now(50));
        handle(one.unwrap(), &mut seen).await;
        handle(two.unwrap(), &mut seen).await;
    }
    until("all is finished", async || {
        let stats = one.group().stats().await.unwrap();
        (stats.topics[0].lag, stats.pending) == (0, 0)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_049_050_what_a_process_had_that_crashed_is_delivered_by_another() {
    let server = RedisServer::start();
    let url = server.url();
    let (_topics, orders) = orders(&url).await;
    let mut crashing = Worker::start(&url, by_key).await;
    publish(&orders, 30).await;
    let mut member = crashing.group().member("crashing");
    let lost = gather(&mut member, 30).await;
    for delivery in &lost[..10] {
        delivery.ack().await.unwrap();
    }
    let other = Worker::start(&url, by_key).await;
    let mut heir = other.group().member("heir");
    // It lives: what it has is its own, for as long as that takes.
    sleep(LEASE * 2).await;
    assert!(heir.fetch_now(99).await.unwrap().is_empty());
    assert!(lost[10..].iter().all(Delivery::is_current));
    crashing.crash().await;
    let again = gather(&mut heir, 20).await;
    for delivery in &again {
        let offset = delivery.message().offset();
        let before = lost
            .iter()
            .find(|it| it.message().offset() == offset)
            .unwrap();
        assert_eq!(delivery.deliveries(), 2);
        assert!(delivery.generation() > before.generation());
        delivery.ack().await.unwrap();
    }
    let stats = other.group().stats().await.unwrap();
    assert_eq!(
        (stats.topics[0].lag, stats.pending, stats.redeliveries),
        (0, 0, 20)
    );
}

/// Nobody waits for its lease, which is longer than this test may take.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_054_what_a_process_had_that_leaves_is_delivered_by_another() {
    let server = RedisServer::start();
    let url = server.url();
    let (_topics, orders) = orders(&url).await;
    let mut leaving = Worker::with_lease(&url, LONG * 10, by_key).await;
    publish(&orders, 30).await;
    let mut member = leaving.group().member("leaving");
    let held = gather(&mut member, 30).await;
    let other = Worker::with_lease(&url, LONG * 10, by_key).await;
    let mut heir = other.group().member("heir");
    assert!(heir.fetch_now(99).await.unwrap().is_empty());
    for delivery in &held[..10] {
        delivery.ack().await.unwrap();
    }
    timeout(LONG, member.leave()).await.unwrap().unwrap();
    // Its process ends as soon as it has left.
    leaving.crash().await;
    let again = gather(&mut heir, 20).await;
    for delivery in &again {
        assert_eq!(delivery.deliveries(), 1);
        delivery.ack().await.unwrap();
    }
    let stats = other.group().stats().await.unwrap();
    assert_eq!((stats.topics[0].lag, stats.processes), (0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_063_a_process_that_stands_still_is_shut_out() {
    let server = RedisServer::start();
    let url = server.url();
    let total = |settings: GroupSettings| settings.order(Order::Total).ack_wait(LONG * 10);
    let (_topics, orders) = orders(&url).await;
    let stopped = Worker::start(&url, total).await;
    let other = Worker::start(&url, total).await;
    publish(&orders, 3).await;
    let mut member = stopped.group().member("stopped");
    let held = gather(&mut member, 2).await;
    let mut heir = other.group().member("heir");
    assert!(heir.fetch_now(9).await.unwrap().is_empty());
    // The only thread of its runtime does nothing for a while.
    let runtime = stopped.runtime.as_ref().unwrap();
    let (end, ended) = std::sync::mpsc::sync_channel::<()>(1);
    runtime.spawn(async move { ended.recv().ok() });
    let again = gather(&mut heir, 3).await;
    assert!(again[0].generation() > held[0].generation());
    end.send(()).unwrap();
    for delivery in &held {
        assert_eq!(delivery.ack().await.unwrap_err().code(), "stale");
        assert!(!delivery.is_current());
    }
    for delivery in &again {
        delivery.ack().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_055_an_event_that_stops_each_process_is_a_dead_letter() {
    let server = RedisServer::start();
    let url = server.url();
    let (topics, orders) = orders(&url).await;
    let twice = |settings: GroupSettings| {
        settings
            .max_deliveries(2)
            .on_poison(OnPoison::Park)
            .ack_wait(LONG * 10)
    };
    publish(&orders, 1).await;
    for count in 1..=2 {
        let mut worker = Worker::start(&url, twice).await;
        let mut member = worker.group().member("w1");
        let poison = wait(&mut member, 1).await;
        assert_eq!(poison[0].deliveries(), count);
        worker.crash().await;
    }
    let group = topics.find_group("billing").await.unwrap();
    let mut member = group.member("w2");
    publish(&orders, 1).await;
    let next = wait(&mut member, 9).await;
    assert_eq!((next[0].message().offset(), next[0].deliveries()), (2, 1));
    next[0].ack().await.unwrap();
    let letters = group.dead_letters().list(9).await.unwrap();
    assert_eq!((letters.len(), letters[0].deliveries), (1, 2));
    assert!(
        group
            .dead_letters()
            .replay("orders", letters[0].id)
            .await
            .unwrap()
    );
    let again = wait(&mut member, 9).await;
    assert_eq!(again[0].deliveries(), 1);
    again[0].ack().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_090_a_group_goes_on_after_redis_was_emptied_or_restarted() {
    let mut server = RedisServer::start_durable();
    let (topics, orders) = orders(&server.url()).await;
    let group = topics
        .group("billing", by_key(GroupSettings::on([&orders])))
        .await
        .unwrap();
    publish(&orders, 10).await;
    let mut member = group.member("w1");
    let held = gather(&mut member, 10).await;
    server.restart();
    for delivery in &held {
        delivery.ack().await.unwrap();
    }
    publish(&orders, 10).await;
    for delivery in gather(&mut member, 10).await {
        assert!(delivery.message().offset() > 10);
        delivery.ack().await.unwrap();
    }
    assert_eq!(group.stats().await.unwrap().topics[0].lag, 0);
}
