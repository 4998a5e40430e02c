//! The store in Redis passes what every store must, with a real Redis that is killed, emptied,
//! stopped, filled, and replaced by a replica.
#![cfg(all(feature = "conformance", feature = "redis"))]

#[path = "redis/groups.rs"]
mod groups;
#[path = "redis/proof.rs"]
mod proof;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis::{Client, Connection, FromRedisValue};
use tokio::task::JoinSet;
use tokio::time::timeout;
use updraft_bus::{ChannelSettings, Channels, Redis};
use updraft_test_support::eventually;
use updraft_test_support::process::{Process, free_port};
use updraft_test_support::redis::RedisServer;
use updraft_topics::conformance::{Handles, Harness};
use updraft_topics::{
    Append, AppendedBatch, Bounds, Content, Create, End, Entry, Limit, Log, NewRecord, OnLoss,
    Page, Place, Read, Reader, Received, Record, RedisSettings, RedisStore, RegisterKey, Registers,
    Removal, ResetReason, Settings, Start, Store, Swap, Swapped, TopicError, TopicName, Topics,
};

/// A Redis whose data outlives it.
struct DurableRedis {
    port: u16,
    directory: PathBuf,
    process: Mutex<Process>,
}

impl DurableRedis {
    fn start() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("updraft-topics-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(&directory).unwrap();
        let port = free_port();
        Self {
            port,
            process: Mutex::new(start(port, &directory)),
            directory,
        }
    }

    fn url(&self) -> String {
        url(self.port)
    }

    /// Its data, as it is now.
    fn copy(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let files = fs::read_dir(self.directory.join("appendonlydir")).unwrap();
        let paths = files.map(|file| file.unwrap().path());
        let contents = paths.map(|path| (path.clone(), fs::read(&path).unwrap()));
        contents.collect()
    }

    /// Kills it, and starts one that has an earlier copy of its data.
    fn set_back(&self, copy: &[(PathBuf, Vec<u8>)]) {
        let mut process = self.process.lock().unwrap();
        process.kill();
        for (path, content) in copy {
            fs::write(path, content).unwrap();
        }
        *process = start(self.port, &self.directory);
    }

    fn kill_and_restart(&self) {
        let mut process = self.process.lock().unwrap();
        process.kill();
        *process = start(self.port, &self.directory);
    }
}

impl Drop for DurableRedis {
    fn drop(&mut self) {
        self.process.get_mut().unwrap().kill();
        drop(fs::remove_dir_all(&self.directory));
    }
}

impl Harness for DurableRedis {
    async fn open(&self) -> Handles {
        Handles::new(&open(&self.url()).await)
    }

    async fn kill(&self) {
        self.kill_and_restart();
    }
}

updraft_topics::conformance_tests!(DurableRedis::start());

fn start(port: u16, directory: &PathBuf) -> Process {
    let mut command = Command::new("redis-server");
    command
        .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
        .args(["--save", "", "--appendonly", "yes"])
        .args(["--repl-diskless-sync-delay", "0"])
        .args(["--appendfsync", "always", "--dir"])
        .arg(directory);
    let process = Process::start(&mut command, port);
    eventually("redis-server has loaded its data", || {
        connect(port).is_some()
    });
    process
}

fn url(port: u16) -> String {
    format!("redis://127.0.0.1:{port}")
}

fn connect(port: u16) -> Option<Connection> {
    let mut connection = Client::open(url(port)).ok()?.get_connection().ok()?;
    redis::cmd("PING").exec(&mut connection).ok()?;
    Some(connection)
}

fn settings() -> RedisSettings {
    let mut settings = RedisSettings::default();
    // The machine may be slow.
    settings.deadline = Duration::from_secs(30);
    settings
}

async fn open(url: &str) -> RedisStore {
    RedisStore::open(url, settings()).await.unwrap()
}

fn topic(name: &str) -> TopicName {
    TopicName::new(name).unwrap()
}

fn text(text: impl Into<String>) -> NewRecord {
    NewRecord::new(7, Content::new(text.into()))
}

fn marked(mark: u32, text: &str) -> NewRecord {
    NewRecord::new(mark, Content::new(text.to_owned()))
}

async fn created(store: &RedisStore, topic: &TopicName) -> Bounds {
    Log::open(store, topic, Create::IfMissing).await.unwrap()
}

