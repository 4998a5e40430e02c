//! A store in a file: one command after the other.

use std::io::{BufRead, BufReader};

use serde_json::json;
use updraft_test_support::eventually;

use super::*;

#[test]
fn a_topic_in_a_file_is_published_to_listed_read_and_followed() {
    let folder = Folder::new();
    let store = folder.store();
    let lines = r#"{"id":7,"customer":{"name":"a"}}
{ "id": "8", "at": {"$date": 0}, "customer": {"name": "b \" \u0007"} }

{"id":9,"customer":{"name":"a"}}
"#;
    let options = [
        "--create",
        "--key-from",
        ".customer.name",
        "--compact",
        ".id",
    ];
    let arguments = [&["publish", "orders"], &options[..], &["--positions"]].concat();
    let published = run_with(&store, &arguments, folder.file(lines));
    assert_eq!(published.err, "\"orders\": 3 stored, offsets 1 to 3\n");
    let published = published.lines();
    let numbers = published
        .iter()
        .map(|line| (line["line"].clone(), line["offset"].clone()));
    assert!(
        numbers.eq([(1, 1), (2, 2), (4, 3)].map(|(line, offset)| (json!(line), json!(offset))))
    );

    let read = run(&store, &["read", "orders"]);
    assert_eq!(read.err, "");
    let records = read.lines();
    let time = &records[1]["time"];
    let expected = format!(
        r#"{{"position":{},"offset":2,"time":{time},"key":"b \" \u0007","compact":"8","payload":{{"id":"8","at":{{"$date":0}},"customer":{{"name":"b \" \u0007"}}}}}}"#,
        published[1]["position"],
    );
    assert_eq!(read.out.lines().nth(1), Some(&*expected));
    assert!(
        records
            .iter()
            .map(|line| &line["position"])
            .eq(published.iter().map(|line| &line["position"]))
    );

    let position = published[0]["position"].as_str().expect("a token");
    for (arguments, offsets) in [
        (vec!["--from", "earliest"], vec![1, 2, 3]),
        (vec!["--from", "latest"], vec![]),
        (vec!["--from", "snapshot"], vec![1, 2, 3]),
        (vec!["--from", position], vec![2, 3]),
        (vec!["--from", "1970-01-01"], vec![1, 2, 3]),
        (vec!["--from", "1d"], vec![1, 2, 3]),
        (vec!["--from", "2970-01-01T00:00:00Z"], vec![]),
        (vec!["-n", "2"], vec![2, 3]),
        (vec!["-n", "0"], vec![]),
        (vec!["--key", "a"], vec![1, 3]),
        (vec!["--key", "a", "--count", "1"], vec![1]),
        (vec!["--count", "0"], vec![]),
    ] {
        let read = run(&store, &[&["read", "orders"], &*arguments].concat());
        let read: Vec<u64> = records_of(&read);
        assert_eq!(read, offsets, "{arguments:?}");
    }
    let follow = ["follow", "orders", "--from", position, "--count", "2"];
    assert_eq!(records_of(&run(&store, &follow)), [2, 3]);

    publish(&folder, &store, "orders: late", "1\n");
    assert_eq!(run(&store, &["list"]).out, "orders\norders: late\n");
    assert_eq!(run(&store, &["list", "orders:"]).out, "orders: late\n");
    assert_eq!(run(&store, &["list", "x"]).lines().len(), 0);
}

fn records_of(ended: &Ended) -> Vec<u64> {
    let offsets = ended.lines();
    offsets
        .iter()
        .filter_map(|line| line["offset"].as_u64())
        .collect()
}

