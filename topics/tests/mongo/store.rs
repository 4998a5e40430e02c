//! What MongoDB has of its own: delayed inserts, collections that vanish or belong to others, a
//! server that is away, and readers that nobody wakes.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mongodb::bson::{Bson, Document, doc};
use mongodb::{Collection, Database};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use updraft_bus::internal::InternalChannel;
use updraft_bus::{Bus, ChannelSettings, Channels, Redis};
use updraft_protocol::ejson;
use updraft_test_support::redis::RedisServer;
use updraft_topics::{
    Append, AppendedBatch, Bounds, Content, Create, End, Entry, Limit, Log, MongoStore, NewRecord,
    OnLoss, Page, Place, Read, Reader, Received, RegisterKey, Registers, ResetReason, Settings,
    Start, Store, Swap, Swapped, TopicName, Topics,
};

use crate::world::{World, settings};

/// The environment variable that makes of this program one that appends to the topic `orders` of
/// the MongoDB of this URL, until it is killed.
pub(crate) const WRITER: &str = "UPDRAFT_TEST_MONGO_WRITER";

pub(crate) fn topic(name: &str) -> TopicName {
    TopicName::new(name).unwrap()
}

fn text(text: impl Into<String>) -> NewRecord {
    NewRecord::new(7, Content::new(text.into()))
}

async fn created(store: &MongoStore, topic: &TopicName) -> Bounds {
    Log::open(store, topic, Create::IfMissing).await.unwrap()
}

async fn append(
    store: &MongoStore,
    topic: &TopicName,
    records: impl IntoIterator<Item = NewRecord>,
) -> AppendedBatch {
    let records = records.into_iter().collect();
    store.append(topic, Append::new(records)).await.unwrap()
}

pub(crate) async fn page(store: &MongoStore, topic: &TopicName, after: Place) -> Page {
    match store.read(topic, after, Limit::default()).await.unwrap() {
        Read::Page(page) => page,
        other => panic!("not a page: {other:?}"),
    }
}

pub(crate) fn payloads(page: &Page) -> Vec<(u64, &str)> {
    let records = page.records.iter();
    let records = records.map(|record| {
        let payload = record.content.payload.as_ref().unwrap();
        (record.offset, std::str::from_utf8(payload).unwrap())
    });
    records.collect()
}

/// The collection of a topic's records.
pub(crate) async fn records(database: &Database) -> Collection<Document> {
    let names = database.list_collection_names().await.unwrap();
    let name = names.iter().find(|name| name.starts_with("updraft_t_"));
    database.collection(name.expect("a topic has a collection"))
}

fn with_poll(poll: Duration) -> Settings {
    let mut settings = Settings::default();
    settings.poll = poll;
    settings.deadline = Duration::from_secs(60);
    settings
}

/// Settings with which no reader ever looks for itself.
fn no_poll() -> Settings {
    with_poll(Duration::from_secs(3600))
}

async fn numbers(reader: &mut Reader, count: usize) -> Vec<u64> {
    let mut numbers = Vec::new();
    while numbers.len() < count {
        let next = timeout(Duration::from_secs(60), reader.next()).await;
        match next.expect("a reader is not forgotten") {
            Some(Ok(Received::Message(message))) => {
                numbers.push(message.parse().unwrap());
            }
            other => panic!("no record: {other:?}"),
        }
    }
    numbers
}

/// One producer's inserts take long to arrive, another one's do not, and a reader follows both.
pub(crate) async fn topic_094_delayed_inserts_of_two_producers_lose_nothing(world: &World) {
    const EACH: usize = 60;
    let orders = topic("orders");
    let reading = world.store().await;
    let epoch = created(&reading, &orders).await.epoch;
    let (slow, fast) = (
        world.slow_store(Duration::from_millis(15)).await,
        world.store().await,
    );
    let mut producers = JoinSet::new();
    for (name, store) in [("slow", slow), ("fast", fast)] {
        let orders = orders.clone();
        producers.spawn(async move {
            for n in 0..EACH {
                append(&store, &orders, [text(format!("{name} {n}"))]).await;
                if name == "fast" {
                    // So that it is not done before the other one begins.
                    sleep(Duration::from_millis(20)).await;
                }
            }
        });
    }
    let mut place = Place::start(epoch);
    let mut seen = Vec::new();
    while seen.len() < 2 * EACH {
        let page = page(&reading, &orders, place).await;
        for (offset, payload) in payloads(&page) {
            seen.push(payload.to_owned());
            assert_eq!(offset, u64::try_from(seen.len()).unwrap());
        }
        place = page.next;
    }
    producers.join_all().await;
    for name in ["slow", "fast"] {
        let name = format!("{name} ");
        let own = seen.iter().filter_map(|text| text.strip_prefix(&name));
        assert!(own.eq((0..EACH).map(|n| n.to_string())));
    }
}

