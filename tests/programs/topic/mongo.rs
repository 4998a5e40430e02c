//! A store in MongoDB. Without any MongoDB only its absence is looked at.

use serde_json::json;
use updraft_test_support::mongo::MongoServer;
use updraft_test_support::process::free_port;

use super::*;

#[test]
fn topic_085_a_store_in_mongodb_takes_the_same_commands() {
    let server = match MongoServer::source() {
        Ok(source) => MongoServer::start(&source),
        Err(reason) => {
            eprintln!("skipped, there is no MongoDB: {reason}");
            return;
        }
    };
    let folder = Folder::new();
    let store = server.url();
    let options = ["--create", "--compact", ".id", "--dedup-from", ".n"];
    let arguments = [&["publish", "orders"], &options[..]].concat();
    let lines = "{\"id\":1,\"n\":1}\n{\"id\":2,\"n\":2}\n{\"id\":1,\"n\":3}\n";
    let said = run_with(store, &arguments, folder.file(lines));
    assert_eq!(
        (said.code, &*said.err),
        (Some(0), "\"orders\": 3 stored, offsets 1 to 3\n")
    );
    let said = run_with(store, &arguments, folder.file(lines));
    assert_eq!(
        (said.code, &*said.err),
        (Some(0), "\"orders\": 0 stored, 3 stored before\n")
    );
    assert_eq!(run(store, &["list"]).out, "orders\n");
    let said = run(store, &["read", "oders"]);
    assert!(
        said.refusal(1).contains("did you mean \"orders\"?"),
        "{said:?}"
    );
    let following = ["follow", "orders", "--from", "earliest", "--count", "4"];
    let following = Running::start(&mut command(store, &following));
    for n in 1..=3 {
        assert_eq!(following.line()["payload"]["n"], json!(n));
    }
    let said = run_with(store, &arguments, folder.file("{\"id\":2,\"n\":4}\n"));
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(following.line()["payload"]["n"], json!(4));
    assert_eq!(following.end().code, Some(0));
    run(store, &["compact", "orders", "--min-lag", "0s"]).lines();
    let offsets: Vec<u64> = held(store, "orders")
        .iter()
        .map(|(offset, _)| *offset)
        .collect();
    assert_eq!(offsets, [3, 4]);
    run(store, &["trim", "orders", "--up-to", "3"]).lines();
    let info = run(store, &["info", "orders", "--json", "--exact"]).lines();
    assert_eq!(
        (&info[0]["first"], &info[0]["records"]),
        (&json!(4), &json!(1))
    );
    assert_eq!(run(store, &["delete", "orders", "--yes"]).code, Some(0));
    assert_eq!(run(store, &["list"]).out, "");
}

#[test]
fn a_mongodb_that_cannot_be_used_is_said_without_its_password() {
    for (store, code) in [
        (
            format!(
                "mongodb://u:secret@127.0.0.1:{}/db?serverSelectionTimeoutMS=500",
                free_port()
            ),
            1,
        ),
        ("mongodb://u:secret@/db".to_owned(), 1),
        ("mongodb://u:secret@127.0.0.1".to_owned(), 1),
    ] {
        let said = run(&store, &["list"]);
        let err = said.refusal(code);
        assert!(
            err.starts_with("error: ") && !err.contains("secret"),
            "{err}"
        );
    }
    for (store, options) in [
        ("mongodb://localhost/db", ["--store-bus-prefix", "x"]),
        ("redis://localhost", ["--store-bus", "redis://localhost"]),
        ("file:orders.redb", ["--store-bus", "redis://localhost"]),
    ] {
        let said = run(store, &[&["list"], &options[..]].concat());
        assert!(said.refusal(2).contains("--store-bus"), "{said:?}");
    }
}
