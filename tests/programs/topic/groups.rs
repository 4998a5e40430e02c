//! `updraft group`: on a store in a file, and with several processes on one Redis.

use std::collections::BTreeSet;

use serde_json::json;
use updraft::topics::{
    Append, Content, Entry, FileStore, Group, GroupSettings, Log, NewRecord, RedisSettings,
    RedisStore, Settings, Store, TopicName, Topics,
};
use updraft_test_support::eventually;
use updraft_test_support::redis::RedisServer;

use super::*;

fn group(store: &str, arguments: &[&str]) -> Ended {
    let output = command_of("group", store, arguments).output();
    output.expect("the program runs").into()
}

fn start(store: &str, arguments: &[&str]) -> Running {
    Running::start(&mut command_of("group", store, arguments))
}

/// The only line of JSON that `info` prints.
#[track_caller]
fn info(store: &str, name: &str) -> Value {
    group(store, &["info", name, "--json"]).lines().remove(0)
}

/// Does something with the store itself, as a program that has it.
fn with_file<T>(folder: &Folder, work: impl AsyncFnOnce(&FileStore, &Topics) -> T) -> T {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let opened = FileStore::open(folder.path("topics.redb")).await;
        let store = opened.expect("the store");
        let topics = Topics::open(store.clone());
        let done = work(&store, &topics).await;
        drop(topics);
        store.close().await;
        done
    })
}

/// A group on topics, whose records of these keys are set aside by a member called `clerk`.
async fn reject(topics: &Topics, names: &[&str], keys: &[&str]) -> Group {
    let mut opened = Vec::new();
    for name in names {
        let topic = topics.topic(*name, Settings::default()).await;
        opened.push(topic.expect("a topic"));
    }
    let group = topics.group("billing", GroupSettings::on(&opened)).await;
    let group = group.expect("a group");
    let mut member = group.member("clerk");
    let handled = member.drain(async |delivery| {
        let key = delivery.message().key();
        if key.is_some_and(|key| keys.contains(&key)) {
            delivery.reject("no such customer").await?;
        }
        Ok(())
    });
    handled.await.expect("all are handled");
    member.leave().await.expect("it leaves");
    group
}

#[test]
fn a_group_in_a_file_is_created_consumed_and_shown() {
    let folder = Folder::new();
    let store = folder.store();
    let lines = "{\"id\":1,\"c\":\"a\"}\n{\"id\":2,\"c\":\"b\"}\n{\"id\":3,\"c\":\"a\"}\n";
    let input = folder.file(lines);
    let published = run_with(
        &store,
        &["publish", "orders", "--create", "--key-from", ".c"],
        input,
    );
    assert_eq!(published.code, Some(0), "{published:?}");
    assert_eq!(group(&store, &["list"]).out, "");

    let consume = ["consume", "billing", "--create", "orders", "--count", "2"];
    let consumed = group(&store, &consume);
    assert_eq!(consumed.err, "");
    let first = consumed.lines();
    assert_eq!(first.len(), 2);
    let shown = info(&store, "billing");
    assert_eq!(
        [
            &shown["group"],
            &shown["lag"],
            &shown["inFlight"],
            &shown["parked"],
            &shown["processes"],
            &shown["paused"],
            &shown["members"],
            &shown["oldestInFlight"],
        ],
        [
            &json!("billing"),
            &json!(1),
            &json!(0),
            &json!(0),
            &json!(0),
            &json!(false),
            &json!([]),
            &json!(null),
        ]
    );
    assert!(shown["oldestUndelivered"].is_u64(), "{shown}");
    let topic = &shown["topics"][0];
    assert_eq!(
        (&topic["topic"], &topic["lag"], &topic["last"]),
        (&json!("orders"), &json!(1), &json!(3))
    );
    let text = group(&store, &["info", "billing"]);
    assert!(
        text.out.contains("\nlag          1, the oldest is "),
        "{text:?}"
    );
    assert!(
        text.out
            .contains("\ntopic        orders: lag 1, finished up to "),
        "{text:?}"
    );

    // The rest, in another process.
    let rest = group(&store, &["consume", "billing", "--drain"]).lines();
    let all = [first, rest].concat();
    let offsets: BTreeSet<u64> = all.iter().filter_map(|it| it["offset"].as_u64()).collect();
    assert!(all.len() == 3 && offsets.into_iter().eq(1..=3), "{all:?}");
    let of_a = all.iter().filter(|line| line["key"] == json!("a"));
    let of_a: Vec<_> = of_a.map(|line| line["payload"]["id"].clone()).collect();
    assert_eq!(of_a, [json!(1), json!(3)]);
    for line in &all {
        assert_eq!(
            (&line["topic"], &line["deliveries"]),
            (&json!("orders"), &json!(1))
        );
        assert!(line["position"].is_string() && line["generation"].is_u64());
    }
    assert_eq!(group(&store, &["consume", "billing", "--drain"]).out, "");
    assert_eq!(info(&store, "billing")["lag"], json!(0));

    group(
        &store,
        &["consume", "shipping", "--create", "orders", "--count", "0"],
    )
    .lines();
    assert_eq!(group(&store, &["list"]).out, "billing\nshipping\n");
    assert_eq!(group(&store, &["list", "sh"]).out, "shipping\n");
    let of_topic = group(&store, &["list", "--topic", "orders"]);
    assert_eq!(of_topic.out, "billing\nshipping\n");
}

