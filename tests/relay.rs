//! The binary: a relay that is configured on its command line.

use std::process::Command;
use std::time::{Duration, Instant};

use tungstenite::Error;
use updraft_test_support::client::{Client, PATIENCE};
use updraft_test_support::eventually;
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
fn row_021_a_refused_origin_is_in_the_log_with_the_option_that_allows_it() {
    let redis = RedisServer::start();
    let port = free_port();
    let mut command = updraft();
    command
        .args(["--redis", &redis.url()])
        .args(["--listen", &format!("127.0.0.1:{port}")])
        .args(["--allow-origin", "https://app.example"])
        .args(["--relay", "news=news"]);
    let relay = Process::start(&mut command, port);
    let url = format!("ws://127.0.0.1:{port}/websocket");
    let ask = |origin: &str| Client::connect_with(&url, &[("Origin", origin)]);
    assert!(ask("https://app.example").is_ok());
    let evil = format!(r"https://evil.example/\{}", "x".repeat(1000));
    for _ in 0..20 {
        let refused = ask(&evil);
        assert!(matches!(refused, Err(Error::Http(answer)) if answer.status() == 403));
    }
    eventually("it is logged", || relay.output().contains("--allow-origin"));
    let output = relay.output();
    assert!(
        output.contains(r#""https://evil.example/\\xxx"#),
        "{output}"
    );
    assert!(!output.contains(&"x".repeat(200)), "cut: {output}");
    let lines = output.matches("evil.example").count();
    assert!(lines < 20, "{lines} lines");
}

#[test]
#[allow(
    clippy::disallowed_methods,
    reason = "a test looks at the clock as its clients would"
)]
fn found_110_many_clients_are_not_sent_away_at_the_same_moment() {
    const CLIENTS: usize = 300;
    const DRAIN: Duration = Duration::from_secs(4);
    let redis = RedisServer::start();
    let port = free_port();
    let mut command = updraft();
    command
        .args(["--redis", &redis.url()])
        .args(["--listen", &format!("127.0.0.1:{port}")])
        .args(["--drain", &DRAIN.as_secs().to_string()])
        .args(["--relay", "news=news"]);
    let mut relay = Process::start(&mut command, port);
    let url = format!("ws://127.0.0.1:{port}/websocket");
    let clients: Vec<Client> = (0..CLIENTS).map(|_| Client::ddp_connect(&url).0).collect();
    relay.signal("TERM");
    let told = Instant::now();
    let ends = clients.into_iter().map(|mut client| {
        std::thread::spawn(move || {
            client.expect_close(1001, "Going away");
            told.elapsed()
        })
    });
    let ends: Vec<_> = ends.collect();
    let ends = ends.into_iter().map(|end| end.join().expect("a close"));
    let mut ends: Vec<Duration> = ends.collect();
    ends.sort_unstable();
    let ended = relay.wait(2 * DRAIN + PATIENCE).expect("an end");
    assert!(ended.success(), "{ended}");
    // A busy machine may hear of some late, but of none early.
    assert!(ends[CLIENTS - 1] >= DRAIN * 3 / 4, "{ends:?}");
    assert!(ends[CLIENTS / 2] >= DRAIN / 4, "{ends:?}");
}

#[test]
fn what_is_wrong_is_said_in_a_line() {
    for (arguments, said) in [
        (vec!["--relay", "nothing"], "NAME=CHANNEL"),
        (vec![], "--relay"),
        (
            vec!["--relay", "a=b", "--trusted-proxies", "some"],
            "--trusted-proxies",
        ),
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