async fn append(
    store: &RedisStore,
    topic: &TopicName,
    records: impl IntoIterator<Item = NewRecord>,
) -> AppendedBatch {
    let records = records.into_iter().collect();
    store.append(topic, Append::new(records)).await.unwrap()
}

async fn read(store: &RedisStore, topic: &TopicName, after: Place) -> Read {
    store.read(topic, after, Limit::default()).await.unwrap()
}

async fn page(store: &RedisStore, topic: &TopicName, after: Place) -> Page {
    match read(store, topic, after).await {
        Read::Page(page) => page,
        other => panic!("not a page: {other:?}"),
    }
}

fn payloads(records: &[Record]) -> Vec<(u64, &str)> {
    records
        .iter()
        .map(|record| {
            let payload = record.content.payload.as_ref().unwrap();
            (record.offset, std::str::from_utf8(payload).unwrap())
        })
        .collect()
}

/// Asks Redis itself.
fn ask<T: FromRedisValue>(connection: &mut Connection, command: &str) -> T {
    let mut words = command.split(' ');
    let mut asked = redis::cmd(words.next().unwrap());
    asked.arg(words.collect::<Vec<_>>());
    asked
        .query(connection)
        .unwrap_or_else(|error| panic!("{command}: {error}"))
}

const META: &str = "updraft:topics:t{orders}meta";
const LOG: &str = "updraft:topics:t{orders}log";

/// A producer that is cut off again and again, and a topic that is read after each restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_086_redis_is_killed_while_records_are_appended() {
    kill_while_records_are_appended(5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes"]
async fn soak_topic_086_redis_is_killed_while_records_are_appended() {
    kill_while_records_are_appended(50).await;
}

async fn kill_while_records_are_appended(rounds: usize) {
    let server = DurableRedis::start();
    let orders = topic("orders");
    let store = open(&server.url()).await;
    let epoch = created(&store, &orders).await.epoch;
    let mut told = 0;
    for round in 0..rounds {
        let producer = {
            let (store, orders) = (store.clone(), orders.clone());
            let append = async move {
                let mut told = 0;
                for n in 0.. {
                    let records = vec![text(format!("{round} {n}")), text("second")];
                    match store.append(&orders, Append::new(records)).await {
                        Ok(batch) => told = batch.records[1].offset,
                        Err(error) => {
                            assert_eq!(error.code(), "backend-unavailable");
                            break;
                        }
                    }
                }
                told
            };
            let mut set = JoinSet::new();
            set.spawn(append);
            set
        };
        let mut direct = connect(server.port).unwrap();
        let before = told;
        eventually("records are appended", || {
            let length: u64 = ask(&mut direct, &format!("XLEN {LOG}"));
            length > before + 20
        });
        server.kill_and_restart();
        told = told.max(producer.join_all().await[0]);
        // The store finds the new process by itself.
        let mut place = Place::start(epoch);
        let mut seen = Vec::new();
        loop {
            let page = page(&store, &orders, place).await;
            if page.records.is_empty() {
                break;
            }
            place = page.next;
            seen.extend(page.records.into_iter().map(|record| record.offset));
        }
        let last = u64::try_from(seen.len()).unwrap();
        assert!(seen.into_iter().eq(1..=last));
        assert!(last >= told && last % 2 == 0, "{last} of {told}");
        told = last;
    }
}

/// The meta, or the stream, or all of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_090_a_topic_of_which_a_key_is_gone_has_a_new_epoch() {
    let server = RedisServer::start();
    let mut direct = server.connection();
    let orders = topic("orders");
    let store = open(&server.url()).await;
    let first = created(&store, &orders).await;
    append(&store, &orders, [text("1"), text("2")]).await;

    let _: u64 = ask(&mut direct, &format!("DEL {META}"));
    let place = Place::new(first.epoch, 2, 7);
    let Read::UnknownEpoch(second) = read(&store, &orders, place).await else {
        panic!("the epoch is the same");
    };
    assert_ne!(second.epoch, first.epoch);
    assert_eq!((second.first, second.last, second.last_mark), (1, 2, 7));
    let batch = append(&store, &orders, [text("3")]).await;
    assert_eq!((batch.epoch, batch.records[0].offset), (second.epoch, 3));
    let held = page(&store, &orders, Place::start(second.epoch)).await;
    assert_eq!(payloads(&held.records), [(1, "1"), (2, "2"), (3, "3")]);

    let _: u64 = ask(&mut direct, &format!("DEL {LOG}"));
    let batch = append(&store, &orders, [text("4")]).await;
    assert_ne!(batch.epoch, second.epoch);
    assert_eq!(batch.records[0].offset, 4);
    let held = page(&store, &orders, Place::start(batch.epoch)).await;
    assert_eq!(payloads(&held.records), [(4, "4")]);
    assert_eq!((held.bounds.first, held.bounds.last), (4, 4));

    let _: String = ask(&mut direct, "FLUSHALL");
    let Read::UnknownEpoch(emptied) = read(&store, &orders, held.next).await else {
        panic!("the epoch is the same");
    };
    assert_eq!((emptied.first, emptied.last), (1, 0));
    let listed = store.list("", None, 9).await.unwrap();
    assert_eq!(listed, std::slice::from_ref(&orders));
    // Each function finds it.
    let closed = topic("closed");
    created(&store, &closed).await;
    let mut epochs = vec![emptied.epoch];
    for n in 0..5 {
        let _: String = ask(&mut direct, "FLUSHALL");
        match n {
            0 => drop(append(&store, &orders, [text("1")]).await),
            1 => drop(store.trim(&orders, batch.epoch, 9).await.unwrap()),
            2 => {
                let removal = Removal::new(batch.epoch, vec![1], 0);
                store.remove(&orders, removal).await.unwrap();
            }
            3 => drop(Log::open(&store, &orders, Create::Never).await.unwrap()),
            _ => {
                store.end(&closed, End::Close).await.unwrap();
                let bounds = Log::open(&store, &closed, Create::Never).await.unwrap();
                assert!(bounds.closed);
                break;
            }
        }
        // Who has never opened it finds it as well.
        let other = open(&server.url()).await;
        let bounds = Log::open(&other, &orders, Create::Never).await.unwrap();
        assert!(!epochs.contains(&bounds.epoch));
        epochs.push(bounds.epoch);
    }
    // Who has not opened a topic does not create it.
    let _: String = ask(&mut direct, "FLUSHALL");
    let other = open(&server.url()).await;
    let error = Log::open(&other, &orders, Create::Never).await.unwrap_err();
    assert_eq!(error.code(), "unknown-topic");
}