/// Producers go on with what was not answered, under its id.
pub(crate) async fn topic_095_another_primary_loses_and_doubles_nothing(world: &World) {
    const EACH: usize = 300;
    let orders = topic("orders");
    let store = world.store().await;
    let epoch = created(&store, &orders).await.epoch;
    let mut producers = JoinSet::new();
    for producer in 0..2 {
        let (store, orders) = (world.store().await, orders.clone());
        producers.spawn(async move {
            for n in 0..EACH {
                let parts = ["one", "two"].map(|part| format!("{producer} {n} {part}"));
                let records = parts.map(|it| text(it.clone()).dedup(it));
                let append = Append::new(records.into());
                while store.append(&orders, append.clone()).await.is_err() {
                    sleep(Duration::from_millis(50)).await;
                }
            }
        });
    }
    let client = world.database().await.client().clone();
    for _ in 0..3 {
        sleep(Duration::from_secs(1)).await;
        let step_down = doc! { "replSetStepDown": 1, "force": true };
        // The primary ends its connections, this one too.
        drop(client.database("admin").run_command(step_down).await);
    }
    producers.join_all().await;
    let mut place = Place::start(epoch);
    let mut seen = Vec::new();
    while seen.len() < 4 * EACH {
        let page = page(&store, &orders, place).await;
        assert!(!page.records.is_empty(), "{} of {}", seen.len(), 4 * EACH);
        for (offset, payload) in payloads(&page) {
            seen.push(payload.to_owned());
            assert_eq!(offset, u64::try_from(seen.len()).unwrap());
        }
        place = page.next;
    }
    for producer in 0..2 {
        let name = format!("{producer} ");
        let own = seen.iter().filter_map(|text| text.strip_prefix(&name));
        let expected = (0..EACH).flat_map(|n| ["one", "two"].map(|part| format!("{n} {part}")));
        assert!(own.eq(expected));
    }
}

/// Two processes that share nothing but MongoDB.
pub(crate) async fn topic_096_035_a_reader_that_nobody_wakes_polls(world: &World) {
    let here = Topics::open(world.store().await);
    let there = Topics::open(world.store().await);
    let poll = with_poll(Duration::from_millis(50));
    let publishing = there.topic("orders", no_poll()).await.unwrap();
    let reading = here.topic("orders", poll).await.unwrap();
    let mut reader = reading.reader(Start::Earliest, OnLoss::Fail).await.unwrap();
    for n in 1..=10_u64 {
        publishing.publish(Entry::value(&n)).await.unwrap();
        assert_eq!(numbers(&mut reader, 1).await, [n]);
    }
}

/// Two processes that share a bus over Redis.
pub(crate) async fn topic_020_redis_wakes_readers_in_another_process(world: &World) {
    let redis = RedisServer::start();
    let process = async || {
        let store = Arc::new(world.store().await);
        let redis = Redis::connect(&redis.url()).await.unwrap();
        let bus = Channels::open(redis, ChannelSettings::default()).unwrap();
        Topics::open(Store::new(store.clone(), store, Arc::new(bus)))
    };
    let (here, there) = (process().await, process().await);
    let publishing = there.topic("orders", no_poll()).await.unwrap();
    let reading = here.topic("orders", no_poll()).await.unwrap();
    let mut reader = reading.reader(Start::Earliest, OnLoss::Fail).await.unwrap();
    for n in 1..=10_u64 {
        let (read, _) = tokio::join!(numbers(&mut reader, 1), async {
            publishing.publish(Entry::value(&n)).await.unwrap();
        });
        assert_eq!(read, [n]);
    }
}

