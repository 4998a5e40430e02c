//! Documents of the outbox become records, once each and in order, whatever becomes of the
//! processes that copy them; and the examples of `docs/ingest.md` work as they are written.

use std::collections::{BTreeMap, HashMap};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use mongodb::bson::oid::ObjectId;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, DateTime, Document, doc};
use mongodb::{Collection, Database};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use updraft_protocol::ejson;
use updraft_test_support::page::Page as Guide;
use updraft_test_support::script::installed;
use updraft_topics::{
    Codec, Create, Entry, Log, MongoStore, OnLoss, Outbox, OutboxSettings, OutboxStats, Place,
    Received, Record, Settings, Start, Topics,
};

use crate::store::{page, records, topic};
use crate::world::{World, settings};

/// The environment variables that make of this program a copier for the MongoDB of this URL, whose
/// clock is so many milliseconds ahead, until it is killed.
pub(crate) const COPIER: &str = "UPDRAFT_TEST_MONGO_COPIER";
const AHEAD: &str = "UPDRAFT_TEST_MONGO_AHEAD";

const LIMITS: ejson::JsonLimits = ejson::JsonLimits::new(64, usize::MAX);

/// How long an id for deduplication counts, twice.
const LONG: u64 = 10 * 60 * 1000;

/// Inserts `{topic, payload: {source, n}, at}` one after the other, each when the one before is
/// answered.
const PRODUCER: &str = "
    import { MongoClient } from 'mongodb';
    const [source, count] = process.argv.slice(1);
    const client = new MongoClient(process.env.MONGO_URL);
    const outbox = client.db().collection('updraft_outbox');
    for (let n = 0; n < Number(count); n += 1) {
      const event = { topic: 'orders', payload: { source, n }, key: source, at: new Date() };
      // As Meteor does it, whose ids are not in order.
      if (source === 'meteor') event._id = Math.random().toString(36).slice(2) + n;
      if (source === 'meteor') event.at = new Date(1700000000000 + n);
      await outbox.insertOne(event);
    }
    await client.close();
";

fn outbox_settings() -> OutboxSettings {
    let mut settings = OutboxSettings::default();
    settings.poll = Duration::from_millis(5);
    settings.lease = Duration::from_secs(1);
    settings
}

fn outbox_of(database: &Database) -> Collection<Document> {
    database.collection("updraft_outbox")
}

fn rejected_of(database: &Database) -> Collection<Document> {
    database.collection("updraft_outbox_rejected")
}

async fn count(collection: &Collection<Document>) -> u64 {
    collection.count_documents(doc! {}).await.unwrap()
}

/// Copies until the outbox is empty, and ends in good order.
async fn copy_all(outbox: &Outbox, database: &Database) {
    let is_empty = async {
        while count(&outbox_of(database)).await > 0 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        _ = outbox.run() => {}
        done = timeout(Duration::from_secs(120), is_empty) => done.unwrap(),
    }
}

/// All records of a topic.
async fn all(store: &MongoStore, name: &str) -> Vec<Record> {
    let topic = topic(name);
    let epoch = Log::open(store, &topic, Create::Never).await.unwrap().epoch;
    let mut records = Vec::new();
    let mut place = Place::start(epoch);
    loop {
        let page = page(store, &topic, place).await;
        place = page.next;
        records.extend(page.records);
        if place.offset == page.bounds.last {
            return records;
        }
    }
}

fn payload(record: &Record) -> &str {
    std::str::from_utf8(record.content.payload.as_ref().unwrap()).unwrap()
}

fn payloads(records: &[Record]) -> Vec<&str> {
    records.iter().map(payload).collect()
}

fn event(n: i32) -> Document {
    doc! { "topic": "orders", "payload": n, "at": DateTime::from_millis(n.into()) }
}