/// By a foreign hand, or because an old copy was put in its place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_090_a_topic_whose_stream_is_another_one_has_a_new_epoch() {
    let server = RedisServer::start();
    let mut direct = server.connection();
    let orders = topic("orders");
    let store = open(&server.url()).await;
    let first = created(&store, &orders).await;
    append(&store, &orders, [text("1").dedup("id"), text("2")]).await;
    let _: u64 = ask(&mut direct, &format!("COPY {LOG} copy"));
    append(&store, &orders, [text("lost")]).await;
    let _: String = ask(&mut direct, &format!("RENAME copy {LOG}"));
    let second = match read(&store, &orders, Place::new(first.epoch, 3, 7)).await {
        Read::UnknownEpoch(bounds) => bounds,
        other => panic!("{other:?}"),
    };
    // The number of the lost one is not given again.
    assert_eq!((second.first, second.last), (1, 3));
    let batch = append(&store, &orders, [text("1").dedup("id")]).await;
    assert_eq!((batch.records[0].offset, batch.epoch), (4, second.epoch));
    // What an id stood for may be among what was lost.
    assert!(!batch.records[0].duplicate);

    // Another program's entry: it is damaged, and the numbers go on behind it.
    let _: String = ask(&mut direct, &format!("XADD {LOG} 1700000000000-0 field x"));
    let batch = append(&store, &orders, [text("5")]).await;
    assert_ne!(batch.epoch, second.epoch);
    assert_eq!(batch.records[0].offset, 1_700_000_000_001);
    let held = page(&store, &orders, Place::start(batch.epoch)).await;
    assert_eq!(payloads(&held.records), [(1, "1"), (2, "2"), (4, "1")]);
    let behind = store.read(&orders, held.next, Limit::default()).await;
    let error = behind.unwrap_err();
    assert_eq!(error.code(), "damaged-record");
    let behind = Place::unmarked(batch.epoch, 1_700_000_000_000);
    let held = page(&store, &orders, behind).await;
    assert_eq!(payloads(&held.records), [(1_700_000_000_001, "5")]);

    // One behind which nothing fits.
    let highest = u64::MAX;
    let _: String = ask(
        &mut direct,
        &format!("XADD {LOG} {highest}-{highest} field x"),
    );
    let batch = append(&store, &orders, [text("6")]).await;
    assert_eq!(batch.records[0].offset, 1_700_000_000_002);
    let held = page(&store, &orders, Place::start(batch.epoch)).await;
    assert_eq!(payloads(&held.records), [(1_700_000_000_002, "6")]);
}

