//! The binary: a relay that is configured on its command line.

use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use tungstenite::Error;
use updraft_test_support::client::{Client, PATIENCE};
use updraft_test_support::eventually;
use updraft_test_support::http::Http;
use updraft_test_support::process::{Process, free_port};
use updraft_test_support::redis::RedisServer;

fn updraft() -> Command {
    Command::new(env!("CARGO_BIN_EXE_updraft"))
}

#[test]
fn found_205_channels_are_relayed_as_declared_and_the_limit_of_memory_is_logged() {
    let redis = RedisServer::start();
    let port = free_port();
    let mut command = updraft();
    command
        .args(["--redis", &redis.url()])
        .args(["--listen", &format!("127.0.0.1:{port}")])
        .args(["--relay", "threadMessage=threads::{threadId}::new_message"])
        .args(["--relay", "news=news"])
        .args(["--relay", "colon=app:news"])
        .args(["--relay", "any={name}"]);
    let relay = Process::start(&mut command, port);
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
        ("colon", "colon", "{}", "app:news"),
        ("any", "any", r#"{"name":"other"}"#, "other"),
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
    for name in ["updraft:orders", "__keyspace@0__:key", "app:news"] {
        client.send_text(&subscribe("e", "any", &format!(r#"{{"name":"{name}"}}"#)));
        let refused = client.expect_any_text();
        assert!(
            refused.starts_with(r#"{"msg":"nosub","id":"e","error":{"#),
            "found_201: {refused}"
        );
    }
    let limit = "So much may wait in memory.";
    eventually("it is logged", || relay.output().contains(limit));
    assert_eq!(relay.output().matches(limit).count(), 1);
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
fn found_201_reserved_channels_are_not_relayed() {
    for channel in [
        "updraft:orders",
        "updraft::{name}",
        "__keyevent@0__:expired",
        "__keyspace@0__:{key}",
        "__redis__:invalidate",
    ] {
        let relay = format!("a={channel}");
        let ended = updraft().args(["--relay", &relay]).output();
        let ended = ended.expect("the binary runs");
        let text = String::from_utf8_lossy(&ended.stderr);
        assert!(!ended.status.success(), "{channel}");
        assert!(text.contains("reserved") || text.contains("{x}"), "{text}");
    }
}

#[test]
fn found_107_a_redis_that_cannot_be_listened_to_is_said_at_the_start() {
    let redis = RedisServer::start();
    let url = format!("redis://:needless@127.0.0.1:{}", redis.port());
    let mut command = updraft();
    command.args(["--redis", &url, "--relay", "news=news"]);
    let ended = command.output().expect("the binary runs");
    let text = String::from_utf8_lossy(&ended.stderr);
    assert!(!ended.status.success(), "{text}");
    let said = "Redis refused the connection that listens";
    assert!(text.contains(said) && !text.contains("needless"), "{text}");
}

#[test]
fn found_112_load_balancers_are_answered_if_they_are_to_be() {
    let redis = RedisServer::start();
    for (set, expected) in [("1", 200), ("0", 404)] {
        let port = free_port();
        let mut command = updraft();
        command
            .args(["--redis", &redis.url(), "--relay", "news=news"])
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .env("UPDRAFT_HEALTH_CHECKS", set);
        let _relay = Process::start(&mut command, port);
        for path in ["/healthz", "/readyz"] {
            // It is ready when Redis has answered.
            eventually(&format!("{path} is {expected}"), || {
                let mut http = Http::connect(&format!("127.0.0.1:{port}"));
                http.ask(&format!("GET {path}"), &[], "").status == expected
            });
        }
    }
}

/// The relay, with a limit of open files as `ulimit` sets it.
fn limited(ulimit: &str, redis: &RedisServer) -> (Process, String) {
    let port = free_port();
    let host = format!("127.0.0.1:{port}");
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("ulimit {ulimit} && exec \"$0\" \"$@\"")])
        .arg(env!("CARGO_BIN_EXE_updraft"))
        .args(["--redis", &redis.url(), "--relay", "news=news"])
        .args(["--listen", &host]);
    (Process::start(&mut command, port), host)
}

#[test]
fn row_013_row_100_found_114_too_many_open_files_are_a_line_and_not_a_flood() {
    updraft::raise_file_limit().expect("a limit");
    let redis = RedisServer::start();
    let (relay, host) = limited("-n 400", &redis);
    eventually("it is warned of", || {
        relay.output().contains("LimitNOFILE=")
    });
    let url = format!("ws://{host}/websocket");
    let (mut early, _) = Client::ddp_connect(&url);
    let crowd: Vec<TcpStream> = (0..450)
        .map(|_| TcpStream::connect(&host).expect("room in the backlog"))
        .collect();
    let lines = || relay.output().matches("could not be accepted").count();
    eventually("it is logged", || lines() > 0);
    // Ten more attempts or so.
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(lines(), 1, "{}", relay.output());
    early.send_text(r#"{"msg":"ping"}"#);
    early.expect_text(r#"{"msg":"pong"}"#);
    drop(crowd);
    Client::ddp_connect(&url).0.close();
}

#[test]
fn row_100_found_114_the_relay_takes_as_many_files_as_it_may() {
    updraft::raise_file_limit().expect("a limit");
    let redis = RedisServer::start();
    let (relay, host) = limited("-Sn 64", &redis);
    let clients: Vec<Client> = (0..100)
        .map(|_| Client::connect(&format!("ws://{host}/websocket")))
        .collect();
    assert!(!relay.output().contains("could not be accepted"));
    drop(clients);
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
        (vec!["--relay", "a=b::"], "empty"),
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
