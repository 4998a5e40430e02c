//! `trim`, `compact` and `delete`, and what readers are told of them.

use serde_json::json;
use updraft_test_support::redis::RedisServer;

use super::*;

/// The position of this record.
fn position(store: &str, topic: &str, offset: u64) -> String {
    let lines = run(store, &["read", topic]).lines();
    let line = lines.iter().find(|line| line["offset"] == json!(offset));
    let position = line.and_then(|line| line["position"].as_str());
    position.expect("the record").to_owned()
}

#[test]
fn topic_025_a_trim_by_offset_position_or_time_is_told_to_who_comes_back() {
    let folder = Folder::new();
    let redis = RedisServer::start();
    for store in [folder.store(), redis.url()] {
        publish(&folder, &store, "orders", &numbers(1, 9));
        let (early, late) = (position(&store, "orders", 1), position(&store, "orders", 5));
        let trim = |up_to: &str| {
            let arguments = ["trim", "orders", "--up-to", up_to];
            run(&store, &arguments).lines().remove(0)
        };
        let left = |removed: u64, first: u64| json!({ "topic": "orders", "removed": removed, "first": first, "last": 9 });
        assert_eq!(trim("1970-01-01"), left(0, 1));
        assert_eq!(trim("1h"), left(0, 1));
        assert_eq!(trim("3"), left(3, 4));
        assert_eq!(trim(&late), left(2, 6));
        assert_eq!(trim("2"), left(0, 6));
        let lost = run(&store, &["read", "orders", "--from", &early]);
        let told =
            "4 records behind offset 1 are gone; read on from offset 6, or from a snapshot\n";
        assert_eq!(lost.refusal(3), format!("error: {told}"));
        let arguments = ["read", "orders", "--from", &early, "--on-loss", "earliest"];
        let read = run(&store, &arguments);
        assert_eq!(read.err, told);
        assert_eq!(records(&read.lines()), numbered(6, 9));
        let read = run(&store, &["read", "orders", "--from", &late]);
        assert_eq!(records(&read.lines()), numbered(6, 9));
        assert_eq!(trim("2970-01-01"), left(4, 10));
        assert_eq!(held(&store, "orders"), []);

        publish(&folder, &store, "other", "1\n");
        for arguments in [["read", "other", "--from"], ["trim", "other", "--up-to"]] {
            let refused = run(&store, &[&arguments[..], &[&early]].concat());
            assert!(
                refused.refusal(1).contains("a position of another topic"),
                "{refused:?}"
            );
        }
    }
}

#[test]
fn topic_026_a_topic_that_was_deleted_and_made_again_resets_its_positions() {
    let folder = Folder::new();
    let redis = RedisServer::start();
    for store in [folder.store(), redis.url()] {
        publish(&folder, &store, "orders", &numbers(1, 3));
        publish(&folder, &store, "others", &numbers(1, 3));
        let old = position(&store, "orders", 2);
        let unsure = run(&store, &["delete", "orders"]);
        assert!(unsure.refusal(1).contains("--yes"), "{unsure:?}");
        assert_eq!(held(&store, "orders"), numbered(1, 3));
        let deleted = run(&store, &["delete", "orders", "--yes"]);
        assert_eq!(
            (deleted.code, &*deleted.out, &*deleted.err),
            (Some(0), "", "")
        );
        assert_eq!(run(&store, &["list"]).out, "others\n");
        let unknown = run(&store, &["delete", "orders", "--yes"]);
        assert!(
            unknown.refusal(1).contains("did you mean \"others\"?"),
            "{unknown:?}"
        );
        publish(&folder, &store, "orders", "1\n");
        let said = "the position is not one of this topic any more";
        for arguments in [["read", "orders", "--from"], ["trim", "orders", "--up-to"]] {
            let reset = run(&store, &[&arguments[..], &[&old]].concat());
            assert!(reset.refusal(3).contains(said), "{reset:?}");
        }
        let arguments = ["read", "orders", "--from", &old, "--on-loss", "earliest"];
        let read = run(&store, &arguments);
        assert!(read.err.contains(said), "{read:?}");
        assert_eq!(records(&read.lines()), numbered(1, 1));
    }
}

#[test]
fn topic_078_082_compaction_leaves_the_latest_of_each_id() {
    let folder = Folder::new();
    let redis = RedisServer::start();
    for store in [folder.store(), redis.url()] {
        let lines = (1..=3000).map(|number| format!("{{\"id\":{},\"n\":{number}}}\n", number % 2));
        let input = folder.file(lines.collect::<String>());
        let arguments = ["publish", "orders", "--create", "--compact", ".id"];
        assert_eq!(run_with(&store, &arguments, input).code, Some(0));
        let latest = [
            (2999, json!({ "id": 1, "n": 2999 })),
            (3000, json!({ "id": 0, "n": 3000 })),
        ];
        let snapshot = ["read", "orders", "--from", "snapshot"];
        assert_eq!(records(&run(&store, &snapshot).lines()), latest);
        let young = run(&store, &["compact", "orders", "--min-lag", "1h"]).lines();
        assert_eq!(young[0]["removed"], json!(0));
        let compacted = run(&store, &["compact", "orders", "--min-lag", "0s"]).lines();
        let expected = json!({ "topic": "orders", "removed": 2998, "first": 1, "last": 3000 });
        assert_eq!(compacted, [expected]);
        assert_eq!(held(&store, "orders"), latest);
        assert_eq!(records(&run(&store, &snapshot).lines()), latest);
    }
}