#[test]
fn a_group_that_is_not_there_is_an_error_that_names_the_nearest() {
    let folder = Folder::new();
    let store = folder.store();
    let said = group(&store, &["list"]);
    assert!(said.refusal(1).contains("there is no store"), "{said:?}");
    publish(&folder, &store, "orders", "1\n");
    let said = group(&store, &["info", "billing"]);
    let expected = "error: there is no group \"billing\"; the store has none\n";
    assert_eq!(said.refusal(1), expected);
    group(
        &store,
        &["consume", "billing", "--create", "orders", "--count", "0"],
    )
    .lines();
    for arguments in [
        &["info", "biling"][..],
        &["info", "biling", "--watch"],
        &["consume", "biling"],
        &["dead", "list", "biling"],
        &["dead", "replay", "biling", "1"],
        &["dead", "drop", "biling", "--all"],
        &["pause", "biling"],
        &["resume", "biling"],
    ] {
        let said = group(&store, arguments);
        let expected = "error: there is no group \"biling\"; did you mean \"billing\"?\n";
        assert_eq!(said.refusal(1), expected, "{arguments:?}");
    }
    let said = group(&store, &["info", "shipping"]);
    assert!(said.refusal(1).contains("`updraft group list`"), "{said:?}");
    let said = group(&store, &["consume", "new", "--create", "oders"]);
    assert!(
        said.refusal(1).contains("did you mean \"orders\"?"),
        "{said:?}"
    );
    let said = group(&store, &["list", "--topic", "oders"]);
    assert!(
        said.refusal(1).contains("did you mean \"orders\"?"),
        "{said:?}"
    );
    assert_eq!(group(&store, &["list"]).out, "billing\n");
    let long = "x".repeat(256);
    for name in ["", "_x", "a\nb", &long] {
        let said = group(&store, &["info", name]);
        assert!(said.refusal(2).contains("1 to 255 bytes"), "{said:?}");
    }
    for arguments in [
        &["dead", "replay", "billing"][..],
        &["dead", "replay", "billing", "1", "--all"],
        &["dead", "drop", "billing", "1", "--yes"],
        &["dead", "drop", "billing", "x"],
        &["info", "billing", "--every", "1s"],
        &["info", "billing", "--watch", "--every", "1"],
        &["dead"],
    ] {
        assert!(!group(&store, arguments).refusal(2).is_empty());
    }
    let help = group("", &["--help"]);
    let of_topics = run("", &["--help"]);
    let codes = |help: &Ended| {
        let (_, codes) = help.out.split_once("Exit codes:\n").expect("exit codes");
        codes.to_owned()
    };
    assert_eq!(codes(&help), codes(&of_topics));
}