/// It is not created again by those that have it open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_026_a_topic_that_another_process_has_deleted_is_unknown() {
    let server = RedisServer::start();
    let orders = topic("orders");
    let (one, two) = (open(&server.url()).await, open(&server.url()).await);
    let old = created(&one, &orders).await;
    append(&two, &orders, [text("1")]).await;
    created(&two, &orders).await;
    one.end(&orders, End::Delete).await.unwrap();
    for _ in 0..2 {
        let append = Append::new(vec![text("2")]);
        let error = two.append(&orders, append).await.unwrap_err();
        assert_eq!(error.code(), "unknown-topic");
        let error = Log::open(&two, &orders, Create::Never).await.unwrap_err();
        assert_eq!(error.code(), "unknown-topic");
    }
    assert!(two.list("", None, 9).await.unwrap().is_empty());
    let new = created(&two, &orders).await;
    assert_ne!(new.epoch, old.epoch);
    assert_eq!(append(&one, &orders, [text("1")]).await.epoch, new.epoch);
}

/// And the store goes on with the scripts that it has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_092_scripts_that_redis_has_forgotten_are_loaded_again() {
    let server = RedisServer::start();
    let mut direct = server.connection();
    let orders = topic("orders");
    let store = open(&server.url()).await;
    let key = RegisterKey::new("space", "a").unwrap();
    let mut flush = || -> String { ask(&mut direct, "SCRIPT FLUSH") };
    flush();
    let epoch = created(&store, &orders).await.epoch;
    flush();
    append(&store, &orders, [text("1"), text("2"), text("3")]).await;
    flush();
    assert_eq!(
        page(&store, &orders, Place::start(epoch))
            .await
            .records
            .len(),
        3
    );
    flush();
    store.trim(&orders, epoch, 1).await.unwrap();
    flush();
    store
        .remove(&orders, Removal::new(epoch, vec![2], 0))
        .await
        .unwrap();
    flush();
    let swap = Swap::write(key, None, "x").unwrap();
    let written = store.swap(vec![swap]).await.unwrap();
    assert!(matches!(written[..], [Swapped::Written(_)]));
    flush();
    store.end(&orders, End::Delete).await.unwrap();
    let evals = server.calls_of("eval");
    assert_eq!(evals, 7);
}

/// Or refused, if that is wanted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_091_a_redis_that_makes_room_is_warned_of() {
    let server = RedisServer::start();
    assert_eq!(open(&server.url()).await.eviction(), None);
    server.tell("CONFIG", &["SET", "maxmemory-policy", "allkeys-lru"]);
    assert_eq!(open(&server.url()).await.eviction(), Some("allkeys-lru"));
    let mut settings = settings();
    settings.refuse_eviction = true;
    let error = RedisStore::open(&server.url(), settings).await.unwrap_err();
    assert_eq!(error.code(), "unsupported");
    assert!(error.to_string().contains("maxmemory-policy"), "{error}");
}

/// Reading and trimming go on, and so does everything when there is room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_088_a_full_redis_stores_nothing_and_says_so() {
    let server = RedisServer::start();
    let orders = topic("orders");
    let store = open(&server.url()).await;
    let epoch = created(&store, &orders).await.epoch;
    append(&store, &orders, [text("1"), text("2")]).await;
    server.tell("CONFIG", &["SET", "maxmemory", "1"]);
    let append_one = Append::new(vec![text("3")]);
    let error = store.append(&orders, append_one).await.unwrap_err();
    assert_eq!(error.code(), "store-full");
    let key = RegisterKey::new("space", "a").unwrap();
    let swap = Swap::write(key, None, "x").unwrap();
    assert_eq!(
        store.swap(vec![swap]).await.unwrap_err().code(),
        "store-full"
    );
    assert_eq!(
        page(&store, &orders, Place::start(epoch))
            .await
            .records
            .len(),
        2
    );
    assert_eq!(store.trim(&orders, epoch, 1).await.unwrap().first, 2);
    server.tell("CONFIG", &["SET", "maxmemory", "0"]);
    assert_eq!(
        append(&store, &orders, [text("3")]).await.records[0].offset,
        3
    );
}