#[test]
fn info_says_what_a_topic_holds_to_people_and_programs() {
    let folder = Folder::new();
    let store = folder.store();
    let input = folder.file("{\"id\":1}\n{\"id\":2}\n{\"id\":1}\n");
    run_with(
        &store,
        &["publish", "orders", "--create", "--compact", ".id"],
        input,
    );
    run(&store, &["compact", "orders", "--min-lag", "0s"]).lines();
    let info = run(&store, &["info", "orders", "--json"]).lines().remove(0);
    assert_eq!(
        [
            &info["first"],
            &info["last"],
            &info["records"],
            &info["bytes"],
            &info["exact"]
        ],
        [&json!(1), &json!(3), &json!(3), &json!(null), &json!(false)]
    );
    assert_eq!(info["closed"], json!(false));
    assert!(info["firstTime"].is_string() && info["lastAge"].is_u64());
    let exact = run(&store, &["info", "orders", "--json", "--exact"])
        .lines()
        .remove(0);
    assert_eq!(
        [
            &exact["records"],
            &exact["bytes"],
            &exact["exact"],
            &exact["epoch"]
        ],
        [&json!(2), &json!(18), &json!(true), &info["epoch"]]
    );
    let text = run(&store, &["info", "orders"]);
    assert!(text.out.contains("\nrecords     at most 3\n"), "{text:?}");
}

#[test]
fn topic_010_what_is_not_there_is_not_made_and_the_nearest_is_named() {
    let folder = Folder::new();
    let store = folder.store();
    for arguments in [
        &["list"][..],
        &["read", "orders"],
        &["follow", "orders"],
        &["publish", "orders"],
        &["delete", "orders", "--yes"],
    ] {
        let said = run(&store, arguments);
        assert!(said.refusal(1).contains("there is no store"), "{said:?}");
    }
    assert!(!exists(&folder.path("topics.redb")) && !exists(&folder.path("topics.redb.lock")));
    publish(&folder, &store, "orders", "1\n");
    for arguments in [
        &["read", "oders"][..],
        &["info", "oders"],
        &["follow", "oders"],
        &["publish", "oders"],
        &["trim", "oders", "--up-to", "1"],
        &["compact", "oders"],
        &["delete", "oders", "--yes"],
    ] {
        let said = run(&store, arguments);
        let expected = "error: there is no topic \"oders\"; did you mean \"orders\"?\n";
        assert_eq!(said.refusal(1), expected, "{arguments:?}");
    }
    let said = run(&store, &["read", "payments"]);
    assert!(said.refusal(1).contains("`updraft topic list`"), "{said:?}");
    assert_eq!(run(&store, &["list"]).out, "orders\n");
}

#[test]
fn topic_089_a_file_that_another_process_holds_is_refused_with_its_id() {
    let folder = Folder::new();
    let store = folder.store();
    publish(&folder, &store, "orders", "1\n");
    let follow = ["follow", "orders", "--from", "earliest"];
    let follower = Running::start(&mut command(&store, &follow));
    assert_eq!(follower.line()["payload"], json!(1));
    let said = run(&store, &["read", "orders"]);
    let process = format!("is in use by process {}", follower.id());
    assert!(said.refusal(5).contains(&process), "{said:?}");
    // The end of whoever follows is its signal.
    follower.signal("INT");
    let ended = follower.end();
    assert_eq!((ended.code, &*ended.out, &*ended.err), (Some(0), "", ""));
    assert_eq!(held(&store, "orders"), numbered(1, 1));
}

#[test]
fn a_reader_of_the_output_may_leave() {
    let folder = Folder::new();
    let store = folder.store();
    publish(&folder, &store, "orders", &numbers(1, 5000));
    let mut child = command(&store, &["read", "orders"])
        .spawn()
        .expect("it runs");
    let mut pipe = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    pipe.read_line(&mut line).expect("a line");
    assert!(line.contains("\"offset\":1,"), "{line}");
    drop(pipe);
    let ended = Ended::from(child.wait_with_output().expect("an end"));
    assert_eq!(ended.refusal(0), "");
    // Lines that are being published are stored whether or not their positions are read.
    let mut publishing = command(&store, &["publish", "orders", "--positions"]);
    let mut child = publishing
        .stdin(folder.file(numbers(5001, 9000)))
        .spawn()
        .expect("it runs");
    drop(child.stdout.take());
    let ended = Ended::from(child.wait_with_output().expect("an end"));
    assert_eq!(
        ended.refusal(0),
        "\"orders\": 4000 stored, offsets 5001 to 9000\n"
    );
}

