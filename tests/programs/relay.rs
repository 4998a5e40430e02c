//! The binary: a relay that is configured on its command line.

use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use updraft::account::{Accounts, MemoryUsers};
use updraft::prelude::*;
use updraft::{ErrorKind, TrustedProxies};
use updraft_test_support::client::{Client, PATIENCE};
use updraft_test_support::eventually;
use updraft_test_support::example::Example;
use updraft_test_support::http::Http;
use updraft_test_support::process::{Process, free_port};
use updraft_test_support::redis::RedisServer;

fn updraft() -> Command {
    Command::new(env!("CARGO_BIN_EXE_updraft"))
}

#[test]
fn gateway_050_the_binary_stands_in_front_of_a_meteor_app() {
    let app = Example::start("fixture", &[]);
    let redis = RedisServer::start();
    let port = free_port();
    let mut command = updraft();
    command
        .args(["--meteor", &app.http_url()])
        .args(["--redis", &redis.url()])
        .args(["--listen", &format!("127.0.0.1:{port}")])
        .args(["--relay", "news=news"]);
    let _relay = Process::start(&mut command, port);
    let (mut client, _) = Client::ddp_connect(&format!("ws://127.0.0.1:{port}/websocket"));
    client.send_text(r#"{"msg":"method","id":"1","method":"echo","params":[1]}"#);
    client.expect_text(r#"{"msg":"updated","methods":["1"]}"#);
    client.expect_text(r#"{"msg":"result","id":"1","result":[1]}"#);
    client.send_text(r#"{"msg":"sub","id":"s","name":"news","params":["vent.news"]}"#);
    client.expect_text(r#"{"msg":"added","collection":"vent.news","id":"id","fields":{}}"#);
    client.expect_text(r#"{"msg":"ready","subs":["s"]}"#);
    redis.publish("news", "7");
    let event = r#"{"msg":"changed","collection":"vent.news","id":"id","fields":{"event":7}}"#;
    client.expect_text(event);
    // Without anything to relay it needs no Redis.
    let port = free_port();
    let mut command = updraft();
    command
        .args(["--meteor", &app.http_url()])
        .args(["--redis", "redis://127.0.0.1:1"])
        .args(["--listen", &format!("127.0.0.1:{port}")]);
    let _relay = Process::start(&mut command, port);
    Client::ddp_connect(&format!("ws://127.0.0.1:{port}/websocket"));
}

#[test]
fn gateway_083_094_the_binary_passes_http_and_names_each_origin_that_it_refuses_once() {
    let start = |origin: &str| {
        let (app, port) = (free_port(), free_port());
        let mut command = updraft();
        command
            .args(["--meteor", &format!("http://127.0.0.1:{app}")])
            .args(["--allow-origin", origin])
            .args(["--listen", &format!("127.0.0.1:{port}")]);
        (Process::start(&mut command, port), port)
    };
    let info = |port: u16, origin: &str| {
        let mut http = Http::connect(&format!("127.0.0.1:{port}"));
        http.ask("GET /sockjs/info", &[("Origin", origin)], "")
            .status
    };
    let (relay, port) = start("https://app.example");
    let mut http = Http::connect(&format!("127.0.0.1:{port}"));
    let page = http.body("GET /", "");
    assert_eq!(
        page,
        "The app behind this server is not there (server 1 of 1).\n"
    );
    assert_eq!(info(port, "https://app.example"), 200);
    for _ in 0..3 {
        assert_eq!(info(port, "https://one.example"), 403);
        assert_eq!(info(port, "https://two.example"), 403);
    }
    eventually("both are named", || {
        let log = relay.output();
        let lines = |origin: &str| {
            let names = |line: &&str| line.contains(origin) && line.contains("--allow-origin");
            log.lines().filter(names).count()
        };
        (lines("one.example"), lines("two.example")) == (1, 1)
    });
    let (_relay, port) = start("any");
    assert_eq!(info(port, "https://one.example"), 200);
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
        assert!(matches!(refused, Err(tungstenite::Error::Http(answer)) if answer.status() == 403));
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
    let said = "(the connection that listens): it refuses this user or password";
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
fn found_303_the_log_is_what_rust_log_wants_and_has_no_colours_in_a_file() {
    let redis = RedisServer::start();
    for (wanted, has, has_not) in [
        (
            None,
            " INFO updraft::server: Listening. address=127.0.0.1:",
            "DEBUG",
        ),
        (
            Some(""),
            " INFO updraft::server: Listening. address=127.0.0.1:",
            "DEBUG",
        ),
        (Some("debug"), "A client arrived.", "\u{1b}"),
        (
            Some("warn,updraft::shard=debug"),
            "A client arrived.",
            "INFO",
        ),
        (Some("updraft=loud"), "RUST_LOG is not used", "DEBUG"),
    ] {
        let port = free_port();
        let mut command = updraft();
        command
            .args(["--redis", &redis.url(), "--relay", "news=news"])
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .env_remove("RUST_LOG");
        if let Some(wanted) = wanted {
            command.env("RUST_LOG", wanted);
        }
        let relay = Process::start(&mut command, port);
        let (client, _) = Client::ddp_connect(&format!("ws://127.0.0.1:{port}/websocket"));
        eventually(&format!("{wanted:?} logs: {has}"), || {
            relay.output().contains(has)
        });
        drop(client);
        let output = relay.output();
        assert!(!output.contains(has_not), "{wanted:?}: {output}");
        assert!(!output.contains('\u{1b}'), "{wanted:?}: {output}");
    }
}

/// What the relay prints when it is started so, which must end it.
fn bad_start(arguments: &[&str]) -> String {
    let mut command = updraft();
    // Warnings are about this machine, and no part of the answer.
    command.env("RUST_LOG", "error");
    let ended = command.args(arguments).output();
    let ended = ended.expect("the binary runs");
    assert!(!ended.status.success(), "{arguments:?}");
    assert_eq!(ended.stdout, b"", "{arguments:?}");
    String::from_utf8(ended.stderr).expect("a text")
}

#[test]
fn found_304_a_bad_start_is_one_line_with_thing_value_and_remedy() {
    let open = RedisServer::start();
    let locked = RedisServer::start();
    locked.tell("ACL", &["SETUSER", "default", "resetpass", ">right"]);
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("an address").to_string();
    let nobody = free_port();
    let (here, there) = (open.port(), locked.port());
    let redis = open.url();
    for (arguments, expected) in [
        (
            vec!["--redis", &format!("redis://:secret@127.0.0.1:{nobody}")],
            format!(
                "Redis at 127.0.0.1:{nobody}: connection refused; is it running? --redis says where"
            ),
        ),
        (
            vec!["--redis", &format!("redis://127.0.0.1:{there}")],
            format!(
                "Redis at 127.0.0.1:{there}: it requires a password; put USER:PASSWORD@ before \
                 the host in its URL; --redis says where"
            ),
        ),
        (
            vec!["--redis", &format!("redis://:wrong@127.0.0.1:{there}")],
            format!(
                "Redis at 127.0.0.1:{there}: it refuses this user or password, or requires \
                 none; they stand before the host in its URL; --redis says where"
            ),
        ),
        (
            vec!["--redis", "localhost"],
            "Redis URL \"localhost\": Redis URL did not parse; its form is redis://HOST:6379/0, \
             with USER:PASSWORD@ before HOST if need be; --redis says where"
                .to_owned(),
        ),
        (
            vec!["--redis", &format!("redis://127.0.0.1:{here}/99")],
            format!(
                "Redis at 127.0.0.1:{here}: it refused: DB index is out of range; --redis says where"
            ),
        ),
        (
            vec!["--redis", &redis, "--listen", &taken],
            format!(
                "{taken} cannot be listened on: address in use; does another server listen there? \
                 --listen says where"
            ),
        ),
        (
            vec!["--redis", &redis, "--listen", "localhost"],
            "\"localhost\" is no address to listen on; its form is HOST:PORT, as in \
             127.0.0.1:3000; --listen says where"
                .to_owned(),
        ),
        (
            vec!["--redis", &redis, "--listen", "192.0.2.1:3000"],
            "192.0.2.1:3000 cannot be listened on: no address of this machine; 0.0.0.0 listens on \
             all that are; --listen says where"
                .to_owned(),
        ),
        (
            vec!["--redis", &redis, "--relay", "a=c"],
            "the publication 'a' is defined twice; rename or remove one".to_owned(),
        ),
        (
            vec!["--redis", &redis, "--allow-origin", "app.example.com"],
            "origins.allowed: \"app.example.com\" is not an origin; its form is https://app.example.com, without a path"
                .to_owned(),
        ),
    ] {
        let said = bad_start(&[&["--relay", "a=b"], &*arguments].concat());
        assert_eq!(said, format!("error: {expected}\n"), "{arguments:?}");
    }
}

#[test]
fn found_304_what_a_program_prints_when_it_returns_an_error_of_the_start_is_that_line() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("an address");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let _within = runtime.enter();
    // As `fn main() -> updraft::Result<()>` prints it, behind `Error: `.
    let printed = |error: Error| (error.kind(), format!("{error:?}"));
    for (builder, kind, expected) in [
        (
            Server::builder(),
            ErrorKind::Address,
            format!("{taken} cannot be listened on: address in use; does another server listen there?"),
        ),
        (
            Server::builder().configure(|settings| {
                settings.origins.allowed.push("https://a.example/path".to_owned());
            }),
            ErrorKind::Configuration,
            "origins.allowed: \"https://a.example/path\" is not an origin; its form is https://app.example.com, without a path"
                .to_owned(),
        ),
        (
            Server::builder().configure(|settings| {
                let networks = vec!["10.0.0.0/99".to_owned()];
                settings.trusted_proxies = TrustedProxies::Networks(networks);
            }),
            ErrorKind::Configuration,
            "trusted_proxies: \"10.0.0.0/99\" is not an address or a network, such as 10.0.0.0/8".to_owned(),
        ),
        (
            Server::builder()
                .method("a", async |_: Call| Ok::<(), Error>(()))
                .method("a", async |_: Call| Ok::<(), Error>(())),
            ErrorKind::Configuration,
            "the method 'a' is defined twice; rename or remove one".to_owned(),
        ),
        (
            Server::builder()
                .accounts(Accounts::new(MemoryUsers::new()))
                .method("login", async |_: Call| Ok::<(), Error>(())),
            ErrorKind::Configuration,
            "the method 'login' is defined twice: by the program and by .accounts(…), which \
             defines it itself; remove one"
                .to_owned(),
        ),
    ] {
        let error = runtime.block_on(builder.bind(taken)).expect_err("an error");
        assert_eq!(printed(error), (kind, expected));
    }
    let error = runtime.block_on(Server::builder().bind(("localhost ", 3000)));
    let (kind, text) = printed(error.expect_err("an error"));
    assert_eq!(kind, ErrorKind::Address);
    assert!(
        text.starts_with("(\"localhost \", 3000) cannot be listened on: ")
            && text.ends_with("; is the name right?")
            && !text.contains('\n'),
        "{text}"
    );

    let nobody = free_port();
    let url = format!("redis://:secret@127.0.0.1:{nobody}");
    let error = runtime.block_on(Redis::connect(&url)).expect_err("nobody");
    let expected = format!("Redis at 127.0.0.1:{nobody}: connection refused; is it running?");
    assert_eq!(
        printed(error.into()),
        (ErrorKind::Configuration, expected.clone())
    );
    let error = runtime
        .block_on(Emitter::connect(&url))
        .expect_err("nobody");
    assert_eq!(error.to_string(), expected);
    // Who prints all causes, as anyhow does, has nothing twice.
    let causes = std::error::Error::source(&error);
    assert!(causes.is_none(), "{causes:?}");
    let error = Redis::lazy("redis//127.0.0.1").expect_err("no URL");
    let text = printed(error.into()).1;
    let begin = "Redis URL \"redis//127.0.0.1\": Redis URL did not parse; its form is redis://HOST";
    assert!(text.starts_with(begin), "{text}");
}

#[test]
fn found_309_relays_that_could_never_work_are_refused_at_the_start() {
    for (relay, said) in [
        ("a=x y", "no white space"),
        ("b=news*", "is no pattern"),
        ("b=news::[ab]", "is no pattern"),
        ("c=news::{}", "names no member"),
        ("d=news::x{y}", "a part of its own"),
        ("e=news::", "empty"),
        ("f=", "empty"),
        ("=news", "no name"),
        ("nothing", "NAME=CHANNEL"),
    ] {
        let text = bad_start(&["--relay", relay]);
        let begin = format!("error: invalid value '{relay}' for '--relay <NAME=CHANNEL>': ");
        assert!(text.starts_with(&begin) && text.contains(said), "{text}");
    }
    for (arguments, said) in [
        (vec![], "--relay"),
        (
            vec!["--relay", "a=b", "--trusted-proxies", "some"],
            "--trusted-proxies",
        ),
    ] {
        let text = bad_start(&arguments);
        assert!(text.contains(said), "{arguments:?}: {text}");
    }
}