pub(crate) async fn a_document_becomes_a_record_with_all_its_members_and_wakes_readers(
    world: &World,
) {
    let store = world.store().await;
    let topics = Topics::open(store.clone());
    let mut no_poll = Settings::default();
    no_poll.poll = Duration::from_secs(3600);
    no_poll.deadline = Duration::from_secs(60);
    let orders = topics.topic("orders", no_poll).await.unwrap();
    let mut reader = orders.reader(Start::Latest, OnLoss::Fail).await.unwrap();
    let outbox = Arc::new(Outbox::new(&store, &topics, outbox_settings()).unwrap());
    let mut copying = JoinSet::new();
    let copier = Arc::clone(&outbox);
    copying.spawn(async move {
        copier.run().await;
    });
    let documents = outbox_of(&world.database().await);
    let id = ObjectId::from_bytes([1; 12]);
    let whole = doc! {
        "topic": "orders",
        "payload": { "id": id, "at": DateTime::from_millis(5), "n": [1, 2.5, null] },
        "at": DateTime::now(),
        "key": "customer 3",
        "compact": "order 7",
        "meta": { "source": "shop", "": "ä" },
    };
    documents.insert_one(whole).await.unwrap();
    let tombstone = doc! { "topic": "orders", "tombstone": "order 7", "at": DateTime::now() };
    documents.insert_one(tombstone).await.unwrap();
    let mut next = async || {
        let next = timeout(Duration::from_secs(60), reader.next()).await;
        match next.expect("the reader is woken") {
            Some(Ok(Received::Message(message))) => message,
            other => panic!("no record: {other:?}"),
        }
    };
    let message = next().await;
    let expected = ejson!({
        "id": ejson::ObjectId::from_bytes([1; 12]),
        "at": ejson::Date::from_millis(5.0),
        "n": [1, 2.5, null],
    });
    assert_eq!(message.value().unwrap(), expected);
    assert_eq!(
        (message.key(), message.compact()),
        (Some("customer 3"), Some("order 7"))
    );
    assert_eq!(message.meta().len(), 2);
    let message = next().await;
    assert!(message.payload().is_none());
    assert_eq!(message.compact(), Some("order 7"));
    let mut stats = OutboxStats::default();
    stats.copied = 2;
    assert_eq!(outbox.stats(), stats);
}

/// And the rest is copied.
pub(crate) async fn documents_that_are_no_events_are_moved_with_the_reason(world: &World) {
    let store = world.store().await;
    let topics = Topics::open(store.clone());
    let mut settings = outbox_settings();
    settings.auto_create = false;
    let database = world.database().await;
    let outbox = Outbox::new(&store, &topics, settings.clone()).unwrap();
    let open = async |name: &str| topics.topic(name, Settings::default()).await.unwrap();
    open("orders").await;
    open("closed").await.close().await.unwrap();
    let at = DateTime::from_millis(5);
    let bad = [
        (doc! { "payload": 1, "at": at }, "there is no member topic"),
        (
            doc! { "topic": 7, "payload": 1, "at": at },
            "the member topic is not a string",
        ),
        (
            doc! { "topic": "orders", "payload": 1, "at": "now" },
            "the member at is not a date",
        ),
        (
            doc! { "topic": "orders", "payload": (1_i64 << 53) + 1, "at": at },
            "the payload has an integer",
        ),
        (
            doc! { "topic": "orders", "payload": "x".repeat(1 << 20), "at": at },
            "the payload has 1048578 bytes and may have 1048576",
        ),
        (
            doc! { "topic": "nowhere", "payload": 1, "at": at },
            "there is no such topic",
        ),
        (
            doc! { "topic": "closed", "payload": 1, "at": at },
            "the topic is closed",
        ),
    ];
    let documents = outbox_of(&database);
    for (n, (bad, _)) in (1..).zip(&bad) {
        let mut bad = bad.clone();
        bad.insert("_id", n);
        documents.insert_one(bad).await.unwrap();
        documents.insert_one(event(n)).await.unwrap();
    }
    copy_all(&outbox, &database).await;
    let copied = all(&store, "orders").await;
    assert_eq!(payloads(&copied), ["1", "2", "3", "4", "5", "6", "7"]);
    let stats = outbox.stats();
    assert_eq!((stats.copied, stats.rejected), (7, 7));
    for (n, (bad, reason)) in (1..).zip(bad) {
        let found = rejected_of(&database)
            .find_one(doc! { "_id": n })
            .await
            .unwrap()
            .unwrap();
        let told = found.get_str("reason").unwrap();
        assert!(told.starts_with(reason), "{told}");
        let kept = found.get_document("document").unwrap();
        assert_eq!(kept.get("topic"), bad.get("topic"));
    }
    // For a topic of bytes.
    settings.codec = Codec::Bytes("image/png".into());
    let outbox = Outbox::new(&store, &topics, settings).unwrap();
    let bytes = Binary {
        subtype: BinarySubtype::Generic,
        bytes: vec![1, 2],
    };
    let binary = doc! { "topic": "orders", "payload": bytes, "at": at };
    documents.insert_many([binary, event(9)]).await.unwrap();
    copy_all(&outbox, &database).await;
    assert_eq!(
        all(&store, "orders").await[7].content.payload.as_deref(),
        Some(&[1, 2][..])
    );
    assert_eq!(outbox.stats().rejected, 1);
}