#[test]
fn a_second_signal_ends_a_command_whose_output_nobody_reads() {
    let folder = Folder::new();
    let store = folder.store();
    publish(&folder, &store, "orders", &numbers(1, 5000));
    let mut child = command(&store, &["read", "orders"])
        .spawn()
        .expect("it runs");
    let mut pipe = child.stdout.take().expect("a pipe");
    // It has begun to print, and the pipe has no room for all of it.
    pipe.read_exact(&mut [0; 100]).expect("a beginning");
    let mut status = None;
    eventually("it ends", || {
        let signal = format!("kill -INT {}", child.id());
        let sent = Command::new("sh").args(["-c", &signal]).status();
        assert!(sent.is_ok_and(|status| status.success()));
        status = child.try_wait().expect("an answer");
        status.is_some()
    });
    assert_eq!(status.and_then(|status| status.code()), Some(130));
    assert_eq!(held(&store, "orders"), numbered(1, 5000));
}

#[test]
fn topic_112_hostile_names_are_refused_or_kept_as_they_are() {
    let folder = Folder::new();
    let store = folder.store();
    let names = [
        "../../x",
        "a b",
        "a{b}c",
        "*",
        "{\"a\":1}",
        "'; rm -rf .",
        "ä☃",
        "%7B",
        "-rf",
    ];
    for name in names {
        let input = folder.file(format!("{}\n", json!(name)));
        let published = run_with(&store, &["publish", "--create", "--", name], input);
        assert_eq!(published.code, Some(0), "{published:?}");
    }
    let mut sorted = names;
    sorted.sort_unstable();
    assert!(run(&store, &["list"]).out.lines().eq(sorted));
    for name in names {
        let read = run(&store, &["read", "--", name]);
        assert_eq!(records(&read.lines()), [(1, json!(name))]);
    }
    let long = "x".repeat(256);
    for name in ["", "_topics", "a\nb", "a\u{1b}[2Jb", &long] {
        for verb in ["read", "info", "publish"] {
            let said = run(&store, &[verb, name]);
            assert!(
                said.refusal(2)
                    .contains("the name of the topic cannot be used")
            );
        }
    }
    let files = fs::read_dir(folder.0.path()).expect("the folder");
    assert_eq!(files.count(), 3, "the store, its lock, and the input");
}

#[test]
fn what_cannot_be_understood_is_refused_and_shows_no_password() {
    let folder = Folder::new();
    let store = folder.store();
    for (store, arguments, said) in [
        ("orders.redb", &["list"][..], "file:orders.redb"),
        ("redis//:secret@localhost", &["list"], "--store"),
        ("file:", &["list"], "names no file"),
        (
            &*store,
            &["list", "--store-prefix", "x"],
            "no prefix and no bus",
        ),
        (
            &*store,
            &["read", "orders", "--from", "yesterday"],
            "earliest",
        ),
        (&*store, &["read", "orders", "--from", "7"], "a position"),
        (
            &*store,
            &["read", "orders", "--from", "latest", "-n", "1"],
            "cannot be used with",
        ),
        (
            &*store,
            &["trim", "orders", "--up-to", "x"],
            "an offset, a position, or a time",
        ),
        (&*store, &["compact", "orders", "--min-lag", "5"], "500ms"),
        (&*store, &["publish", "orders", "--key-from", "id"], ".id"),
        (&*store, &["publish", "orders", "--batch", "0"], "1..=10000"),
        (
            &*store,
            &["publish", "orders", "--dedup-window", "1h"],
            "--dedup-from",
        ),
    ] {
        let refused = run(store, arguments);
        let err = refused.refusal(2);
        assert!(
            err.contains(said) && !err.contains("secret"),
            "{arguments:?}: {err}"
        );
    }
    let help = run("redis://:secret@127.0.0.1", &["list", "--help"]);
    assert!(
        help.code == Some(0) && !help.out.contains("secret"),
        "{help:?}"
    );
    let nobody = updraft_test_support::process::free_port();
    let away = format!("redis://:secret@127.0.0.1:{nobody}");
    let said = run(&away, &["list"]);
    let expected = format!(
        "error: Redis at 127.0.0.1:{nobody}: connection refused; is it running? --store says where\n"
    );
    assert_eq!(said.refusal(1), expected);
    // What is no store at all.
    let path = folder.path("text");
    fs::write(&path, "x".repeat(10_000)).expect("a file");
    let said = run(&format!("file:{}", path.display()), &["list"]);
    assert!(
        said.refusal(1).contains(&path.display().to_string()),
        "{said:?}"
    );
}