/// Those of other topics, those that say nothing, and those of which each comes many times.
pub(crate) async fn topic_096_036_wake_ups_may_come_too_often_and_for_nothing(world: &World) {
    let store = Store::from(world.store().await);
    let channels = Arc::clone(&store.channels);
    let topics = Topics::open(store);
    let orders = topics.topic("orders", no_poll()).await.unwrap();
    let mut reader = orders.reader(Start::Earliest, OnLoss::Fail).await.unwrap();
    let (read, ()) = tokio::join!(numbers(&mut reader, 50), async {
        for n in 1..=50_u64 {
            for name in ["orders", "payments", "orders", ""] {
                let name = ejson::Value::from(name);
                let sent = channels.emit_internally(InternalChannel::Topics, &name);
                sent.await.unwrap();
            }
            orders.publish(Entry::value(&n)).await.unwrap();
        }
    });
    assert!(read.into_iter().eq(1..=50));
}

/// Each read takes longer than the time between two publications.
pub(crate) async fn topic_096_037_a_wake_up_during_a_read_is_not_lost(world: &World) {
    let channels = Arc::new(Channels::new(Bus::default(), ChannelSettings::default()));
    let shared = |store: MongoStore| {
        let store = Arc::new(store);
        Topics::open(Store::new(store.clone(), store, Arc::clone(&channels)))
    };
    let here = shared(world.slow_store(Duration::from_millis(20)).await);
    let there = shared(world.store().await);
    let publishing = there.topic("orders", no_poll()).await.unwrap();
    let reading = here.topic("orders", no_poll()).await.unwrap();
    let mut reader = reading.reader(Start::Earliest, OnLoss::Fail).await.unwrap();
    for n in (1..=40_u64).step_by(2) {
        let (read, ()) = tokio::join!(numbers(&mut reader, 2), async {
            publishing.publish(Entry::value(&n)).await.unwrap();
            sleep(Duration::from_millis(n)).await;
            publishing.publish(Entry::value(&(n + 1))).await.unwrap();
        });
        assert_eq!(read, [n, n + 1]);
    }
}

/// Its records have no holes, and what it was told is there.
pub(crate) async fn topic_086_a_writer_is_killed(world: &World) {
    let orders = topic("orders");
    let store = world.store().await;
    let epoch = created(&store, &orders).await.epoch;
    let mut acknowledged = 0;
    for round in 1..=5 {
        let mut writer = Command::new(std::env::current_exe().unwrap())
            .env(WRITER, world.url())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
        for _ in 0..5 * round {
            acknowledged = lines.next().unwrap().unwrap().parse::<u64>().unwrap();
        }
        writer.kill().unwrap();
        writer.wait().unwrap();
        // What it had printed before.
        for line in lines.map_while(Result::ok) {
            acknowledged = line.parse().unwrap_or(acknowledged);
        }
        append(&store, &orders, [text("behind")]).await;
        let mut place = Place::start(epoch);
        let mut count = 0;
        loop {
            let page = page(&store, &orders, place).await;
            for (offset, _) in payloads(&page) {
                count += 1;
                assert_eq!(offset, count);
            }
            place = page.next;
            if place.offset == page.bounds.last {
                break;
            }
        }
        assert!(count > acknowledged, "{count} of {acknowledged}");
    }
}

/// Appends until it is killed, and prints what it was told.
pub(crate) async fn write(url: &str) {
    let store = MongoStore::open(url, settings()).await.unwrap();
    for n in 0_u64.. {
        let records = ["one", "two", "three"].map(|part| text(format!("{n} {part}")));
        let batch = append(&store, &topic("orders"), records).await;
        println!("{}", batch.records[2].offset);
    }
}

