//! The binary: a relay that is configured on its command line.

use std::process::Command;

use updraft_test_support::client::Client;
use updraft_test_support::process::{Process, free_port};
use updraft_test_support::redis::RedisServer;

fn updraft() -> Command {
    Command::new(env!("CARGO_BIN_EXE_updraft"))
}

#[test]
fn channels_are_relayed_as_declared() {
    let redis = RedisServer::start();
    let port = free_port();
    let mut command = updraft();
    command
        .args(["--redis", &redis.url()])
        .args(["--listen", &format!("127.0.0.1:{port}")])
        .args(["--relay", "threadMessage=threads::{threadId}::new_message"])
        .args(["--relay", "news=news"]);
    let _relay = Process::start(&mut command, port);
    let url = format!("ws://127.0.0.1:{port}/websocket");
    let (mut client, _) = Client::ddp_connect(&url);
    let subscribe = |id: &str, name: &str, parameter: &str| {
        format!(r#"{{"msg":"sub","id":"{id}","name":"{name}","params":["vent.{id}",{parameter}]}}"#)
    };
    for (id, name, parameter, channel) in [
        (
            "a",
            "threadMessage",
            r#"{"threadId":7}"#,
            "threads::7::new_message",
        ),
        ("b", "news", "{}", "news"),
    ] {
        client.send_text(&subscribe(id, name, parameter));
        let document = format!(r#""collection":"vent.{id}","id":"id""#);
        client.expect_text(&format!(r#"{{"msg":"added",{document},"fields":{{}}}}"#));
        client.expect_text(&format!(r#"{{"msg":"ready","subs":["{id}"]}}"#));
        redis.publish(channel, r#"{"message":"hi"}"#);
        let event = r#""fields":{"event":{"message":"hi"}}"#;
        client.expect_text(&format!(r#"{{"msg":"changed",{document},{event}}}"#));
    }
    client.send_text(&subscribe("c", "threadMessage", r#"{"threadId":"7::x"}"#));
    assert!(
        client
            .expect_any_text()
            .starts_with(r#"{"msg":"nosub","id":"c","error":{"#)
    );
    client.send_text(&subscribe("d", "threadMessage", "{}"));
    assert!(client.expect_any_text().contains("Match failed"));
}

#[test]
fn what_is_wrong_is_said_in_a_line() {
    for (arguments, said) in [
        (vec!["--relay", "nothing"], "NAME=CHANNEL"),
        (vec![], "--relay"),
        (
            vec!["--relay", "a=b", "--redis", "redis://127.0.0.1:1"],
            "--redis",
        ),
    ] {
        let ended = updraft()
            .args(&arguments)
            .output()
            .expect("the binary runs");
        let text = String::from_utf8_lossy(&ended.stderr);
        assert!(!ended.status.success(), "{arguments:?}");
        assert!(text.contains(said), "{arguments:?}: {text}");
    }
}