#[test]
fn the_relay_needs_no_command_and_a_command_needs_no_relay() {
    let updraft = || Command::new(env!("CARGO_BIN_EXE_updraft"));
    let help = updraft().arg("--help").output().expect("it runs");
    let help = String::from_utf8(help.stdout).expect("UTF-8");
    assert!(
        help.contains("--relay <NAME=CHANNEL>") && help.contains("  topic"),
        "{help}"
    );
    let nothing = Ended::from(updraft().output().expect("it runs"));
    assert!(
        nothing.refusal(2).contains("--relay <NAME=CHANNEL>"),
        "{nothing:?}"
    );
    let both = updraft().args(["--relay", "a=b", "topic", "list"]).output();
    let both = Ended::from(both.expect("it runs"));
    assert!(both.refusal(2).contains("--relay"), "{both:?}");
    let folder = Folder::new();
    publish(&folder, &folder.store(), "orders", "1\n");
    let listed = command(&folder.store(), &["list"])
        .env("UPDRAFT_LISTEN", "no address")
        .output();
    assert_eq!(Ended::from(listed.expect("it runs")).out, "orders\n");
}

#[test]
fn the_session_of_the_docs_runs_and_their_exit_codes_are_those_of_the_help() {
    let folder = Folder::new();
    let docs = include_str!("../../../docs/command-line.md");
    let ended = session(&folder, docs, 0);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.err, "\"orders\": 3 stored, offsets 1 to 3\n");
    assert_eq!(ended.out.matches("\"key\":\"ada\"").count(), 4, "{ended:?}");

    let help = run("", &["--help"]);
    let (_, codes) = help.out.split_once("Exit codes:\n").expect("exit codes");
    assert_eq!(codes.trim_end().lines().count(), 7);
    for line in codes.trim_end().lines() {
        let (code, meaning) = line.trim().split_once("  ").expect("a code");
        assert!(
            docs.contains(&format!("| {code} | {meaning} |\n")),
            "{line}"
        );
    }
}

#[test]
fn the_session_of_groups_in_the_docs_runs() {
    let folder = Folder::new();
    let docs = include_str!("../../../docs/command-line.md");
    let ended = session(&folder, docs, 1);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.err, "\"orders\": 3 stored, offsets 1 to 3\n");
    assert_eq!(
        ended.out.matches("\"deliveries\":1").count(),
        3,
        "{ended:?}"
    );
}

/// Runs what a page says one could type, in a folder of its own.
#[track_caller]
fn session(folder: &Folder, docs: &str, number: usize) -> Ended {
    let blocks = docs.split("```sh\n").skip(1);
    let mut sessions = blocks.filter_map(|block| block.strip_prefix("export "));
    let (session, _) = sessions
        .nth(number)
        .and_then(|it| it.split_once("```"))
        .expect("a session");
    let program = Path::new(env!("CARGO_BIN_EXE_updraft"));
    let programs = program.parent().expect("a folder");
    let path = std::env::var("PATH").expect("a path");
    let output = Command::new("sh")
        .args(["-ec", &format!("export {session}")])
        .env("PATH", format!("{}:{path}", programs.display()))
        .current_dir(folder.0.path())
        .output();
    output.expect("a shell").into()
}