#[test]
fn topic_057_dead_letters_are_listed_replayed_and_dropped() {
    let folder = Folder::new();
    let store = folder.store();
    with_file(&folder, async |store, topics| {
        for (name, keys) in [("orders", &["a", "b", "c"][..]), ("returns", &["d"])] {
            let topic = topics.topic(name, Settings::default()).await;
            let entries = keys.iter().map(|key| Entry::value(key).key(*key));
            let topic = topic.expect("a topic");
            topic.publish_many(entries).await.expect("they are stored");
        }
        // Somebody has stored what no program can read.
        let name = TopicName::new("orders").expect("a name");
        let damaged = NewRecord::new(7, Content::new("no EJSON"));
        let appended = store.append(&name, Append::new(vec![damaged])).await;
        appended.expect("it is stored");
        reject(topics, &["orders", "returns"], &["b", "c", "d"]).await;
    });
    let shown = info(&store, "billing");
    assert_eq!((&shown["lag"], &shown["parked"]), (&json!(0), &json!(3)));

    let mut letters = group(&store, &["dead", "list", "billing"]).lines();
    letters.sort_by_key(|letter| letter["key"].to_string());
    let told: Vec<_> = letters
        .iter()
        .map(|it| {
            (
                it["topic"].clone(),
                it["offset"].clone(),
                it["payload"].clone(),
            )
        })
        .collect();
    let expected = [("orders", 2, "b"), ("orders", 3, "c"), ("returns", 1, "d")];
    assert_eq!(
        told,
        expected.map(|(topic, offset, payload)| (json!(topic), json!(offset), json!(payload)))
    );
    for letter in &letters {
        assert_eq!(
            [&letter["reason"], &letter["member"], &letter["deliveries"]],
            [&json!("no such customer"), &json!("clerk"), &json!(1)]
        );
        assert!(letter["parked"].is_string() && letter["id"].is_u64());
    }
    let of_returns = group(&store, &["dead", "list", "billing", "--topic", "returns"]);
    assert_eq!(of_returns.lines().len(), 1);
    let one = group(&store, &["dead", "list", "billing", "--count", "1"]);
    assert_eq!(one.lines().len(), 1);
    let said = group(&store, &["dead", "list", "billing", "--topic", "oders"]);
    assert!(said.refusal(1).contains("does not read"), "{said:?}");

    let id = letters[0]["id"].to_string();
    let said = group(&store, &["dead", "replay", "billing", &id]);
    assert!(said.refusal(2).contains("--topic"), "{said:?}");
    let replay = ["dead", "replay", "billing", "--topic", "orders", "99", &id];
    let said = group(&store, &replay);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert_eq!(said.err, "\"orders\" has no dead letter 99\n");
    let expected = format!(r#"{{"topic":"orders","id":{id},"replayed":true}}"#);
    assert_eq!(said.out.trim_end(), expected);
    let consumed = group(&store, &["consume", "billing", "--drain"]).lines();
    assert_eq!(
        (&consumed[0]["payload"], &consumed[0]["deliveries"]),
        (&json!("b"), &json!(1))
    );

    // Nobody can be asked here.
    let said = group(&store, &["dead", "drop", "billing", "--all"]);
    assert!(said.refusal(1).contains("--yes"), "{said:?}");
    let drop = [
        "dead", "drop", "billing", "--all", "--topic", "returns", "--yes",
    ];
    assert_eq!(group(&store, &drop).lines().len(), 1);
    let replayed = group(&store, &["dead", "replay", "billing", "--all"]).lines();
    assert_eq!(replayed.len(), 1);
    assert_eq!(group(&store, &["dead", "list", "billing"]).out, "");
    assert_eq!(
        group(&store, &["dead", "replay", "billing", "--all"]).out,
        ""
    );
    let consumed = group(&store, &["consume", "billing", "--drain"]).lines();
    assert_eq!(consumed[0]["payload"], json!("c"));
}

/// A record without EJSON is nothing that could be printed.
#[test]
fn topic_058_what_consume_cannot_print_is_set_aside() {
    let folder = Folder::new();
    let store = folder.store();
    with_file(&folder, async |store, topics| {
        let topic = topics.topic("orders", Settings::default()).await;
        let topic = topic.expect("a topic");
        let name = topic.name();
        let content = |payload: &'static str| {
            let mut content = Content::new(payload);
            content.key = Some("a".into());
            NewRecord::new(7, content)
        };
        let records = ["1", "no EJSON", "3"].map(content).into();
        let appended = store.append(name, Append::new(records)).await;
        appended.expect("they are stored");
    });
    let consumed = group(
        &store,
        &["consume", "billing", "--create", "orders", "--drain"],
    );
    assert_eq!(consumed.code, Some(4), "{consumed:?}");
    assert_eq!(
        records(&parsed(&consumed.out)),
        [(1, json!(1)), (3, json!(3))]
    );
    assert!(
        consumed
            .err
            .starts_with("record 2 has no EJSON, and is set aside: "),
        "{consumed:?}"
    );
    let letters = group(&store, &["dead", "list", "billing"]).lines();
    assert_eq!(
        (&letters[0]["offset"], &letters[0]["payload"]),
        (&json!(2), &json!({ "$binary": "bm8gRUpTT04=" }))
    );
    assert_eq!(info(&store, "billing")["lag"], json!(0));
}