/// Gone, and stopped in its tracks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_013_a_redis_that_is_away_is_an_error_within_the_deadline() {
    let mut server = RedisServer::start();
    let orders = topic("orders");
    let mut settings = settings();
    settings.deadline = Duration::from_millis(500);
    let patient = open(&server.url()).await;
    let store = loop {
        // On a slow machine it may take longer.
        if let Ok(store) = RedisStore::open(&server.url(), settings.clone()).await {
            break store;
        }
    };
    created(&patient, &orders).await;
    server.process().signal("STOP");
    let record = || Append::new(vec![text("1").dedup("id")]);
    let error = store.append(&orders, record()).await.unwrap_err();
    assert_eq!(error.code(), "backend-unavailable");
    server.process().signal("CONT");
    // The first may have been stored, and with its id it is stored once.
    let batch = patient.append(&orders, record()).await.unwrap();
    let epoch = batch.epoch;
    let again = patient.append(&orders, record()).await.unwrap();
    assert!(again.records[0].duplicate);
    assert_eq!(
        page(&patient, &orders, Place::start(epoch))
            .await
            .records
            .len(),
        1
    );
    server.kill();
    for _ in 0..2 {
        let error = store.append(&orders, record()).await.unwrap_err();
        assert_eq!(error.code(), "backend-unavailable");
    }
    let error = store.list("", None, 1).await.unwrap_err();
    assert_eq!(error.code(), "backend-unavailable");
    assert!(RedisStore::open(&server.url(), settings).await.is_err());
    server.restart();
    // It has forgotten everything. The first may meet a connection of which nobody has told yet
    // that it is gone.
    let batch = loop {
        if let Ok(batch) = patient.append(&orders, record()).await {
            break batch;
        }
    };
    assert_ne!(batch.epoch, epoch);
    assert_eq!(batch.records[0].offset, 1);
}

/// A reader of the tail is told, also when its offset was given again; others go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_028_a_promoted_replica_that_lacks_the_tail_is_found_out() {
    promote_replicas_that_lack_the_tail(10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes"]
async fn soak_topic_028_a_promoted_replica_that_lacks_the_tail_is_found_out() {
    promote_replicas_that_lack_the_tail(100).await;
}

async fn promote_replicas_that_lack_the_tail(rounds: usize) {
    let orders = topic("orders");
    for round in 0..rounds {
        // Each has a directory of its own, into which a replica writes what it is sent.
        let (master, replica) = (DurableRedis::start(), DurableRedis::start());
        let mut direct = connect(replica.port).unwrap();
        let old = open(&master.url()).await;
        let epoch = created(&old, &orders).await.epoch;
        append(&old, &orders, [marked(1, "1"), marked(2, "2")]).await;
        let port = master.port;
        let _: String = ask(&mut direct, &format!("REPLICAOF 127.0.0.1 {port}"));
        eventually("the replica has the records", || {
            let length: u64 = ask(&mut direct, &format!("XLEN {LOG}"));
            length == 2
        });
        // A replica can be read, and takes nothing.
        let new = open(&replica.url()).await;
        let held = page(&new, &orders, Place::start(epoch)).await;
        assert_eq!(payloads(&held.records), [(1, "1"), (2, "2")]);
        let refused = new.append(&orders, Append::new(vec![text("x")])).await;
        assert_eq!(refused.unwrap_err().code(), "backend-unavailable");

        let _: String = ask(&mut direct, "REPLICAOF NO ONE");
        let lost = append(&old, &orders, [marked(3, "lost"), marked(4, "lost")]).await;
        let tail = |n: usize| {
            let record = lost.records[n];
            Place::new(lost.epoch, record.offset, record.mark)
        };
        drop(master);
        assert!(matches!(read(&new, &orders, tail(0)).await, Read::Ahead(_)));
        assert!(matches!(read(&new, &orders, tail(1)).await, Read::Ahead(_)));
        let more = (0..=round % 10).map(|_| marked(5, "more"));
        append(&new, &orders, [marked(5, "more")].into_iter().chain(more)).await;
        for n in [0, 1] {
            let told = read(&new, &orders, tail(n)).await;
            assert!(matches!(told, Read::Diverged(_)), "{told:?}");
        }
        let held = page(&new, &orders, Place::new(epoch, 2, 2)).await;
        assert_eq!(payloads(&held.records)[0], (3, "more"));
    }
}

/// Its neighbours are read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_087_a_damaged_record_is_an_error_with_its_offset() {
    let server = RedisServer::start();
    let mut direct = server.connection();
    let orders = topic("orders");
    let store = open(&server.url()).await;
    let epoch = created(&store, &orders).await.epoch;
    append(&store, &orders, [text("1"), text("2"), text("3")]).await;
    let entries: Vec<(String, Vec<Vec<u8>>)> = ask(&mut direct, &format!("XRANGE {LOG} - +"));
    let _: u64 = ask(&mut direct, &format!("DEL {LOG}"));
    for (id, mut fields) in entries {
        if id.starts_with("2-") {
            *fields[3].last_mut().unwrap() ^= 1;
        }
        let mut add = redis::cmd("XADD");
        add.arg(LOG).arg(id).arg(fields).exec(&mut direct).unwrap();
    }
    let held = page(&store, &orders, Place::start(epoch)).await;
    assert_eq!(payloads(&held.records), [(1, "1")]);
    let behind = store.read(&orders, held.next, Limit::default()).await;
    let error = behind.unwrap_err();
    assert_eq!(error.code(), "damaged-record");
    assert!(error.to_string().contains("record 2 "), "{error}");
    let held = page(&store, &orders, Place::unmarked(epoch, 2)).await;
    assert_eq!(payloads(&held.records), [(3, "3")]);
}

