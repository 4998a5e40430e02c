//! Entries of plain streams become records, once each and in order, whatever becomes of the
//! processes that copy them; and the examples of `docs/ingest.md` work as they are written.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use std::{env, thread};

use redis::Connection;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use updraft_protocol::ejson;
use updraft_test_support::page::Page;
use updraft_test_support::redis::RedisServer;
use updraft_test_support::script::installed;
use updraft_topics::{
    Codec, Create, End, Ingest, IngestSettings, IngestStats, Log, OnLoss, Place, Received, Record,
    RedisStore, Settings, Start, TopicName,
};

use crate::{LOG, META, ask, open, page, topic, topics};

const INGEST: &str = "updraft:topics:t{orders}ingest";
const REJECTED: &str = "updraft:topics:t{orders}rejected";
const IDS: &str = "updraft:topics:t{orders}ids";
const AGES: &str = "updraft:topics:t{orders}ages";

fn settings() -> IngestSettings {
    let mut settings = IngestSettings::default();
    settings.poll = Duration::from_millis(5);
    // The machine may be slow: a copier that loses its lease does not count what it was doing.
    settings.lease = Duration::from_secs(60);
    settings
}

/// Those of copiers that are killed, with which others take over soon.
fn of_the_killed() -> IngestSettings {
    let mut settings = settings();
    settings.lease = Duration::from_millis(500);
    settings
}

fn ingest(store: &RedisStore, settings: IngestSettings) -> Ingest {
    let ingest = Ingest::new(store, settings);
    ingest.topic("orders").unwrap()
}

/// Copies until something holds.
async fn copy_until(ingest: &Ingest, what: &str, holds: impl FnMut() -> bool) {
    tokio::select! {
        _ = ingest.run() => {}
        () = eventually(what, holds) => {}
    }
}