#[test]
fn topic_089_a_file_that_another_process_holds_is_not_waited_for() {
    let folder = Folder::new();
    let store = folder.store();
    publish(&folder, &store, "orders", "1\n");
    let consuming = start(&store, &["consume", "billing", "--create", "orders"]);
    assert_eq!(consuming.line()["payload"], json!(1));
    let process = format!("is in use by process {}", consuming.id());
    for arguments in [
        &["list"][..],
        &["info", "billing"],
        &["info", "billing", "--watch"],
        &["consume", "billing"],
        &["dead", "list", "billing"],
        &["pause", "billing"],
    ] {
        let said = group(&store, arguments);
        assert!(said.refusal(5).contains(&process), "{said:?}");
    }
    consuming.signal("TERM");
    let ended = consuming.end();
    assert_eq!((ended.code, &*ended.out, &*ended.err), (Some(0), "", ""));
    assert_eq!(info(&store, "billing")["lag"], json!(0));
}

#[test]
fn topic_054_who_ends_has_given_back_what_it_did_not_print() {
    let redis = RedisServer::start();
    let store = redis.url();
    // More than a pipe holds, with nobody who reads it.
    let count: u64 = 50;
    let folder = Folder::new();
    let line = format!("\"{}\"\n", "x".repeat(10_000));
    publish(&folder, &store, "orders", &line.repeat(50));
    let create = ["consume", "billing", "--create", "orders", "--count", "0"];
    group(&store, &create).lines();
    let mut blocked = command_of("group", &store, &["consume", "billing"])
        .spawn()
        .expect("it runs");
    eventually("it has something", || {
        info(&store, "billing")["inFlight"] != json!(0)
    });
    let shown = info(&store, "billing");
    assert_eq!(shown["members"][0]["name"], json!("updraft group consume"));
    let signal = format!("kill -INT {}", blocked.id());
    let sent = Command::new("sh").args(["-c", &signal]).status();
    assert!(sent.is_ok_and(|status| status.success()));
    eventually("it has left", || {
        let shown = info(&store, "billing");
        shown["inFlight"] == json!(0) && shown["processes"] == json!(0)
    });
    // It may still try to print what it has given back.
    let consumed = group(&store, &["consume", "billing", "--drain", "--name", "w2"]).lines();
    let offsets: BTreeSet<u64> = consumed
        .iter()
        .filter_map(|line| line["offset"].as_u64())
        .collect();
    assert!(offsets.into_iter().eq(1..=count), "{}", consumed.len());
    assert!(consumed.iter().all(|line| line["deliveries"] == json!(1)));
    drop(blocked.stdout.take());
    let ended = Ended::from(blocked.wait_with_output().expect("an end"));
    assert_eq!((ended.code, &*ended.err), (Some(0), ""));

    // So it is when its reader leaves.
    publish(&folder, &store, "orders", &line.repeat(50));
    let mut left = command_of("group", &store, &["consume", "billing"])
        .spawn()
        .expect("it runs");
    drop(left.stdout.take());
    let ended = Ended::from(left.wait_with_output().expect("an end"));
    assert_eq!((ended.code, &*ended.err), (Some(0), ""));
    let consumed = group(&store, &["consume", "billing", "--drain"]).lines();
    assert_eq!(consumed.len(), 50);
    assert!(consumed.iter().all(|line| line["deliveries"] == json!(1)));
}

#[test]
fn topic_047_several_processes_consume_what_is_published() {
    let redis = RedisServer::start();
    let store = redis.url();
    let folder = Folder::new();
    publish(&folder, &store, "orders", &numbers(1, 1));
    let create = ["consume", "billing", "--create", "orders", "--name"];
    let one = start(&store, &[&create[..], &["one"]].concat());
    assert_eq!(one.line()["offset"], json!(1));
    let two = start(&store, &["consume", "billing", "--name", "two"]);
    eventually("both are members", || {
        let members = info(&store, "billing")["members"].clone();
        members.as_array().is_some_and(|members| members.len() == 2)
    });
    // Each slot is one process' own: in time both get something.
    let (mut last, mut seen) = (1, BTreeSet::new());
    let mut had = [false; 2];
    eventually("both get some", || {
        let input = folder.file(numbers(last + 1, last + 100));
        assert_eq!(
            run_with(&store, &["publish", "orders"], input).code,
            Some(0)
        );
        last += 100;
        for _ in 0..100 {
            let line = loop {
                let next = one.lines.try_recv().map(|line| (0, line));
                let next = next.or_else(|_| two.lines.try_recv().map(|line| (1, line)));
                match next {
                    Ok(line) => break line,
                    Err(_) => thread::sleep(Duration::from_millis(1)),
                }
            };
            had[line.0] = true;
            let line: Value = serde_json::from_str(&line.1).expect("JSON");
            assert!(seen.insert(line["offset"].as_u64()), "twice: {line}");
        }
        had == [true, true]
    });
    assert_eq!(seen.len() as u64, last - 1);
    for member in [one, two] {
        member.signal("INT");
        let ended = member.end();
        assert_eq!((ended.code, &*ended.out, &*ended.err), (Some(0), "", ""));
    }
    let shown = info(&store, "billing");
    assert_eq!((&shown["lag"], &shown["inFlight"]), (&json!(0), &json!(0)));
    assert_eq!(shown["processes"], json!(0));
}