/// Its records, the list of topics, and the whole database.
pub(crate) async fn topic_026_a_topic_of_which_something_is_gone_begins_again(world: &World) {
    let database = world.database().await;
    let topics = Topics::open(world.store().await);
    let orders = topics.topic("orders", no_poll()).await.unwrap();
    let mut last = orders.publish(Entry::value(&1)).await.unwrap();
    for gone in ["records", "list", "database"] {
        match gone {
            "records" => records(&database).await.drop().await.unwrap(),
            "list" => {
                let list = database.collection::<Document>("updraft_topics");
                list.drop().await.unwrap();
            }
            _ => database.drop().await.unwrap(),
        }
        let next = orders.publish(Entry::value(&2)).await.unwrap();
        assert_eq!(next.offset, 1, "{gone}");
        let lost = orders.reader(last.position, OnLoss::Fail).await;
        let lost = match lost {
            Ok(mut reader) => reader.next().await.unwrap().unwrap_err(),
            Err(lost) => lost,
        };
        let updraft_topics::TopicError::Reset(reset) = lost else {
            panic!("{gone}: {lost:?}");
        };
        assert_eq!(reset.reason, ResetReason::UnknownEpoch);
        last = next;
    }
}

/// Its neighbours are read.
pub(crate) async fn topic_087_a_damaged_record_is_an_error_with_its_offset(world: &World) {
    let orders = topic("orders");
    let store = world.store().await;
    let epoch = created(&store, &orders).await.epoch;
    append(&store, &orders, [text("1"), text("2"), text("3")]).await;
    let records = records(&world.database().await).await;
    let is_second = || doc! { "_id": 2_i64 };
    let whole = records.find_one(is_second()).await.unwrap().unwrap();
    let mut flipped = whole.clone();
    if let Some(Bson::Binary(content)) = flipped.get_mut("c") {
        *content.bytes.last_mut().unwrap() ^= 1;
    }
    let mut other_type = whole.clone();
    other_type.insert("c", "text");
    let mut other_mark = whole;
    other_mark.insert("m", 8_i64);
    for damaged in [flipped, other_type, other_mark] {
        records.replace_one(is_second(), damaged).await.unwrap();
        let held = page(&store, &orders, Place::start(epoch)).await;
        assert_eq!(payloads(&held), [(1, "1")]);
        let behind = store.read(&orders, held.next, Limit::default()).await;
        let error = behind.unwrap_err();
        assert_eq!(error.code(), "damaged-record");
        assert!(error.to_string().contains("record 2 "), "{error}");
        let held = page(&store, &orders, Place::unmarked(epoch, 2)).await;
        assert_eq!(payloads(&held), [(3, "3")]);
    }
}

/// It is an error in time, also when it is silent, and what was to be stored is stored once.
pub(crate) async fn topic_013_a_mongodb_that_is_away_is_an_error_within_the_deadline(
    world: &World,
) {
    let Some(proxy) = world.proxy() else {
        return;
    };
    let orders = topic("orders");
    let patient = world.store().await;
    let mut settings = settings();
    settings.deadline = Duration::from_millis(500);
    let hasty = loop {
        // On a slow machine it may take longer.
        if let Ok(store) = MongoStore::open(world.url(), settings.clone()).await {
            break store;
        }
    };
    let epoch = created(&patient, &orders).await.epoch;
    proxy.black_hole(true);
    let record = || Append::new(vec![text("1").dedup("id")]);
    for _ in 0..2 {
        let error = hasty.append(&orders, record()).await.unwrap_err();
        assert_eq!(error.code(), "backend-unavailable");
    }
    let error = hasty.list("", None, 1).await.unwrap_err();
    assert_eq!(error.code(), "backend-unavailable");
    let error = MongoStore::open(world.url(), settings.clone())
        .await
        .unwrap_err();
    assert_eq!(error.code(), "not-opened");
    proxy.black_hole(false);
    proxy.cut();
    for expected in [false, true] {
        let batch = loop {
            // The first may meet a connection that was cut.
            if let Ok(batch) = patient.append(&orders, record()).await {
                break batch;
            }
        };
        let is_duplicate = batch.records[0].duplicate;
        assert!(is_duplicate || !expected);
    }
    let held = page(&patient, &orders, Place::start(epoch)).await;
    assert_eq!(payloads(&held), [(1, "1")]);
}