/// The time of the last record counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_097_a_clock_that_is_set_back_does_not_set_back_times() {
    let server = RedisServer::start();
    let orders = topic("orders");
    let store = open(&server.url()).await;
    created(&store, &orders).await;
    let later = 4_000_000_000_000;
    server.tell("HSET", &[META, "time", &later.to_string()]);
    for _ in 0..2 {
        let batch = append(&store, &orders, [text("1").dedup("id")]).await;
        assert_eq!(batch.records[0].time, later);
    }
}

/// With other stores, other programs' keys, and topics that look like them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_112_no_foreign_key_is_touched() {
    let server = RedisServer::start();
    let mut direct = server.connection();
    let foreign = [
        "t{a}meta",
        "topics",
        "a",
        "updraft:topics",
        "updraft:topics:x",
    ];
    for key in foreign {
        server.tell("SET", &[key, "foreign"]);
    }
    let one = open(&server.url()).await;
    let mut settings = settings();
    settings.prefix = "updraft:topics:t{".into();
    let two = RedisStore::open(&server.url(), settings).await.unwrap();
    let names = [
        "a", "a}meta", "}", "{", "a}log{", "../a", "*", "[a-z]*", "a b",
    ];
    for name in names {
        let topic = topic(name);
        created(&one, &topic).await;
        created(&two, &topic).await;
        append(&one, &topic, [text("one").dedup("id")]).await;
        append(&two, &topic, [text("two")]).await;
        let key = RegisterKey::new(name, name).unwrap();
        let swap = || vec![Swap::write(key.clone(), None, name.to_owned()).unwrap()];
        assert!(matches!(
            one.swap(swap()).await.unwrap()[..],
            [Swapped::Written(_)]
        ));
        assert!(matches!(
            two.swap(swap()).await.unwrap()[..],
            [Swapped::Written(_)]
        ));
    }
    for name in names {
        one.end(&topic(name), End::Delete).await.unwrap();
    }
    for name in names {
        let bounds = Log::open(&two, &topic(name), Create::Never).await.unwrap();
        let held = page(&two, &topic(name), Place::start(bounds.epoch)).await;
        assert_eq!(payloads(&held.records), [(1, "two")]);
    }
    assert_eq!(one.list("", None, 99).await.unwrap(), []);
    assert_eq!(two.list("", None, 99).await.unwrap().len(), names.len());
    for key in foreign {
        let value: String = ask(&mut direct, &format!("GET {key}"));
        assert_eq!(value, "foreign");
    }
    let keys: Vec<String> = ask(&mut direct, "KEYS *");
    let ours = keys.iter().filter(|key| !foreign.contains(&key.as_str()));
    assert!(
        ours.into_iter()
            .all(|key| key.starts_with("updraft:topics:"))
    );
    // A key of ours that holds something else is told, and left.
    server.tell("SET", &[LOG, "foreign"]);
    let error = Log::open(&one, &topic("orders"), Create::IfMissing).await;
    assert_eq!(error.unwrap_err().code(), "damaged-store");
    let value: String = ask(&mut direct, &format!("GET {LOG}"));
    assert_eq!(value, "foreign");
}