/// Whatever the order of insertion was, and whatever the `_id` is.
pub(crate) async fn the_order_is_that_of_at_and_then_of_the_id(world: &World) {
    let store = world.store().await;
    let topics = Topics::open(store.clone());
    let outbox = Outbox::new(&store, &topics, outbox_settings()).unwrap();
    let database = world.database().await;
    let mut documents = Vec::new();
    for (at, id) in [(2, "b"), (1, "z"), (2, "a"), (3, "a2"), (1, "y")] {
        documents.push(doc! {
            "_id": id,
            "topic": "orders",
            "payload": format!("{at}{id}"),
            "at": DateTime::from_millis(at),
        });
    }
    outbox_of(&database).insert_many(documents).await.unwrap();
    copy_all(&outbox, &database).await;
    let copied = all(&store, "orders").await;
    let expected = ["\"1y\"", "\"1z\"", "\"2a\"", "\"2b\"", "\"3a2\""];
    assert_eq!(payloads(&copied), expected);
}

/// The copies have been made, by a copier that ended before it removed the documents.
pub(crate) async fn copies_that_are_there_are_not_made_again(world: &World) {
    let store = world.store().await;
    let topics = Topics::open(store.clone());
    let orders = topics.topic("orders", Settings::default()).await.unwrap();
    for n in 1..=4 {
        orders
            .publish(Entry::value(&n).dedup(n.to_string()))
            .await
            .unwrap();
    }
    let database = world.database().await;
    let log = records(&database).await;
    let id = |n: i32| Binary {
        subtype: BinarySubtype::Generic,
        bytes: mongodb::bson::serialize_to_vec(&doc! { "": n }).unwrap(),
    };
    for n in 1..=4 {
        let copied = doc! { "$set": { "d": id(n) } };
        log.update_one(doc! { "_id": i64::from(n) }, copied)
            .await
            .unwrap();
    }
    // Of the fourth, the document is gone, and only the id is left.
    for n in [1, 2, 3, 5] {
        let mut event = event(n);
        event.insert("_id", n);
        outbox_of(&database).insert_one(event).await.unwrap();
    }
    // One is removed by compaction, and one by a trim.
    let epoch = orders.bounds().await.unwrap().epoch;
    let name = topic("orders");
    let removal = updraft_topics::Removal::new(epoch, vec![2], 0);
    store.remove(&name, removal).await.unwrap();
    store.trim(&name, epoch, 1).await.unwrap();
    let outbox = Outbox::new(&store, &topics, outbox_settings()).unwrap();
    copy_all(&outbox, &database).await;
    assert_eq!(payloads(&all(&store, "orders").await), ["3", "4", "5"]);
    assert_eq!(outbox.stats().copied, 1);
    no_ids_are_left(&outbox, &database).await;
    // What the ids have held is gone with the next trim.
    store.trim(&name, epoch, 2).await.unwrap();
    let left = log.count_documents(doc! { "_id": { "$lt": 3_i64, "$gt": 0_i64 } });
    assert_eq!(left.await.unwrap(), 0);
}

/// Copiers take back the ids of copies whose documents are gone. One that ended in between has left
/// some, which the next copier takes back before it copies a document to that topic.
async fn no_ids_are_left(outbox: &Outbox, database: &Database) {
    outbox_of(database).insert_one(event(1)).await.unwrap();
    let records = records(database).await;
    let is_left = || records.find_one(doc! { "d": { "$type": "binData" } });
    let are_gone = async {
        while count(&outbox_of(database)).await > 0 || is_left().await.unwrap().is_some() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        _ = outbox.run() => {}
        gone = timeout(Duration::from_secs(60), are_gone) => gone.unwrap(),
    }
}

/// Copiers are killed 20 times, and stopped for longer than their lease, and each next one is ten
/// minutes later. FerretDB is too slow for more than a few thousand.
pub(crate) async fn documents_of_three_producers_are_copied_once_and_in_order(world: &World) {
    let each: usize = std::env::var("MONGO_URL").map_or(1_000, |_| 3_334);
    let store = world.store().await;
    let database = world.database().await;
    let topics = Topics::open(store.clone());
    topics.topic("orders", Settings::default()).await.unwrap();
    let sources = ["one", "two", "meteor"];
    let producers = sources.map(|source| node(world, PRODUCER, &[source, &each.to_string()]));
    let total = u64::try_from(3 * each).unwrap();
    let mut copiers = Copiers::new(world);
    let mut copied = 0;
    for round in 1..=20 {
        let until = total * round / 21;
        while copied < until {
            copied = Log::open(&store, &topic("orders"), Create::Never)
                .await
                .unwrap()
                .last;
            sleep(Duration::from_millis(5)).await;
        }
        copiers.kill_one(round % 4 == 0);
    }
    for producer in producers {
        let output = producer.wait_with_output().unwrap();
        assert!(output.status.success());
    }
    let outbox = outbox_of(&database);
    let is_empty = async {
        while count(&outbox).await > 0 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(120), is_empty)
        .await
        .expect("all is copied");
    copiers.go_on();
    drop(copiers);

    let mut next: HashMap<String, usize> = HashMap::new();
    for record in all(&store, "orders").await {
        let value = ejson::parse(payload(&record), &LIMITS).unwrap();
        let source = value.get("source").unwrap().as_str().unwrap().to_owned();
        let n = value.get("n").unwrap().as_f64().unwrap();
        let expected = next.entry(source).or_default();
        assert_eq!(n, *expected as f64);
        *expected += 1;
    }
    let next: BTreeMap<_, _> = next.into_iter().collect();
    let expected = [("meteor", each), ("one", each), ("two", each)];
    assert!(
        next.iter()
            .map(|(source, n)| (source.as_str(), *n))
            .eq(expected)
    );
    assert_eq!(count(&rejected_of(&database)).await, 0);
    let last = Outbox::new(&store, &topics, outbox_settings()).unwrap();
    no_ids_are_left(&last, &database).await;
}