/// Times stay, and ids count.
pub(crate) async fn topic_097_a_clock_that_is_set_back_changes_nothing(world: &World) {
    let clock = Arc::new(AtomicU64::new(7_200_000));
    let now = Arc::clone(&clock);
    let now = move || now.load(Ordering::SeqCst);
    let store = MongoStore::open_with_clock(world.url(), settings(), now)
        .await
        .unwrap();
    let orders = topic("orders");
    created(&store, &orders).await;
    let first = append(&store, &orders, [text("1").dedup("id")])
        .await
        .records[0];
    assert_eq!(first.time, 7_200_000);
    clock.store(3_600_000, Ordering::SeqCst);
    let again = append(&store, &orders, [text("1").dedup("id")])
        .await
        .records[0];
    assert!(again.duplicate);
    let second = append(&store, &orders, [text("2")]).await.records[0];
    assert_eq!((second.offset, second.time), (2, first.time));
    let key = RegisterKey::new("space", "a").unwrap();
    let swap = Swap::write(key.clone(), None, "x").unwrap();
    let swap = swap.expires(Duration::from_secs(60));
    let swapped = store.swap(vec![swap]).await.unwrap();
    assert!(matches!(swapped[..], [Swapped::Written(_)]));
    clock.store(3_700_000, Ordering::SeqCst);
    assert_eq!(store.get(&[key]).await.unwrap(), [None]);
}

/// With other stores, and documents of other programs in between.
pub(crate) async fn topic_112_no_foreign_collection_is_touched(world: &World) {
    let database = world.database().await;
    let foreign = [
        "users",
        "updraft",
        "updraft_t",
        "updraft_topics2",
        "topics",
        "nextids",
    ];
    for name in foreign {
        let collection = database.collection::<Document>(name);
        collection
            .insert_one(doc! { "_id": name, "n": 1 })
            .await
            .unwrap();
    }
    let one = world.store().await;
    let mut settings = settings();
    settings.prefix = "updraft_t".into();
    let two = MongoStore::open(world.url(), settings).await.unwrap();
    let names = ["a", "a/b", "$a", "a.b", "system.users", "A"];
    for name in names {
        let topic = topic(name);
        created(&one, &topic).await;
        created(&two, &topic).await;
        append(&one, &topic, [text("one").dedup("id")]).await;
        append(&two, &topic, [text("two")]).await;
        // A document whose number is none is not looked at.
        records(&database)
            .await
            .insert_one(doc! { "m": 1 })
            .await
            .unwrap();
        let key = RegisterKey::new(name, name).unwrap();
        let swap = || vec![Swap::write(key.clone(), None, name.to_owned()).unwrap()];
        for store in [&one, &two] {
            let swapped = store.swap(swap()).await.unwrap();
            assert!(matches!(swapped[..], [Swapped::Written(_)]));
        }
    }
    for name in names {
        one.end(&topic(name), End::Delete).await.unwrap();
    }
    for name in names {
        let epoch = created(&two, &topic(name)).await.epoch;
        let held = page(&two, &topic(name), Place::start(epoch)).await;
        assert_eq!(payloads(&held), [(1, "two")]);
    }
    assert_eq!(one.list("", None, 99).await.unwrap(), []);
    assert_eq!(two.list("", None, 99).await.unwrap().len(), names.len());
    for name in foreign {
        let collection = database.collection::<Document>(name);
        let found = collection.find_one(doc! {}).await.unwrap().unwrap();
        assert_eq!(found.get_str("_id").unwrap(), name);
    }
}

/// In a line, and without the password.
pub(crate) async fn a_mongodb_that_is_no_use_is_said_in_a_line(_world: &World) {
    let mut settings = settings();
    settings.deadline = Duration::from_millis(200);
    for (url, expected) in [
        (
            "mongodb://u:secret@127.0.0.1:1/x",
            "no MongoDB that takes writes answers; see that it runs, and that the URL has its \
             address and its password",
        ),
        (
            "redis://u:secret@127.0.0.1/x",
            "its URL is not valid; write it as mongodb://HOST:27017/DATABASE, with \
             USER:PASSWORD@ before HOST if need be, in which %40 stands for @",
        ),
        (
            "mongodb://u:secret@127.0.0.1:1",
            "its URL names no database; put it behind the host, as in mongodb://127.0.0.1/topics",
        ),
    ] {
        let error = MongoStore::open(url, settings.clone()).await.unwrap_err();
        assert_eq!(error.code(), "not-opened");
        let expected = format!("the store in MongoDB cannot be opened: {expected}");
        assert_eq!(error.to_string(), expected);
        let cause = std::error::Error::source(&error).unwrap();
        assert!(!format!("{error:?} {cause:?}").contains("secret"));
    }
}
