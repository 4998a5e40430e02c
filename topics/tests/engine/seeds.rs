//! What users of emitter-rethinkdb, Redistribute and Streamable Topic did with a topic, call by
//! call.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use updraft_topics::{
    Compaction, Emitter, GroupSettings, Lease, OnLoss, Order, RegisterKey, Start, Store,
};

use super::*;

#[tokio::test]
async fn seed_040_041_042_an_emitter_is_a_store_and_a_topic_that_is_made() {
    let topics = Topics::open(Memory::new());
    let mut strict = Settings::default();
    strict.auto_create = false;
    let error = topics.topic("events", strict).await.unwrap_err();
    assert_eq!(error.code(), "unknown-topic");
    let made = topics.topic("events", Settings::default()).await.unwrap();
    let emitter = Emitter::on_topic(&made).open().await.unwrap();
    assert!(emitter.is_connected());
    assert_eq!(topics.list("", None, 9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn seed_043_events_are_a_timeline_within_the_retention() {
    let mut settings = Settings::default();
    settings.retention.max_records = Some(3);
    let (_topics, topic) = topic(settings).await;
    let emitter = Emitter::on_topic(&topic).open().await.unwrap();
    for number in 1..=5 {
        let triggered = emitter.trigger("n", number).unwrap();
        triggered.stored().await.unwrap();
    }
    emitter.close().await.unwrap();
    topic.sweep().await.unwrap();
    let mut reader = topic.reader(Start::Time(0), OnLoss::Fail).await.unwrap();
    let mut timeline = Vec::new();
    while let Some(Ok(Received::Message(message))) = reader.next_held().await {
        let event = message.value().unwrap();
        assert_eq!(event.get("event"), Some(&text("n")));
        timeline.push(event.get("args").unwrap().clone());
    }
    let expected = [3, 4, 5].map(|number| Value::from(vec![number]));
    assert_eq!(timeline, expected);
}

/// Counts what is logged by this crate.
#[derive(Clone, Default)]
struct Logged(Arc<AtomicUsize>);

impl tracing::Subscriber for Logged {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().starts_with("updraft_topics")
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        if *event.metadata().level() == tracing::Level::DEBUG {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn seed_055_each_event_is_logged_for_who_wants_to_see_it() {
    let logged = Logged::default();
    // As long as there is only one subscriber, `tracing` asks that of the thread which comes to a
    // line first: with another test's thread, that is none, and nobody is told from then on.
    let _second = tracing::Dispatch::new(Logged::default());
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().unwrap();
    tracing::subscriber::with_default(logged.clone(), || {
        runtime.block_on(async {
            let (_topics, topic) = topic(Settings::default()).await;
            let emitter = Emitter::on_topic(&topic).open().await.unwrap();
            let before = logged.0.load(Ordering::SeqCst);
            for number in 1..=3 {
                emitter.trigger("n", number).unwrap();
            }
            eventually("three are logged", async || {
                logged.0.load(Ordering::SeqCst) >= before + 3
            })
            .await;
        });
    });
}

#[tokio::test]
async fn seed_074_what_can_be_replayed_has_limits() {
    let (_topics, topic) = topic(Settings::default()).await;
    fill(&topic, 1, 5).await;
    let mut reader = topic.reader(Start::Earliest, OnLoss::Fail).await.unwrap();
    assert_eq!(numbers(&mut reader, 5).await, [1, 2, 3, 4, 5]);
    let mut settings = Settings::default();
    settings.retention.max_records = Some(2);
    let topics = Topics::open(Memory::new());
    let short = topics.topic("orders", settings).await.unwrap();
    fill(&short, 1, 5).await;
    short.sweep().await.unwrap();
    let mut reader = short.reader(Start::Earliest, OnLoss::Fail).await.unwrap();
    assert_eq!(numbers(&mut reader, 2).await, [4, 5]);
}

#[tokio::test]
async fn seed_075_a_fleet_of_workers_shares_a_stream() {
    let (topics, topic) = topic(Settings::default()).await;
    let group = topics.group("fleet", GroupSettings::on([&topic])).await;
    let group = group.unwrap();
    fill(&topic, 1, 40).await;
    let mut workers = ["a", "b"].map(|name| group.member(name));
    let mut done = Vec::new();
    while done.len() < 40 {
        for worker in &mut workers {
            let fetched = timeout(Duration::from_millis(200), worker.fetch(4)).await;
            for delivery in fetched.map(Result::unwrap).unwrap_or_default() {
                done.push(number(delivery.message()));
                delivery.ack().await.unwrap();
            }
        }
    }
    done.sort_unstable();
    assert!(done.into_iter().eq(1..=40));
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Stated {
    order: u32,
    state: String,
    /// Later ones have it.
    #[serde(default)]
    note: Option<String>,
}

fn stated(order: u32, state: &str) -> Stated {
    Stated {
        order,
        state: state.into(),
        note: None,
    }
}

async fn push(topic: &Topic, of: &Stated) -> updraft_topics::Position {
    let entry = Entry::value(of)
        .key(format!("customer {}", of.order % 2))
        .compact(format!("order {}", of.order));
    topic.publish(entry).await.unwrap().position
}

#[tokio::test]
async fn seed_089_092_093_messages_are_pushed_and_streamed_from_a_position() {
    let (_topics, topic) = topic(Settings::default()).await;
    let mut positions = Vec::new();
    for order in 1..=3 {
        positions.push(push(&topic, &stated(order, "new")).await);
    }
    for (start, expected) in [
        (Start::Earliest, vec![1, 2, 3]),
        (Start::Position(positions[0]), vec![2, 3]),
        (Start::Position(positions[2]), vec![]),
    ] {
        let mut reader = topic.reader(start, OnLoss::Fail).await.unwrap();
        let mut orders = Vec::new();
        while let Some(received) = reader.next_held().await {
            let Received::Message(message) = received.unwrap() else {
                panic!("nothing is lost");
            };
            assert_eq!(message.position(), positions[message.offset() as usize - 1]);
            orders.push(message.parse::<Stated>().unwrap().order);
        }
        assert_eq!(orders, expected);
    }
}

#[tokio::test]
async fn seed_090_messages_of_one_key_come_in_the_order_in_which_they_were_produced() {
    let (topics, topic) = topic(Settings::default()).await;
    let group = topics.group("billing", GroupSettings::on([&topic]).max_deliveries(99));
    let group = group.await.unwrap();
    for order in 0..60 {
        push(&topic, &stated(order, "new")).await;
    }
    let done: Arc<Mutex<BTreeMap<String, Vec<u32>>>> = Arc::default();
    let mut workers = tokio::task::JoinSet::new();
    for name in ["a", "b", "c"] {
        let (member, done) = (group.member(name), Arc::clone(&done));
        let mut calls = 0;
        workers.spawn(member.run(move |delivery| {
            calls += 1;
            let fails = calls % 7 == 0;
            let done = Arc::clone(&done);
            async move {
                if fails {
                    return Err("again".into());
                }
                let key = delivery.message().key().unwrap().to_owned();
                let of = delivery.message().parse::<Stated>()?.order;
                done.lock().unwrap().entry(key).or_default().push(of);
                Ok(())
            }
        }));
    }
    let count = || done.lock().unwrap().values().map(Vec::len).sum::<usize>();
    eventually("all are done", async || count() == 60).await;
    workers.abort_all();
    for orders in done.lock().unwrap().values() {
        assert!(orders.is_sorted(), "{orders:?}");
    }
}

#[tokio::test]
async fn seed_091_earlier_messages_of_an_id_are_removed() {
    let mut settings = Settings::default();
    let mut compaction = Compaction::default();
    compaction.min_lag = Duration::ZERO;
    settings.compaction = Some(compaction);
    let (_topics, topic) = topic(settings).await;
    for state in ["new", "paid", "sent"] {
        for order in 1..=2 {
            push(&topic, &stated(order, state)).await;
        }
    }
    sleep(Duration::from_millis(5)).await;
    topic.sweep().await.unwrap();
    let mut reader = topic.reader(Start::Earliest, OnLoss::Fail).await.unwrap();
    let mut left = Vec::new();
    while let Some(received) = reader.next_held().await {
        if let Received::Message(message) = received.unwrap() {
            left.push((message.offset(), message.parse::<Stated>().unwrap()));
        }
    }
    assert_eq!(left, [(5, stated(1, "sent")), (6, stated(2, "sent"))]);
}

#[tokio::test]
async fn seed_094_096_a_reader_says_each_time_that_there_is_nothing_more() {
    let (_topics, topic) = topic(Settings::default()).await;
    let mut reader = topic.reader(Start::Earliest, OnLoss::Fail).await.unwrap();
    for round in 0..3 {
        assert!(reader.next_held().await.is_none());
        assert!(reader.is_live());
        fill(&topic, round, round).await;
        assert_eq!(numbers(&mut reader, 1).await, [round]);
    }
    // There is nothing to start or to stop: a second reader of the same is one more.
    let mut other = topic.reader(Start::Earliest, OnLoss::Fail).await.unwrap();
    assert_eq!(numbers(&mut other, 3).await, [0, 1, 2]);
    drop(reader);
    assert!(other.next_held().await.is_none());
}

#[tokio::test]
async fn seed_095_097_what_does_not_fit_is_an_error_of_its_record() {
    let (topics, topic) = topic(Settings::default()).await;
    let old = updraft_protocol::ejson!({ "order": 1, "state": "new" });
    topic.publish(old).await.unwrap();
    topic
        .publish(updraft_protocol::ejson!({ "order": "two" }))
        .await
        .unwrap();
    let mut newer = stated(3, "new");
    newer.note = Some("a gift".into());
    push(&topic, &newer).await;
    let mut reader = topic.reader(Start::Earliest, OnLoss::Fail).await.unwrap();
    let mut parsed = Vec::new();
    for _ in 0..3 {
        parsed.push(message(&mut reader).await.parse::<Stated>());
    }
    assert_eq!(parsed[0].as_ref().unwrap(), &stated(1, "new"));
    assert_eq!(parsed[1].as_ref().unwrap_err().code(), "not-decoded");
    assert_eq!(parsed[2].as_ref().unwrap(), &newer);
    // And in a group it is set aside, with the reason.
    let group = topics.group("billing", GroupSettings::on([&topic])).await;
    let group = group.unwrap();
    let done = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&done);
    let working = group.member("a").run(move |delivery| {
        let counted = Arc::clone(&counted);
        async move {
            delivery.message().parse::<Stated>()?;
            counted.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    });
    let mut worker = tokio::task::JoinSet::new();
    worker.spawn(working);
    eventually("one is set aside", async || {
        group.dead_letters().list(9).await.unwrap().len() == 1 && done.load(Ordering::SeqCst) == 2
    })
    .await;
}

#[tokio::test]
async fn seed_098_the_same_program_runs_over_each_store() {
    async fn program(store: Store) {
        let topics = Topics::open(store);
        let topic = topics.topic("orders", Settings::default()).await.unwrap();
        let mut reader = topic.reader(Start::Latest, OnLoss::Fail).await.unwrap();
        push(&topic, &stated(1, "new")).await;
        let got = message(&mut reader).await.parse::<Stated>();
        assert_eq!(got.unwrap(), stated(1, "new"));
    }
    program(Memory::new().into()).await;
    // A store of another crate: these are the traits.
    let (_, store) = store::Faulty::new().store();
    program(store).await;
    #[cfg(feature = "file")]
    {
        let folder = updraft_test_support::folder::Folder::new("seeds");
        let store = updraft_topics::FileStore::open(folder.file("topics")).await;
        program(store.unwrap().into()).await;
    }
    #[cfg(feature = "redis")]
    {
        let redis = updraft_test_support::redis::RedisServer::start();
        let settings = updraft_topics::RedisSettings::default();
        let store = updraft_topics::RedisStore::open(&redis.url(), settings).await;
        let store = Arc::new(store.unwrap());
        let bus = updraft_bus::Redis::connect(&redis.url()).await.unwrap();
        let channels = updraft_bus::Channels::open(bus, Default::default()).unwrap();
        program(Store::new(store.clone(), store, Arc::new(channels))).await;
    }
}

#[tokio::test]
async fn seed_099_one_process_at_a_time_makes_a_topic_of_another() {
    let store = Store::from(Memory::new());
    let topics = Topics::open(store.clone());
    let topic = topics.topic("orders", Settings::default()).await.unwrap();
    for state in ["new", "paid"] {
        for order in 1..=3 {
            push(&topic, &stated(order, state)).await;
        }
    }
    // By a group: what one has, the other one has not.
    let settings = GroupSettings::on([&topic]).order(Order::Total);
    let group = topics.group("processor", settings).await.unwrap();
    let (mut one, mut two) = (group.member("one"), group.member("two"));
    let batch = timeout(Duration::from_secs(60), one.fetch(2)).await;
    let batch = batch.expect("the first ones").unwrap();
    assert!(
        timeout(Duration::from_millis(100), two.fetch(2))
            .await
            .is_err()
    );
    for delivery in batch {
        delivery.ack().await.unwrap();
    }
    // By a lease.
    let key = RegisterKey::new("processors", "states").unwrap();
    let lease = Lease::new(store.registers, key, Duration::from_secs(60));
    let held = lease.take().await;
    assert!(
        timeout(Duration::from_millis(100), lease.take())
            .await
            .is_err()
    );
    held.release().await;
    // The state, from its beginning.
    let mut reader = topic.reader(Start::Snapshot, OnLoss::Fail).await.unwrap();
    for order in 1..=3 {
        let got = message(&mut reader).await.parse::<Stated>();
        assert_eq!(got.unwrap(), stated(order, "paid"));
    }
}