/// So that nobody else needs to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changes_a_topic_wakes_its_readers() {
    let server = RedisServer::start();
    let mut settings = settings();
    settings.bus_prefix = "app:".into();
    let store = RedisStore::open(&server.url(), settings).await.unwrap();
    assert!(store.features().announces);
    let mut subscriber = server.connection();
    let mut channel = subscriber.as_pubsub();
    channel.subscribe("app:updraft:topics").unwrap();
    let name = topic(r#"a \ "b""#);
    created(&store, &name).await;
    append(&store, &name, [text("1").dedup("id"), text("2")]).await;
    // Nothing is stored.
    append(&store, &name, [text("1").dedup("id")]).await;
    store.end(&name, End::Close).await.unwrap();
    store.end(&name, End::Close).await.unwrap();
    store.end(&name, End::Delete).await.unwrap();
    for _ in 0..3 {
        let message: String = channel.get_message().unwrap().get_payload().unwrap();
        assert_eq!(message, r#""a \\ \"b\"""#);
    }
    assert_eq!(server.publish("app:updraft:topics", "the next"), 1);
    let message: String = channel.get_message().unwrap().get_payload().unwrap();
    assert_eq!(message, "the next");
}

/// Records that are trimmed, ids whose time is over, and names of registers that have expired.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_over_is_removed_from_redis() {
    let server = RedisServer::start();
    let mut direct = server.connection();
    let orders = topic("orders");
    let store = open(&server.url()).await;
    let epoch = created(&store, &orders).await.epoch;
    for batch in 0..25 {
        let records = (0..1000).map(|n| text("x").dedup(format!("{batch} {n}")));
        append(&store, &orders, records).await;
    }
    store.trim(&orders, epoch, 24_990).await.unwrap();
    let length: u64 = ask(&mut direct, &format!("XLEN {LOG}"));
    assert!((10..=110).contains(&length), "{length}");
    let held = page(&store, &orders, Place::start(epoch)).await;
    assert_eq!(held.records.len(), 10);
    eventually("all ids are over", || {
        let [seconds, micros]: [u64; 2] = ask::<Vec<u64>>(&mut direct, "TIME").try_into().unwrap();
        seconds * 1000 + micros / 1000 > held.records[9].time + 10
    });
    for _ in 0..=250 {
        let append = Append::new(vec![text("x")]).dedup_window(Duration::from_millis(5));
        store.append(&orders, append).await.unwrap();
    }
    for (command, key) in [("HLEN", "ids"), ("ZCARD", "ages")] {
        let left: u64 = ask(
            &mut direct,
            &format!("{command} updraft:topics:t{{orders}}{key}"),
        );
        assert_eq!(left, 0);
    }

    let key = |n: usize| RegisterKey::new("space", &n.to_string()).unwrap();
    let swap = |n| {
        let swap = Swap::write(key(n), None, "x").unwrap();
        swap.expires(Duration::from_millis(1))
    };
    store.swap((0..500).map(swap).collect()).await.unwrap();
    eventually("all are over", || {
        let keys: Vec<String> = ask(&mut direct, "KEYS *r{space}=*");
        keys.is_empty()
    });
    for n in 500..510 {
        store.swap(vec![swap(n)]).await.unwrap();
    }
    for set in ["names", "ends"] {
        let left: u64 = ask(
            &mut direct,
            &format!("ZCARD updraft:topics:r{{space}}{set}"),
        );
        assert!(left <= 10, "{left}");
    }
}

/// As many as another process leaves room for, with no hole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_001_two_processes_append_and_read_at_the_same_time() {
    let server = RedisServer::start();
    let orders = topic("orders");
    let store = open(&server.url()).await;
    let epoch = created(&store, &orders).await.epoch;
    let mut tasks = JoinSet::new();
    for _ in 0..2 {
        let (store, orders) = (open(&server.url()).await, orders.clone());
        tasks.spawn(async move {
            for _ in 0..200 {
                append(&store, &orders, [text("a"), text("b")]).await;
            }
        });
    }
    let mut place = Place::start(epoch);
    while place.offset < 800 {
        let page = page(&store, &orders, place).await;
        for record in &page.records {
            assert_eq!(record.offset, place.offset + 1);
            place = Place::new(epoch, record.offset, record.mark);
        }
    }
    tasks.join_all().await;
}

