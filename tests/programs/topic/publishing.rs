//! What `publish` makes of lines: bad ones, repeated ones, and an end in the middle.

use serde_json::json;
use updraft_test_support::eventually;
use updraft_test_support::redis::RedisServer;

use super::*;

#[test]
fn topic_004_a_bad_line_is_named_and_nothing_of_its_batch_is_stored() {
    let folder = Folder::new();
    let store = folder.store();
    let path = ["--key-from", ".id"];
    let long_key = format!("{{\"id\":\"{}\"}}", "x".repeat(1025));
    for (bad, options, why) in [
        ("{", &[][..], "unexpected end"),
        ("{\"a\":1} x", &[], "byte 8"),
        ("{'a':1}", &[], "byte 1"),
        ("undefined", &[], "byte 0"),
        ("{\"$type\":\"unheard\",\"$value\":1}", &[], "$type"),
        (&"[".repeat(70), &[], "deep"),
        ("{\"x\":1}", &path, "it has no .id"),
        ("{\"id\":null}", &path, ".id is null"),
        ("{\"id\":\"\"}", &path, ".id is empty"),
        ("{\"id\":{}}", &path, ".id is no text and no number"),
        (
            "{\"id\":9007199254740993}",
            &path,
            ".id is a number that is not exact",
        ),
        (&long_key, &path, "the key has 1025 bytes and may have 1024"),
    ] {
        let name = format!("{bad:.20}");
        // With a key, numbers are bad too.
        let good = |number| format!("{{\"id\":{number}}}\n");
        let lines = (1..=6).map(|number| {
            if number == 4 {
                format!("{bad}\n")
            } else {
                good(number)
            }
        });
        let lines: String = lines.collect();
        let arguments = [&["publish", "--create", "--batch", "2", &*name], options].concat();
        let said = run_with(&store, &arguments, folder.file(&lines));
        let begin = format!("error: line 4: {why}");
        let end =
            "; nothing of its batch, lines 3 to 4, was stored; lines 1 to 2 are done, 2 stored\n";
        let err = said.refusal(1);
        assert!(
            err.starts_with("error: line 4: ") && err.contains(why),
            "{begin}: {err}"
        );
        assert!(err.ends_with(end), "{err}");
        let stored = [1, 2].map(|number| (number, json!({ "id": number })));
        assert_eq!(held(&store, &name), stored);

        let arguments = [&arguments[..], &["--skip-bad"]].concat();
        let said = run_with(&store, &arguments, folder.file(&lines));
        assert_eq!(said.code, Some(0), "{said:?}");
        assert!(said.err.starts_with("line 4 is skipped: "), "{said:?}");
        assert!(
            said.err
                .ends_with(": 5 stored, 1 skipped, offsets 3 to 7\n"),
            "{said:?}"
        );
    }
}

#[test]
fn topic_011_a_value_may_be_as_large_as_the_limit() {
    const LIMIT: usize = 1024 * 1024;
    let folder = Folder::new();
    let store = folder.store();
    let value = |bytes: usize| format!("  \"{}\"\n", "x".repeat(bytes - 2));
    let lines = [value(LIMIT), value(LIMIT + 1), "3\n".to_owned()].concat();
    let arguments = ["publish", "orders", "--create"];
    let said = run_with(&store, &arguments, folder.file(&lines));
    let told = "error: line 2: the payload has 1048577 bytes and may have 1048576; nothing of its \
                batch, lines 2 to 2, was stored; lines 1 to 1 are done, 1 stored\n";
    assert_eq!(said.refusal(1), told);
    let arguments = [&arguments[..], &["--skip-bad"]].concat();
    let said = run_with(&store, &arguments, folder.file(&lines));
    assert!(
        said.err
            .ends_with(": 2 stored, 1 skipped, offsets 2 to 3\n"),
        "{said:?}"
    );
}