#[test]
fn a_group_is_paused_and_goes_on_and_can_be_watched() {
    let redis = RedisServer::start();
    let store = redis.url();
    let folder = Folder::new();
    publish(&folder, &store, "orders", &numbers(1, 3));
    let consuming = start(&store, &["consume", "billing", "--create", "orders"]);
    for _ in 1..=3 {
        consuming.line();
    }
    let watch = ["info", "billing", "--watch", "--json", "--every", "20ms"];
    let watching = start(&store, &watch);
    let until = |member: &str, value: Value| {
        eventually("it is seen", || watching.line()[member] == value);
    };
    until("lag", json!(0));
    let paused = group(&store, &["pause", "billing"]);
    assert_eq!(paused.out, "{\"group\":\"billing\",\"paused\":true}\n");
    until("paused", json!(true));
    let said = group(&store, &["consume", "billing", "--drain"]);
    assert!(said.refusal(1).contains("paused"), "{said:?}");
    let waiting = start(&store, &["consume", "billing", "--count", "0"]);
    let waiting = waiting.end();
    assert_eq!(waiting.code, Some(0), "{waiting:?}");
    assert!(waiting.err.contains("is paused; waiting"), "{waiting:?}");
    // Until those who take part have heard of it, they may still hand out something.
    eventually("nothing is handed out", || {
        publish(&folder, &store, "orders", "4\n");
        info(&store, "billing")["lag"] != json!(0)
    });
    until("inFlight", json!(0));
    let resumed = group(&store, &["resume", "billing"]);
    assert_eq!(resumed.out, "{\"group\":\"billing\",\"paused\":false}\n");
    until("lag", json!(0));
    watching.signal("INT");
    let ended = watching.end();
    assert_eq!((ended.code, &*ended.err), (Some(0), ""));
    consuming.signal("INT");
    assert_eq!(consuming.end().code, Some(0));

    // Without a terminal each time is a block of its own.
    let watching = start(&store, &["info", "billing", "--watch", "--every", "20ms"]);
    let mut lines: Vec<String> = Vec::new();
    while lines.iter().filter(|line| line.is_empty()).count() < 2 {
        lines.push(watching.lines.recv_timeout(PATIENCE).expect("a line"));
    }
    assert_eq!(lines[0], "group        billing");
    let first: Vec<_> = lines.split(|line| line.is_empty()).collect();
    assert_eq!(first[0].len(), first[1].len());
    // On one they take the place of the last ones.
    let program = env!("CARGO_BIN_EXE_updraft");
    let watch =
        format!("timeout --signal INT 5 '{program}' group info billing --watch --every 20ms");
    let output = Command::new("script")
        .args(["--quiet", "--return", "--command", &watch, "/dev/null"])
        .env("UPDRAFT_STORE", &store)
        .stdin(Stdio::null())
        .output();
    let shown = Ended::from(output.expect("`script` of util-linux runs"));
    let up = format!("\x1b[{}A\r", first[0].len());
    assert!(shown.out.matches(&up).count() > 1, "{shown:?}");
}

#[test]
fn who_watches_waits_for_a_redis_and_ends_with_the_group() {
    let mut redis = RedisServer::start_durable();
    let store = redis.url();
    let folder = Folder::new();
    publish(&folder, &store, "orders", &numbers(1, 3));
    let create = ["consume", "billing", "--create", "orders", "--count", "3"];
    group(&store, &create).lines();
    let watch = ["info", "billing", "--watch", "--json", "--every", "20ms"];
    let watching = start(&store, &watch);
    watching.line();
    redis.kill();
    redis.restart();
    // What was printed before.
    while watching.lines.try_recv().is_ok() {}
    watching.line();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let opened = RedisStore::open(&store, RedisSettings::default()).await;
        let opened = std::sync::Arc::new(opened.expect("a store"));
        let channels = Store::from(updraft::topics::Memory::new()).channels;
        let topics = Topics::open(Store::new(opened.clone(), opened, channels));
        assert!(topics.delete_group("billing").await.expect("it is deleted"));
    });
    let ended = watching.end();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended
            .err
            .ends_with("error: the group is not there any more\n"),
        "{ended:?}"
    );
}