async fn copy_all(ingest: &Ingest, direct: &mut Connection) {
    let is_empty = || ask::<u64>(direct, &format!("XLEN {INGEST}")) == 0;
    copy_until(ingest, "all is copied", is_empty).await;
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..6000 {
        if holds() {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("never happened: {what}");
}

fn add(direct: &mut Connection, key: &str, fields: &[(&[u8], &[u8])]) -> String {
    let mut add = redis::cmd("XADD");
    add.arg(key).arg("*");
    for (name, value) in fields {
        add.arg(*name).arg(*value);
    }
    add.query(direct).unwrap()
}

/// All records of a topic.
async fn records(store: &RedisStore, topic: &TopicName) -> Vec<Record> {
    let epoch = Log::open(store, topic, Create::Never).await.unwrap().epoch;
    let mut records = Vec::new();
    let mut place = Place::start(epoch);
    loop {
        let page = page(store, topic, place).await;
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

/// The fields of the entries of a stream.
fn entries(direct: &mut Connection, key: &str) -> Vec<Vec<(String, Vec<u8>)>> {
    let found: Vec<(String, Raw)> = ask(direct, &format!("XRANGE {key} - +"));
    let fields = found.into_iter().map(|(_, fields)| fields);
    let named = |(name, value): (Vec<u8>, _)| (String::from_utf8_lossy(&name).into(), value);
    let fields = fields.map(|fields| fields.into_iter().map(named).collect());
    fields.collect()
}

/// The names and values of an entry.
type Raw = Vec<(Vec<u8>, Vec<u8>)>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_becomes_a_record_with_all_its_fields_and_wakes_readers() {
    let server = RedisServer::start();
    let mut direct = server.connection();
    let store = open(&server.url()).await;
    let topics = topics(&server.url()).await;
    let mut no_poll = Settings::default();
    no_poll.poll = Duration::from_secs(3600);
    let orders = topics.topic("orders", no_poll).await.unwrap();
    let mut reader = orders.reader(Start::Latest, OnLoss::Fail).await.unwrap();

    let ingest = Arc::new(ingest(&store, settings()));
    let mut copying = JoinSet::new();
    let copier = Arc::clone(&ingest);
    copying.spawn(async move {
        copier.run().await;
    });
    add(
        &mut direct,
        INGEST,
        &[
            (b"meta.source", b"shop"),
            (b"payload", b" {\"at\":{\"$date\":5},\"n\":1}\n"),
            (b"id", "order 7 ä".as_bytes()),
            (b"key", b"customer 3"),
            (b"compact", b"order 7"),
            (b"meta.", b""),
        ],
    );
    let mut next = async || {
        let next = timeout(Duration::from_secs(30), reader.next()).await;
        match next.expect("the reader is woken") {
            Some(Ok(Received::Message(message))) => message,
            other => panic!("no record: {other:?}"),
        }
    };
    let message = next().await;
    let at = ejson::Date::from_millis(5.0);
    assert_eq!(
        message.value().unwrap(),
        updraft_protocol::ejson!({ "at": at, "n": 1 })
    );
    assert_eq!(
        (message.key(), message.compact()),
        (Some("customer 3"), Some("order 7"))
    );
    let meta = [("", ""), ("source", "shop")].map(|(name, text)| (name.into(), text.into()));
    assert_eq!(message.meta(), &BTreeMap::<String, String>::from(meta));

    // Added again by a producer that got no answer, then another one, and the end of the first.
    for _ in 0..2 {
        let fields: [(&[u8], &[u8]); 2] = [(b"payload", b"1"), (b"id", "order 7 ä".as_bytes())];
        add(&mut direct, INGEST, &fields);
    }
    add(&mut direct, INGEST, &[(b"payload", b"2")]);
    add(
        &mut direct,
        INGEST,
        &[(b"tombstone", b"order 7"), (b"key", b"k")],
    );
    assert_eq!(next().await.payload().unwrap(), "2");
    let tombstone = next().await;
    assert_eq!(
        (tombstone.payload(), tombstone.compact()),
        (None, Some("order 7"))
    );
    assert_eq!(tombstone.offset(), 3);
    let mut expected = IngestStats::default();
    (expected.copied, expected.duplicates) = (3, 2);
    eventually("all are counted", || ingest.stats() == expected).await;
    assert_eq!(ask::<u64>(&mut direct, &format!("XLEN {INGEST}")), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_of_bytes_gets_bytes() {
    let server = RedisServer::start();
    let mut direct = server.connection();
    let store = open(&server.url()).await;
    let mut settings = settings();
    settings.codec = Codec::Bytes("image/png".into());
    add(&mut direct, INGEST, &[(b"payload", b"\x89PNG\0\xff")]);
    copy_all(&ingest(&store, settings), &mut direct).await;
    let record = records(&store, &topic("orders")).await.remove(0);
    assert_eq!(record.content.payload.unwrap(), &b"\x89PNG\0\xff"[..]);
    assert_eq!(record.content.content_type.as_deref(), Some("image/png"));
}

/// Each is parked with a reason, and those around it are copied.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_that_cannot_be_read_are_parked_and_hold_up_nobody() {
    let server = RedisServer::start();
    let mut direct = server.connection();
    let store = open(&server.url()).await;
    let mut settings = settings();
    settings.limits.payload = 1000;
    settings.limits.key = 10;
    settings.limits.meta = 20;
    let long = [b'x'; 1000];
    let deep = [&[b'['; 65][..], &[b']'; 65]].concat();
    let quoted = [b"\"", &long[..], b"\""].concat();
    let name = [b"\x1b[2J\n", &long[..]].concat();
    let many: Vec<(Vec<u8>, Vec<u8>)> = (0..1500)
        .map(|n| (format!("meta.{n}").into_bytes(), Vec::new()))
        .collect();
    let many: Vec<(&[u8], &[u8])> = many.iter().map(|(a, b)| (&a[..], &b[..])).collect();
    let huge = vec![b'7'; 20 << 20];
    type Bad<'a> = (&'a [(&'a [u8], &'a [u8])], &'a str);
    let bad: &[Bad<'_>] = &[
        (&[(b"key", b"k")], "there is no field payload"),
        (&[(b"Payload", b"1")], "the field Payload is not known"),
        (
            &[(b"payload", b"1"), (b"meta", b"x")],
            "the field meta is not known",
        ),
        (&[(&name, b"")], "the field \\u{1b}[2J\\nxxx"),
        (
            &[(b"payload", b"1"), (b"payload", b"2")],
            "the field payload is there twice",
        ),
        (
            &[(b"payload", b"1"), (b"meta.a", b"1"), (b"meta.a", b"1")],
            "the field meta.a is there twice",
        ),
        (&[(b"payload", b"{\"id\":")], "the payload is not JSON: "),
        (&[(b"payload", b"")], "the payload is not JSON: "),
        (&[(b"payload", b"\"\xff\"")], "the payload is not JSON: "),
        (&[(b"payload", &deep)], "the payload is not JSON: "),
        (
            &[(b"payload", b"\xef\xbb\xbf{}")],
            "the payload is not JSON: it begins with a byte order mark",
        ),
        (&[(b"payload", b"1"), (b"id", b"")], "the field id is empty"),
        (
            &[(b"payload", b"1"), (b"key", b"")],
            "the field key is empty",
        ),
        (
            &[(b"payload", b"1"), (b"compact", b"")],
            "the field compact is empty",
        ),
        (&[(b"tombstone", b"")], "the field tombstone is empty"),
        (
            &[(b"payload", b"1"), (b"key", b"\xc3")],
            "a text is not UTF-8",
        ),
        (
            &[(b"payload", b"1"), (b"meta.\xff", b"")],
            "a text is not UTF-8",
        ),
        (
            &[(b"payload", b"1"), (b"tombstone", b"a")],
            "with the field tombstone there is neither payload nor compact",
        ),
        (
            &[(b"tombstone", b"a"), (b"compact", b"a")],
            "with the field tombstone there is neither payload nor compact",
        ),
        (
            &[(b"payload", &quoted)],
            "the payload has 1002 bytes and may have 1000",
        ),
        (
            &[(b"payload", b"1"), (b"key", b"12345678901")],
            "the key has 11 bytes and may have 10",
        ),
        (
            &[(b"payload", b"1"), (b"meta.source", b"123456789012345")],
            "the metadata has 21 bytes and may have 20",
        ),
        (&many, "the entry has "),
        (
            &[(b"payload", &huge), (b"key", b"k")],
            "the entry has 20971531 bytes",
        ),
    ];
    let mut expected = Vec::new();
    for (n, (fields, reason)) in bad.iter().enumerate() {
        let id = add(&mut direct, INGEST, fields);
        expected.push((id, *reason));
        add(
            &mut direct,
            INGEST,
            &[(b"payload", n.to_string().as_bytes())],
        );
    }
    let ingest = ingest(&store, settings);
    let count = u64::try_from(bad.len()).unwrap();
    let mut all = IngestStats::default();
    (all.copied, all.rejected) = (count, count);
    copy_until(&ingest, "all are counted", || ingest.stats() == all).await;
    let copied = records(&store, &topic("orders")).await;
    let payloads: Vec<usize> = copied
        .iter()
        .map(|it| payload(it).parse().unwrap())
        .collect();
    assert!(payloads.into_iter().eq(0..bad.len()));
    let parked = entries(&mut direct, REJECTED);
    assert_eq!(parked.len(), bad.len());
    for ((fields, (id, reason)), (original, _)) in parked.iter().zip(expected).zip(bad) {
        let told = String::from_utf8(fields[0].1.clone()).unwrap();
        assert!(
            fields[0].0 == "reason" && told.starts_with(reason),
            "{told} for {reason}"
        );
        assert!(told.len() < 200);
        assert_eq!(fields[1], ("id".into(), id.into_bytes()));
        assert_eq!(fields.len(), 2 + original.len().min(1000));
        if original.len() < 3 && original[0].1.len() < 2000 {
            for (kept, original) in fields[2..].iter().zip(*original) {
                assert_eq!(kept.1, original.1);
            }
        }
    }
    // What is too large for that is cut.
    let sizes: Vec<usize> = parked
        .last()
        .unwrap()
        .iter()
        .map(|(_, it)| it.len())
        .collect();
    assert_eq!(sizes[2..], [(16 << 20) - b"payload".len(), 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_many_rejected_entries_are_kept_as_is_said() {
    let server = RedisServer::start();
    let mut direct = server.connection();
    let store = open(&server.url()).await;
    for n in 0..1500 {
        add(
            &mut direct,
            INGEST,
            &[(b"nothing", n.to_string().as_bytes())],
        );
    }
    let mut settings = settings();
    settings.rejected = 300;
    let ingest = ingest(&store, settings);
    let all_are_counted = || ingest.stats().rejected == 1500;
    copy_until(&ingest, "all are counted", all_are_counted).await;
    let kept = entries(&mut direct, REJECTED);
    assert!((300..500).contains(&kept.len()), "{}", kept.len());
    assert_eq!(
        kept.last().unwrap()[2],
        ("nothing".into(), b"1499".to_vec())
    );

    // So are those for a topic that is closed.
    store.end(&topic("orders"), End::Close).await.unwrap();
    add(&mut direct, INGEST, &[(b"payload", b"1")]);
    copy_all(&ingest, &mut direct).await;
    let kept = entries(&mut direct, REJECTED);
    let last = kept.last().unwrap();
    assert_eq!(last[0], ("reason".into(), b"the topic is closed".to_vec()));
    assert_eq!(last[2], ("payload".into(), b"1".to_vec()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_with_a_prefix_are_found_and_one_bad_key_harms_no_other() {
    let server = RedisServer::start();
    let mut direct = server.connection();
    let store = open(&server.url()).await;
    let key = |name: &str| format!("updraft:topics:t{{{name}}}ingest");
    let one = |direct: &mut Connection, name: &str| {
        add(direct, &key(name), &[(b"payload", b"1")]);
    };
    for name in ["s/{a}%", "s/bad", "s/c", "other"] {
        Log::open(&store, &topic(name), Create::IfMissing)
            .await
            .unwrap();
    }
    let _: String = ask(&mut direct, &format!("SET {} x", key("s/bad")));
    for name in ["s/%7Ba%7D%25", "s/c", "s/new", "other"] {
        one(&mut direct, name);
    }
    let ingest = Ingest::new(&store, settings()).prefix("s/").unwrap();
    copy_until(&ingest, "both are copied", || ingest.stats().copied == 2).await;
    assert_eq!(records(&store, &topic("s/{a}%")).await.len(), 1);
    assert_eq!(records(&store, &topic("s/c")).await.len(), 1);
    assert_eq!(records(&store, &topic("other")).await.len(), 0);
    // One that is not there is not made, but found when it is.
    let error = Log::open(&store, &topic("s/new"), Create::Never).await;
    assert_eq!(error.unwrap_err().code(), "unknown-topic");
    tokio::select! {
        _ = ingest.run() => {}
        () = async {
            Log::open(&store, &topic("s/new"), Create::IfMissing).await.unwrap();
            eventually("it is found", || ingest.stats().copied == 3).await;
        } => {}
    }
    // A topic takes its streams with it.
    one(&mut direct, "s/c");
    store.end(&topic("s/c"), End::Delete).await.unwrap();
    assert_eq!(
        ask::<u64>(&mut direct, &format!("EXISTS {}", key("s/c"))),
        0
    );

    let bad = Ingest::new(&store, settings());
    assert_eq!(bad.topic("_x").unwrap_err().code(), "bad-name");
    let bad = Ingest::new(&store, settings());
    assert_eq!(bad.prefix("\n").unwrap_err().code(), "bad-name");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_one_copies_when_the_first_is_dropped() {
    let server = RedisServer::start();
    let mut direct = server.connection();
    let store = open(&server.url()).await;
    let mut settings = settings();
    settings.lease = Duration::from_secs(3600);
    let (first, second) = (ingest(&store, settings.clone()), ingest(&store, settings));
    add(&mut direct, INGEST, &[(b"payload", b"1")]);
    copy_until(&first, "the first copies", || first.stats().copied == 1).await;
    // The lease is free although its time is not over.
    let is_free = || {
        let mut get = redis::cmd("GET");
        get.arg("updraft:topics:r{ingest}=topic orders");
        let lease: String = get.query(&mut direct).unwrap();
        lease.ends_with(" -\n")
    };
    eventually("the lease is free", is_free).await;
    add(&mut direct, INGEST, &[(b"payload", b"2")]);
    copy_until(&second, "the second copies", || second.stats().copied == 1).await;
    let copied = records(&store, &topic("orders")).await;
    assert_eq!(copied.iter().map(payload).collect::<Vec<_>>(), ["1", "2"]);
}

/// With the topic, or some of its keys, gone in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_are_copied_into_the_topic_that_is_there() {
    let server = RedisServer::start();
    let mut direct = server.connection();
    let store = open(&server.url()).await;
    let orders = topic("orders");
    let ingest = ingest(&store, settings());
    let mut epochs = Vec::new();
    for (n, breakage) in [
        "PING",
        &format!("DEL {META}"),
        &format!("DEL {LOG}"),
        "FLUSHALL",
    ]
    .into_iter()
    .enumerate()
    {
        let _: redis::Value = ask(&mut direct, breakage);
        add(
            &mut direct,
            INGEST,
            &[(b"payload", n.to_string().as_bytes())],
        );
        copy_all(&ingest, &mut direct).await;
        let copied = records(&store, &orders).await;
        assert_eq!(payload(copied.last().unwrap()), n.to_string());
        let epoch = Log::open(&store, &orders, Create::Never)
            .await
            .unwrap()
            .epoch;
        assert!(!epochs.contains(&epoch));
        epochs.push(epoch);
    }
    // A stream that was made anew, with lower ids than the last, is copied too.
    let _: u64 = ask(&mut direct, &format!("DEL {INGEST}"));
    let _: String = ask(&mut direct, &format!("XADD {INGEST} 1-1 payload 4"));
    copy_all(&ingest, &mut direct).await;
    let _: u64 = ask(&mut direct, &format!("DEL {INGEST}"));
    let highest = "18446744073709551615-18446744073709551615";
    let _: String = ask(&mut direct, &format!("XADD {INGEST} {highest} payload 5"));
    copy_all(&ingest, &mut direct).await;
    let copied = records(&store, &orders).await;
    assert_eq!(
        copied.iter().map(payload).collect::<Vec<_>>(),
        ["3", "4", "5"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copier_goes_on_when_redis_is_back() {
    let mut server = RedisServer::start();
    let store = open(&server.url()).await;
    let ingest = Arc::new(ingest(&store, settings()));
    let mut copying = JoinSet::new();
    let copier = Arc::clone(&ingest);
    copying.spawn(async move {
        copier.run().await;
    });
    for copied in 1..=3 {
        let mut direct = server.connection();
        add(&mut direct, INGEST, &[(b"payload", b"1")]);
        eventually("it is copied", || ingest.stats().copied == copied).await;
        server.restart();
    }
}

const CHILD: &str = "UPDRAFT_TOPICS_TEST_INGEST";

/// Runs in a process of its own until it is killed.
#[tokio::test]
#[ignore = "other tests start it as a process, and kill it"]
async fn child_that_copies() {
    let Ok(url) = env::var(CHILD) else {
        return;
    };
    let store = open(&url).await;
    ingest(&store, of_the_killed()).run().await;
}

/// A child process that is killed with its owner.
struct Killed(Child);

impl Killed {
    fn copier(url: &str) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command
            .args(["--ignored", "--exact", "ingest::child_that_copies"])
            .env(CHILD, url)
            .stdout(Stdio::null());
        Self(command.spawn().unwrap())
    }

    fn signal(&self, name: &str) {
        let id = self.0.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        assert!(sent.unwrap().success());
    }

    /// Tells it a line.
    fn tell(&mut self, line: &str) {
        let input = self.0.stdin.as_mut().unwrap();
        writeln!(input, "{line}").unwrap();
    }

    /// Waits until it has ended by itself.
    fn end(mut self) {
        drop(self.0.stdin.take());
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Adds as many entries as each line of its input says.
const NODE: &str = r"
import { createInterface } from 'node:readline';
import { Redis } from 'ioredis';

const redis = new Redis(process.env.REDIS_URL);
let n = 0;
for await (const line of createInterface({ input: process.stdin })) {
  for (let left = Number(line); left > 0; left--) {
    n++;
    const payload = JSON.stringify({ from: 'node', n });
    await redis.xadd(process.env.STREAM, '*', 'payload', payload, 'key', 'node', 'id', `node ${n}`);
  }
}
await redis.quit();
";

const PYTHON: &str = r#"
import json, os, sys, redis

client = redis.Redis.from_url(os.environ["REDIS_URL"])
n = 0
for line in sys.stdin:
    for _ in range(int(line)):
        n += 1
        payload = json.dumps({"from": "python", "n": n})
        client.xadd(os.environ["STREAM"], {"meta.source": "test", "payload": payload})
"#;

const PRODUCERS: [&str; 3] = ["redis-cli", "node", "python"];

/// What a program of another language runs in: the packages of the tests, and this Redis.
fn foreign(program: &str, url: &str) -> Command {
    let clients = installed(&["node_modules", "python"]);
    let mut command = Command::new(program);
    command
        .env("REDIS_URL", url)
        .env("STREAM", INGEST)
        .env("PYTHONPATH", clients.join("python"))
        // Node finds packages from there.
        .current_dir(clients);
    command
}

fn producer(name: &str, url: &str) -> Killed {
    let mut command = match name {
        "node" => foreign("node", url),
        "python" => foreign("python3", url),
        _ => foreign("redis-cli", url),
    };
    match name {
        "node" => command.args(["--input-type=module", "--eval", NODE]),
        "python" => command.args(["-c", PYTHON]),
        _ => command.args(["-u", url]),
    };
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    Killed(command.spawn().unwrap())
}

/// Lets a producer add so many entries, the first of which has this number.
fn produce(producer: &mut Killed, name: &str, first: u64, count: u64) {
    if name != "redis-cli" {
        return producer.tell(&count.to_string());
    }
    for n in first..first + count {
        let payload = format!(r#"{{"from":"redis-cli","n":{n}}}"#);
        producer.tell(&format!("XADD {INGEST} * payload '{payload}'"));
    }
}

/// Makes everything that Redis remembers of ids for deduplication ten minutes older, as if its clock
/// had gone on so far.
fn let_ten_minutes_pass(direct: &mut Connection) {
    let age = "local ms = 600000
        local all = redis.call('HGETALL', KEYS[1])
        for i = 1, #all, 2 do
          local head, time = string.match(all[i + 1], '^(.* )(%d+)$')
          local stamp = string.format('%.0f', time - ms)
          redis.call('HSET', KEYS[1], all[i], head .. stamp)
          redis.call('ZADD', KEYS[2], stamp, all[i])
        end
        redis.call('HINCRBY', KEYS[3], 'time', -ms)
        return #all / 2";
    let mut call = redis::cmd("EVAL");
    call.arg(age).arg(3).arg(IDS).arg(AGES).arg(META);
    let aged: u64 = call.query(direct).unwrap();
    println!("{aged} ids are ten minutes older");
}

/// Whether the entries of each producer are there once and in order.
fn check_sources(records: &[Record], counts: &[(&str, u64)]) {
    let mut next = HashMap::new();
    for record in records {
        let value = ejson::parse(payload(record), &ejson::JsonLimits::new(9, 9)).unwrap();
        let from = value.get("from").unwrap().as_str().unwrap().to_owned();
        let n = value.get("n").unwrap().as_f64().unwrap();
        let expected = next.entry(from).or_insert(0_u32);
        *expected += 1;
        assert_eq!(n, f64::from(*expected));
    }
    for (name, count) in counts {
        assert_eq!(
            next.get(*name).copied().map(u64::from),
            Some(*count),
            "{name}"
        );
    }
}

/// 10,000 entries of producers in three languages.
async fn kill_a_copier(rounds: u64, each: u64) {
    let server = RedisServer::start();
    let mut direct = server.connection();
    let store = open(&server.url()).await;
    let orders = topic("orders");
    Log::open(&store, &orders, Create::IfMissing).await.unwrap();
    let mut producers = PRODUCERS.map(|name| (name, producer(name, &server.url())));
    let portion = each / (rounds + 5);
    let mut produced = 0;
    let mut last = || -> u64 { ask(&mut direct, &format!("HGET {META} last")) };
    for round in 0..rounds {
        let before = last();
        let copier = Killed::copier(&server.url());
        for (name, producer) in &mut producers {
            produce(producer, name, produced + 1, portion);
        }
        produced += portion;
        let enough = before + 1 + (round * 37) % (portion * 2);
        eventually("entries are copied", || last() >= enough).await;
        drop(copier);
        if round == rounds / 2 {
            let_ten_minutes_pass(&mut server.connection());
        }
    }
    for (name, producer) in &mut producers {
        produce(producer, name, produced + 1, each - produced);
    }
    for (_, producer) in producers {
        producer.end();
    }
    let_ten_minutes_pass(&mut server.connection());
    let last = last();
    println!(
        "{last} of {} were copied by processes that were killed",
        3 * each
    );
    copy_all(&ingest(&store, of_the_killed()), &mut direct).await;
    let records = records(&store, &orders).await;
    check_sources(&records, &PRODUCERS.map(|name| (name, each)));
    assert_eq!(ask::<u64>(&mut direct, &format!("EXISTS {REJECTED}")), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copiers_that_are_killed_copy_each_entry_once_and_in_order() {
    kill_a_copier(20, 3334).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "200 processes: run by cargo xtask soak"]
async fn soak_copiers_that_are_killed_copy_each_entry_once_and_in_order() {
    kill_a_copier(200, 33_334).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copier_that_stood_still_copies_nothing_twice() {
    let server = RedisServer::start();
    let mut direct = server.connection();
    let store = open(&server.url()).await;
    let orders = topic("orders");
    Log::open(&store, &orders, Create::IfMissing).await.unwrap();
    let last = |direct: &mut Connection| -> u64 { ask(direct, &format!("HGET {META} last")) };
    let mut count = 0;
    let mut add_more = |direct: &mut Connection| {
        let mut pipe = redis::pipe();
        for _ in 0..1000 {
            count += 1;
            let payload = format!(r#"{{"from":"test","n":{count}}}"#);
            pipe.cmd("XADD")
                .arg(INGEST)
                .arg("*")
                .arg("payload")
                .arg(payload);
        }
        pipe.query::<Vec<String>>(direct).unwrap();
        count
    };
    let child = Killed::copier(&server.url());
    for round in 0_u64..10 {
        let before = last(&mut direct);
        add_more(&mut direct);
        eventually("the child copies", || last(&mut direct) > before).await;
        thread::sleep(Duration::from_millis(round % 4));
        child.signal("STOP");
        add_more(&mut direct);
        // Another one takes over, and the child goes on while that one copies, or afterwards. A
        // batch of the child may be under way.
        let other = ingest(&store, of_the_killed());
        let enough = last(&mut direct) + 300;
        let has_copied = || last(&mut direct) > enough;
        copy_until(&other, "another one copies", has_copied).await;
        if round % 2 == 0 {
            copy_all(&other, &mut direct).await;
        }
        child.signal("CONT");
    }
    let total = add_more(&mut direct);
    drop(child);
    copy_all(&ingest(&store, of_the_killed()), &mut direct).await;
    check_sources(&records(&store, &orders).await, &[("test", total)]);
}

fn run(mut command: Command, input: Option<&str>) {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    if let Some(input) = input {
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
    }
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success(), "{command:?}");
}

/// The examples of the page, as they are there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lines_of_the_page_are_copied() {
    let guide = Page::read("ingest.md");
    let server = RedisServer::start();
    let mut direct = server.connection();
    let store = open(&server.url()).await;
    let shell = |text: &str| {
        let mut command = foreign("sh", &server.url());
        command.args(["-euc", text]);
        run(command, None);
    };
    let [add_one, reject] = &guide.blocks("Redis", "sh")[..] else {
        panic!("other examples");
    };
    shell(add_one);
    for script in guide.blocks("Redis", "js") {
        let mut command = foreign("node", &server.url());
        command.args(["--input-type=module", "-"]);
        run(command, Some(&script));
    }
    for script in guide.blocks("Redis", "python") {
        run(foreign("python3", &server.url()), Some(&script));
    }
    let (bad, look) = reject.split_once('\n').unwrap();
    shell(bad);
    let ingest = ingest(&store, settings());
    copy_all(&ingest, &mut direct).await;
    shell(look);
    let records = records(&store, &topic("orders")).await;
    let expected = [
        ("customer 3", "{\"id\":7,"),
        ("customer 4", "{\"id\":8,"),
        ("customer 3", "{\"id\": 9,"),
    ];
    assert_eq!(records.len(), expected.len());
    for (record, (key, begin)) in records.iter().zip(expected) {
        assert_eq!(record.content.key.as_deref(), Some(key));
        assert!(payload(record).starts_with(begin));
    }
    assert_eq!(
        records[2].content.meta.get("source").map(String::as_str),
        Some("shop")
    );
    assert_eq!(entries(&mut direct, REJECTED).len(), 1);
}