/// Topics as a process has them: this store, and wake-ups over the same Redis.
async fn topics(url: &str) -> Topics {
    let store = Arc::new(open(url).await);
    let bus = Redis::connect(url).await.unwrap();
    let channels = Arc::new(Channels::new(bus, ChannelSettings::default()));
    Topics::open(Store::new(store.clone(), store, channels))
}

async fn next(reader: &mut Reader) -> Received {
    let next = timeout(Duration::from_secs(60), reader.next());
    let next = next.await.expect("the reader has something to return");
    next.unwrap().unwrap()
}

/// The next record, which must be this number.
async fn expect(reader: &mut Reader, number: u64) {
    match next(reader).await {
        Received::Message(message) => assert_eq!(message.parse::<u64>().unwrap(), number),
        other => panic!("not a record: {other:?}"),
    }
}

/// And woken by what other processes append.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_090_a_live_reader_is_told_that_redis_was_emptied() {
    let server = RedisServer::start();
    let (here, there) = (topics(&server.url()).await, topics(&server.url()).await);
    let settings = Settings::default();
    let read = here.topic("orders", settings.clone()).await.unwrap();
    let written = there.topic("orders", settings).await.unwrap();
    let mut reader = read.reader(Start::Latest, OnLoss::Earliest).await.unwrap();
    for n in 0..20_u64 {
        written.publish(Entry::value(&n)).await.unwrap();
        expect(&mut reader, n).await;
    }
    server.tell("FLUSHALL", &[]);
    written.publish(Entry::value(&20)).await.unwrap();
    let Received::Reset(reset) = next(&mut reader).await else {
        panic!("the reader was not told");
    };
    assert_eq!(reset.reason, ResetReason::UnknownEpoch);
    expect(&mut reader, 20).await;
}

/// It has read what is not there any more, and other records were given those offsets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_028_a_reader_that_was_live_is_told_that_redis_was_set_back() {
    let server = DurableRedis::start();
    let here = topics(&server.url()).await;
    let orders = here.topic("orders", Settings::default()).await.unwrap();
    orders.publish(Entry::value(&1)).await.unwrap();
    let copy = server.copy();
    let mut reader = orders
        .reader(Start::Earliest, OnLoss::Earliest)
        .await
        .unwrap();
    for n in 2..=4 {
        orders.publish(Entry::value(&n)).await.unwrap();
    }
    for n in 1..=4 {
        expect(&mut reader, n).await;
    }
    server.set_back(&copy);
    let there = topics(&server.url()).await;
    let written = there.topic("orders", Settings::default()).await.unwrap();
    let numbers = (12..=19_u64).map(|n| Entry::value(&n));
    written.publish_many(numbers).await.unwrap();
    let Received::Reset(reset) = next(&mut reader).await else {
        panic!("the reader was not told");
    };
    assert_eq!(reset.reason, ResetReason::Diverged);
    for n in [1].into_iter().chain(12..=19) {
        expect(&mut reader, n).await;
    }
}

/// And reads on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_038_a_reader_finds_what_was_appended_around_a_restart() {
    let server = DurableRedis::start();
    let (here, there) = (topics(&server.url()).await, topics(&server.url()).await);
    let settings = Settings::default();
    let read = here.topic("orders", settings.clone()).await.unwrap();
    let written = there.topic("orders", settings).await.unwrap();
    let mut reader = read.reader(Start::Latest, OnLoss::Fail).await.unwrap();
    written.publish(Entry::value(&1)).await.unwrap();
    expect(&mut reader, 1).await;
    server.kill_and_restart();
    // The first may meet a connection of which nobody has told yet that it is gone.
    let mut stored = Err(TopicError::Busy);
    while stored.is_err() {
        stored = written.publish(Entry::value(&2).dedup("two")).await;
    }
    expect(&mut reader, 2).await;
    written.publish(Entry::value(&3)).await.unwrap();
    expect(&mut reader, 3).await;
}