#[test]
fn bad_lines_that_are_skipped_are_named_up_to_a_number_and_counted() {
    let folder = Folder::new();
    let store = folder.store();
    let input = folder.file(format!("{}1\n", "x\n".repeat(3000)));
    let said = run_with(
        &store,
        &["publish", "orders", "--create", "--skip-bad"],
        input,
    );
    assert_eq!(said.code, Some(0));
    assert_eq!(said.err.lines().count(), 22, "{}", said.err);
    assert!(
        said.err
            .ends_with("\"orders\": 1 stored, 3000 skipped, offsets 1 to 1\n")
    );
    let input = folder.file(b"\"\xff\"\n");
    let said = run_with(&store, &["publish", "orders"], input);
    assert!(
        said.refusal(1)
            .starts_with("error: line 1: it is not UTF-8"),
        "{said:?}"
    );
    let said = run_with(&store, &["publish", "orders"], folder.file(""));
    assert_eq!((said.code, &*said.err), (Some(0), "\"orders\": 0 stored\n"));
    let folder_as_input = File::open(folder.0.path()).expect("the folder");
    let said = run_with(&store, &["publish", "orders"], folder_as_input);
    assert!(
        said.refusal(1).contains("standard input cannot be read"),
        "{said:?}"
    );
}

#[test]
fn topic_005_lines_with_ids_can_be_published_again() {
    let folder = Folder::new();
    let redis = RedisServer::start();
    for store in [folder.store(), redis.url()] {
        let options = [
            "--create",
            "--dedup-from",
            ".id",
            "--dedup-window",
            "1h",
            "--positions",
        ];
        let arguments = [&["publish", "orders"], &options[..]].concat();
        let lines = |from: u64, to: u64| -> String {
            (from..=to).map(|id| format!("{{\"id\":{id}}}\n")).collect()
        };
        let first = run_with(&store, &arguments, folder.file(lines(1, 3)));
        let again = run_with(&store, &arguments, folder.file(lines(2, 5) + &lines(5, 5)));
        assert_eq!(
            again.err,
            "\"orders\": 2 stored, 3 stored before, offsets 4 to 5\n"
        );
        let (first, again) = (first.lines(), again.lines());
        assert_eq!(again[0]["position"], first[1]["position"]);
        assert!(
            again
                .iter()
                .map(|line| line["offset"].as_u64())
                .eq([2, 3, 4, 5, 5].map(Some))
        );
        let is_duplicate = |line: &Value| line.get("duplicate") == Some(&json!(true));
        assert!(
            again
                .iter()
                .map(is_duplicate)
                .eq([true, true, false, false, true])
        );
        assert_eq!(held(&store, "orders").len(), 5);
    }
}

#[test]
fn a_line_is_stored_while_the_next_one_is_awaited() {
    let folder = Folder::new();
    let mut command = command(
        &folder.store(),
        &["publish", "orders", "--create", "--positions"],
    );
    let mut publishing = Running::start(command.stdin(Stdio::piped()));
    let mut input = publishing.input();
    for number in 1..=3 {
        writeln!(input, "{number}").expect("it reads");
        assert_eq!(publishing.line()["offset"], json!(number));
    }
    drop(input);
    assert_eq!(
        publishing.end().err,
        "\"orders\": 3 stored, offsets 1 to 3\n"
    );
}

#[test]
fn topic_098_a_signal_finishes_the_batch_under_way() {
    let folder = Folder::new();
    let redis = RedisServer::start();
    for (store, signal) in [(folder.store(), "INT"), (redis.url(), "TERM")] {
        let mut command = command(&store, &["publish", "orders", "--create", "--positions"]);
        let mut publishing = Running::start(command.stdin(Stdio::piped()));
        write_numbers(publishing.input());
        while publishing.line()["offset"] != json!(2000) {}
        publishing.signal(signal);
        let printed = publishing.lines.iter().last();
        let last = printed.map_or(2000, |line| {
            let line: Value = serde_json::from_str(&line).expect("JSON");
            line["offset"].as_u64().expect("an offset")
        });
        let ended = publishing.end();
        assert_eq!(ended.code, Some(130), "{ended:?}");
        let expected = format!("stopped by a signal; lines 1 to {last} are done, {last} stored\n");
        assert_eq!(ended.err, expected);
        assert_eq!(held(&store, "orders"), numbered(1, last));
    }
}