/// Two copiers at a time, of which one has the lease.
struct Copiers<'a> {
    world: &'a World,
    running: Vec<Child>,
    stopped: Vec<Child>,
    ahead: u64,
}

impl<'a> Copiers<'a> {
    fn new(world: &'a World) -> Self {
        let mut copiers = Self {
            world,
            running: Vec::new(),
            stopped: Vec::new(),
            ahead: 0,
        };
        copiers.start();
        copiers.start();
        copiers
    }

    fn start(&mut self) {
        let copier = Command::new(std::env::current_exe().unwrap())
            .env(COPIER, self.world.url())
            .env(AHEAD, self.ahead.to_string())
            .stdin(Stdio::null())
            .spawn();
        self.running.push(copier.unwrap());
    }

    /// Kills or stops the older one, and starts another. One that was stopped before goes on.
    fn kill_one(&mut self, stop: bool) {
        let mut oldest = self.running.remove(0);
        self.go_on();
        if stop {
            signal(&oldest, "STOP");
            self.stopped.push(oldest);
        } else {
            oldest.kill().unwrap();
            oldest.wait().unwrap();
        }
        self.ahead += LONG;
        self.start();
    }

    fn go_on(&mut self) {
        for copier in &self.stopped {
            signal(copier, "CONT");
        }
        self.running.append(&mut self.stopped);
    }
}

impl Drop for Copiers<'_> {
    fn drop(&mut self) {
        for copier in self.running.iter_mut().chain(&mut self.stopped) {
            drop(copier.kill());
            drop(copier.wait());
        }
    }
}

fn signal(process: &Child, name: &str) {
    let mut kill = Command::new("kill");
    let kill = kill.arg(format!("-{name}")).arg(process.id().to_string());
    assert!(kill.status().unwrap().success());
}

/// Copies until it is killed.
pub(crate) async fn copy(url: &str) {
    let ahead: u64 = std::env::var(AHEAD).unwrap().parse().unwrap();
    let now = move || {
        let since = std::time::UNIX_EPOCH.elapsed().unwrap();
        u64::try_from(since.as_millis()).unwrap() + ahead
    };
    let store = MongoStore::open_with_clock(url, settings(), now)
        .await
        .unwrap();
    let topics = Topics::open(store.clone());
    let outbox = Outbox::new(&store, &topics, outbox_settings()).unwrap();
    outbox.run().await;
}

/// The examples of the guide, each by itself.
pub(crate) async fn the_examples_of_the_guide_work(world: &World) {
    let store = world.store().await;
    let database = world.database().await;
    let topics = Topics::open(store.clone());
    let outbox = Outbox::new(&store, &topics, outbox_settings()).unwrap();
    let examples = Guide::read("ingest.md").blocks("MongoDB", "js");
    let [plain, transaction] = &examples[..] else {
        panic!("the guide has {} examples", examples.len());
    };
    run(world, plain);
    copy_all(&outbox, &database).await;
    let copied = all(&store, "orders").await;
    assert_eq!(copied.len(), 1);
    assert_eq!(payload(&copied[0]), r#"{"id":7,"state":"paid"}"#);
    assert_eq!(copied[0].content.key.as_deref(), Some("customer 3"));
    if !store.features().atomic_batch {
        println!("this server has no transactions: that example is not run");
        return;
    }
    run(world, transaction);
    copy_all(&outbox, &database).await;
    let copied = all(&store, "orders").await;
    assert_eq!(payload(&copied[1]), r#"{"_id":8,"state":"paid"}"#);
}

fn run(world: &World, script: &str) {
    let output = node(world, script, &[]).wait_with_output().unwrap();
    assert!(output.status.success());
}

/// Starts a script, which finds the clients of MongoDB.
fn node(world: &World, script: &str, arguments: &[&str]) -> Child {
    let node = Command::new("node")
        .args(["--input-type=module", "--eval", script, "--"])
        .args(arguments)
        .current_dir(installed(&["node_modules"]))
        .env("MONGO_URL", world.url())
        .stdin(Stdio::null())
        .spawn();
    node.expect("node starts")
}
