//! A store in Redis: several commands at once, and a Redis that goes away.

use serde_json::json;
use updraft_test_support::eventually;
use updraft_test_support::redis::RedisServer;

use super::*;

#[test]
fn topic_020_in_two_terminals_lines_are_followed_while_they_are_published() {
    let redis = RedisServer::start();
    let store = redis.url();
    let mut publish = command(&store, &["publish", "orders", "--create", "--positions"]);
    let mut publishing = Running::start(publish.stdin(Stdio::piped()));
    let mut input = publishing.input();
    writeln!(input, "0").expect("it reads");
    assert_eq!(publishing.line()["offset"], json!(1));
    let arguments = ["follow", "orders", "--from", "earliest", "--count", "101"];
    let following = Running::start(&mut command(&store, &arguments));
    for number in 0..=100 {
        if number > 0 {
            writeln!(input, "{number}").expect("it reads");
        }
        let line = following.line();
        assert_eq!(
            (&line["offset"], &line["payload"]),
            (&json!(number + 1), &json!(number))
        );
    }
    let ended = following.end();
    assert_eq!((ended.code, &*ended.out, &*ended.err), (Some(0), "", ""));
    drop(input);
    assert_eq!(publishing.end().code, Some(0));
    // What comes behind the end, and only that.
    let latest = Running::start(&mut command(&store, &["follow", "orders"]));
    let mut number = 101;
    eventually("it follows", || {
        number += 1;
        let mut one = command(&store, &["publish", "orders"])
            .stdin(Stdio::piped())
            .spawn();
        let child = one.as_mut().expect("it runs");
        let mut input = child.stdin.take().expect("a pipe");
        writeln!(input, "{number}").expect("it reads");
        drop(input);
        assert!(child.wait().is_ok_and(|status| status.success()));
        latest.lines.try_recv().is_ok()
    });
    latest.signal("TERM");
    assert_eq!(latest.end().code, Some(0));
}

#[test]
fn stores_with_prefixes_are_apart() {
    let folder = Folder::new();
    let redis = RedisServer::start();
    let store = redis.url();
    let prefixes = [
        "--store-prefix",
        "app:topics:",
        "--store-bus-prefix",
        "app:",
    ];
    let arguments = [&["publish", "orders", "--create"], &prefixes[..]].concat();
    assert_eq!(
        run_with(&store, &arguments, folder.file("1\n")).code,
        Some(0)
    );
    assert_eq!(run(&store, &["list"]).out, "");
    let follow = [
        &["follow", "orders", "-n", "1", "--count", "2"],
        &prefixes[..],
    ]
    .concat();
    let following = Running::start(&mut command(&store, &follow));
    assert_eq!(following.line()["payload"], json!(1));
    assert_eq!(
        run_with(&store, &arguments, folder.file("2\n")).code,
        Some(0)
    );
    assert_eq!(following.line()["payload"], json!(2));
    assert_eq!(following.end().code, Some(0));
}

#[test]
fn topic_026_who_follows_waits_for_a_redis_and_is_told_that_it_has_lost_all() {
    let folder = Folder::new();
    let mut redis = RedisServer::start();
    let store = redis.url();
    publish(&folder, &store, "orders", &numbers(1, 3));
    let arguments = ["follow", "orders", "--from", "earliest"];
    let failing = Running::start(&mut command(&store, &arguments));
    let arguments = [&arguments[..], &["--on-loss", "earliest", "--count", "4"]].concat();
    let staying = Running::start(&mut command(&store, &arguments));
    for follower in [&failing, &staying] {
        for number in 1..=3 {
            assert_eq!(follower.line()["offset"], json!(number));
        }
    }
    redis.kill();
    redis.restart();
    let lost = failing.end();
    assert_eq!(lost.code, Some(3), "{lost:?}");
    assert!(
        lost.err.contains("the topic was created again or was lost"),
        "{lost:?}"
    );
    publish(&folder, &store, "orders", "4\n");
    let line = staying.line();
    assert_eq!((&line["offset"], &line["payload"]), (&json!(1), &json!(4)));
    let ended = staying.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        ended
            .err
            .contains("the topic was created again or was lost"),
        "{ended:?}"
    );
}

#[test]
fn topic_087_damaged_records_are_left_out_and_told() {
    let folder = Folder::new();
    let redis = RedisServer::start();
    let store = redis.url();
    publish(&folder, &store, "orders", &numbers(1, 2));
    // Somebody else's entries, and the note of the topic is gone: it is taken up again.
    let log = "updraft:topics:t{orders}log";
    redis.tell("XADD", &[log, "3-7", "t", "1", "c", "x"]);
    redis.tell("XADD", &[log, "4-7", "t", "1", "c", ""]);
    redis.tell("DEL", &["updraft:topics:t{orders}meta"]);
    publish(&folder, &store, "orders", "5\n");
    let read = run(&store, &["read", "orders"]);
    assert_eq!(read.code, Some(4), "{read:?}");
    let expected = [(1, json!(1)), (2, json!(2)), (5, json!(5))];
    assert_eq!(records(&parsed(&read.out)), expected);
    let told = "record 3 is damaged in the store, and is left out\n\
                record 4 is damaged in the store, and is left out\n";
    assert_eq!(read.err, told);
    let follow = run(&store, &["follow", "orders", "-n", "3", "--count", "1"]);
    assert_eq!((follow.code, &*follow.err), (Some(4), told));
    assert_eq!(records(&parsed(&follow.out)), [(5, json!(5))]);
    let info = run(&store, &["info", "orders", "--json", "--exact"]);
    assert_eq!(info.code, Some(4), "{info:?}");
    assert_eq!(parsed(&info.out)[0]["records"], json!(3));
}

#[test]
fn topics_are_listed_page_by_page() {
    let redis = RedisServer::start();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let url = redis.url();
    runtime.block_on(async {
        use updraft::topics::{Create, Log, RedisSettings, RedisStore, TopicName};
        let store = RedisStore::open(&url, RedisSettings::default())
            .await
            .expect("a store");
        for number in 0..2500 {
            let name = TopicName::new(&format!("t{number:04}")).expect("a name");
            store.open(&name, Create::IfMissing).await.expect("a topic");
        }
    });
    let listed = run(&url, &["list"]);
    let names: Vec<String> = (0..2500).map(|number| format!("t{number:04}")).collect();
    assert!(listed.out.lines().eq(names.iter().map(String::as_str)));
    assert_eq!(run(&url, &["list", "t01"]).out.lines().count(), 100);
}