#[test]
fn topic_086_killed_anywhere_a_batch_is_stored_as_a_whole_or_not_at_all() {
    const BATCH: u64 = 100;
    let folder = Folder::new();
    let redis = RedisServer::start();
    for store in [folder.store(), redis.url()] {
        let options = ["--create", "--batch", "100", "--dedup-from", "[0]"];
        let arguments = [&["publish", "orders"], &options[..]].concat();
        let positions = [&arguments[..], &["--positions"]].concat();
        let lines: String = (1..=5000_u64)
            .map(|number| format!("[{number}]\n"))
            .collect();
        let mut stored = 0;
        for _ in 0..3 {
            let input = folder.file(&lines);
            let mut publishing = Running::start(command(&store, &positions).stdin(input));
            stored += 500;
            while publishing.line()["line"] != json!(stored) {}
            drop(publishing.child.kill());
            drop(publishing.end());
            // The lock of a file ends with its process.
            let read = run(&store, &["read", "orders"]).lines();
            assert!(read.len() as u64 >= stored);
            assert_eq!(read.len() as u64 % BATCH, 0, "no part of a batch");
        }
        let said = run_with(&store, &arguments, folder.file(&lines));
        assert_eq!(said.code, Some(0), "{said:?}");
        let all = numbered(1, 5000)
            .into_iter()
            .map(|(offset, number)| (offset, json!([number])));
        assert!(held(&store, "orders").into_iter().eq(all));
    }
}

#[test]
fn topic_013_a_store_that_goes_away_is_said_with_the_lines_that_are_not_known() {
    let folder = Folder::new();
    let mut redis = RedisServer::start();
    let arguments = [
        "publish",
        "orders",
        "--create",
        "--positions",
        "--batch",
        "1",
    ];
    let mut command = command(&redis.url(), &arguments);
    let mut publishing = Running::start(command.stdin(Stdio::piped()));
    let mut input = publishing.input();
    writeln!(input, "1").expect("it reads");
    assert_eq!(publishing.line()["offset"], json!(1));
    redis.kill();
    writeln!(input, "2").expect("it reads");
    let ended = publishing.end();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended.err.starts_with("error: the store does not answer: "),
        "{ended:?}"
    );
    let told = "whether lines 2 to 2 are stored is not known, the last records of the topic tell; \
                lines 1 to 1 are done, 1 stored\n";
    assert!(ended.err.ends_with(told), "{ended:?}");
    drop(folder);
}

#[cfg(target_os = "linux")]
#[test]
fn lines_whose_positions_cannot_be_printed_are_told_as_stored() {
    let folder = Folder::new();
    let store = folder.store();
    let full = File::options().write(true).open("/dev/full");
    let mut publish = command(&store, &["publish", "orders", "--create", "--positions"]);
    publish.stdin(folder.file("1\n2\n"));
    publish.stdout(full.expect("the device"));
    let ended = publish.output().expect("it runs");
    let err = String::from_utf8(ended.stderr).expect("UTF-8");
    assert_eq!(ended.status.code(), Some(1), "{err}");
    assert!(
        err.ends_with("; lines 1 to 2 are done, 2 stored\n"),
        "{err}"
    );
    assert_eq!(held(&store, "orders").len(), 2);
}

#[test]
fn topic_012_a_topic_that_is_closed_takes_no_lines() {
    let folder = Folder::new();
    let store = folder.store();
    publish(&folder, &store, "orders", "1\n");
    // No command closes a topic: programs do.
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        use updraft::topics::{FileStore, Settings, Topics};
        let file = FileStore::open(folder.path("topics.redb"))
            .await
            .expect("the store");
        let topics = Topics::open(file.clone());
        let topic = topics
            .topic("orders", Settings::default())
            .await
            .expect("the topic");
        topic.close().await.expect("a close");
        file.close().await;
    });
    let said = run_with(&store, &["publish", "orders"], folder.file("2\n"));
    let expected = "error: the topic is closed and takes no more records; use another one \
                    (lines 1 to 1); nothing was stored before\n";
    assert_eq!(said.refusal(1), expected);
    let followed = run(&store, &["follow", "orders", "--from", "earliest"]);
    assert_eq!(followed.err, "the topic is closed\n");
    assert_eq!(records(&followed.lines()), numbered(1, 1));
    eventually("the file is given back", || {
        run(&store, &["list"]).code == Some(0)
    });
}
