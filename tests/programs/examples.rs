//! Runs the examples that people copy, as cargo has built them, and drives them as their users
//! would: over real sockets, with a real Redis where they take one.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use updraft_test_support::client::{CONNECT, Client, PATIENCE};
use updraft_test_support::eventually;
use updraft_test_support::example::{Example, folder};
use updraft_test_support::process::{Process, cargo, free_port};
use updraft_test_support::redis::RedisServer;

const README: &str = include_str!("../../README.md");

#[test]
fn found_301_found_307_the_program_of_the_readme_does_what_the_readme_says() {
    let manifest = include_str!("../../Cargo.toml");
    let (_, version) = manifest
        .split_once("\nrust-version = \"")
        .expect("a version");
    let (version, _) = version.split_once('"').expect("a version");
    assert!(README.contains(&format!("Rust {version} or newer")));
    let [dependencies] = blocks(README, "toml")[..] else {
        panic!("one block has the dependencies");
    };
    let [program, state] = blocks(README, "rust")[..] else {
        panic!("one block has the program, and one shows state");
    };
    let [conversation] = blocks(README, "text")[..] else {
        panic!("one block has the conversation");
    };
    let port = free_port();
    let program = program.replace("127.0.0.1:3000", &format!("127.0.0.1:{port}"));
    let built = fresh_crate(
        "readme",
        dependencies,
        &format!("{program}\n{POOL}\n{state}\n}}"),
    );
    let _process = Process::start(&mut Command::new(built), port);
    let mut client = Client::connect(&format!("ws://127.0.0.1:{port}/websocket"));
    for line in conversation.lines() {
        let (direction, text) = line.split_at(2);
        if direction == "> " {
            client.send_text(text);
            continue;
        }
        let received = client.expect_any_text();
        // The session's id is nobody's business.
        let (begin, end) = text.split_once('…').unwrap_or((text, ""));
        let fits = received.starts_with(begin) && received.ends_with(end);
        assert!(fits, "{received} instead of {text}");
        assert!(text.contains('…') || received == text, "{received}");
    }
}

#[test]
fn the_program_of_the_readme_of_topics_runs_in_a_crate_of_its_own() {
    let readme = include_str!("../../topics/README.md");
    let dependencies = blocks(readme, "toml")[0];
    let built = fresh_crate("readme-topics", dependencies, blocks(readme, "rust")[0]);
    let ran = Command::new(built).output().expect("it is built");
    assert!(ran.status.success(), "{ran:?}");
}

/// What the README's second block takes for granted.
const POOL: &str = r#"
#[allow(dead_code, unused_imports)]
mod state {
    use updraft::prelude::*;

    struct Pool;

    impl Pool {
        async fn messages(&self, _: &str) -> std::io::Result<Vec<String>> {
            Ok(Vec::new())
        }
    }
"#;

/// A README's blocks in a language.
fn blocks(readme: &'static str, language: &str) -> Vec<&'static str> {
    let begin = format!("```{language}\n");
    let blocks = readme.split(&begin).skip(1);
    blocks
        .filter_map(|rest| Some(rest.split_once("```")?.0))
        .collect()
}

/// Builds a program as a crate of its own beside the workspace, with these dependencies and without
/// a warning, and answers where it is. What it depends on is what the workspace has built already, as far as cargo
/// can know.
fn fresh_crate(name: &str, dependencies: &str, program: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(home.join("src")).unwrap();
    let here = r#""../updraft"#;
    assert!(dependencies.contains(here), "{dependencies}");
    let dependencies = dependencies.replace(here, &format!("\"{}", root.display()));
    let others = root.join("tests/dependencies");
    let workspace = std::fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let (_, profiles) = workspace.split_once("\n[profile.").expect("profiles");
    let manifest = format!(
        "[package]\nname = {name:?}\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n\
         {dependencies}updraft-dependencies = {{ path = {others:?} }}\n\n[profile.{profiles}"
    );
    std::fs::write(home.join("Cargo.toml"), manifest).unwrap();
    std::fs::copy(root.join("Cargo.lock"), home.join("Cargo.lock")).unwrap();
    std::fs::write(home.join("src/main.rs"), program).unwrap();
    let mut build = cargo();
    build
        .args(["build", "--offline", "--quiet"])
        .current_dir(&home)
        .env("CARGO_TARGET_DIR", folder().parent().unwrap());
    if folder().ends_with("release") {
        build.arg("--release");
    }
    let built = build.output().expect("cargo runs");
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(
        built.status.success() && !said.contains("warning"),
        "{said}"
    );
    folder().join(name)
}

#[test]
fn chat_serves_its_page() {
    let chat = start("chat", &[]);
    let page = get(&chat, "/");
    assert_eq!(page.status, 200);
    assert!(
        page.head
            .to_lowercase()
            .contains("content-type: text/html; charset=utf-8")
    );
    let same = page.body == include_str!("../../examples/chat.html");
    assert!(
        same,
        "the example is older than its page: `cargo build --examples`"
    );
    assert_eq!(get(&chat, "/other").status, 404);
}

#[test]
fn found_303_an_example_logs_from_the_start() {
    let mut chat = start("chat", &[]);
    let evil = [("Origin", "https://evil.example")];
    assert!(Client::connect_with(&chat.url(), &evil).is_err());
    let process = chat.process();
    // The log names the origin, as the README says.
    eventually("it is logged", || {
        process.output().contains("https://evil.example")
    });
}

#[test]
fn chat_takes_a_message_from_one_client_to_the_other() {
    let chat = start("chat", &[]);
    let mut listener = join(&chat, "lobby");
    let mut elsewhere = join(&chat, "hangar");
    let mut speaker = join(&chat, "lobby");
    let call =
        r#"{"msg":"method","id":"m","method":"messages.add","params":["lobby"," hi ","Heron"]}"#;
    speaker.send_text(call);
    for client in [&mut listener, &mut speaker] {
        let event = &next(client, "changed")["fields"]["event"];
        assert_eq!(
            (&event["message"], &event["name"]),
            (&json!("hi"), &json!("Heron"))
        );
        assert!(event["at"]["$date"].is_u64(), "{event}");
    }
    elsewhere.expect_silence(200);
}

#[test]
fn found_315_what_the_page_of_the_chat_hints_at_works() {
    let chat = start("chat", &[]);
    let mut listener = join(&chat, "lobby");
    let post = |path: &str, origin: &str, body: &str| {
        let length = body.len();
        let head = format!("POST {path} HTTP/1.1\r\n{origin}content-length: {length}\r\n");
        http(&chat, &head, body).status
    };
    // The page says `curl -d '{"message":"hi"}' http://…/threads/lobby`.
    assert!(get(&chat, "/").body.contains(r#"data-bus="process""#));
    assert_eq!(post("/threads/lobby", "", r#"{"message":"hi"}"#), 204);
    let event = &next(&mut listener, "changed")["fields"]["event"];
    assert_eq!(event["message"], "hi");
    for body in ["", "hi", "{}", r#"{"message":" "}"#] {
        assert_eq!(post("/threads/lobby", "", body), 400, "{body}");
    }
    assert_eq!(post("/threads/a:b", "", r#"{"message":"hi"}"#), 400);
    let page = "origin: https://evil.example\r\n";
    assert_eq!(post("/threads/lobby", page, r#"{"message":"hi"}"#), 403);
    listener.expect_silence(100);

    let redis = RedisServer::start();
    let chat = start("chat", &[("REDIS_URL", &redis.url())]);
    assert!(get(&chat, "/").body.contains(r#"data-bus="redis""#));
}

#[test]
fn chat_refuses_what_is_no_message() {
    let chat = start("chat", &[]);
    let mut client = join(&chat, "lobby");
    let long = json!("x".repeat(2_001));
    for (thread, message) in [
        ("lobby", json!("  ")),
        ("lobby", long),
        ("lobby", json!({})),
        ("a::b", json!("hi")),
    ] {
        let params = json!([thread, message]);
        let call =
            json!({ "msg": "method", "id": "m", "method": "messages.add", "params": params });
        client.send_text(&call.to_string());
        assert_eq!(
            next(&mut client, "result")["error"]["error"],
            400,
            "{params}"
        );
    }
    let subscribe =
        r#"{"msg":"sub","id":"2","name":"threadMessage","params":["vent.other",{"threadId":"*"}]}"#;
    client.send_text(subscribe);
    assert_eq!(next(&mut client, "nosub")["error"]["error"], 400);
}

#[test]
fn chat_hears_what_redis_is_told() {
    let redis = RedisServer::start();
    let chat = start("chat", &[("REDIS_URL", &redis.url())]);
    let mut client = join(&chat, "lobby");
    assert_eq!(
        redis.publish("threads::lobby::new_message", r#"{"message":"hi"}"#),
        1
    );
    client.expect_text(
        r#"{"msg":"changed","collection":"vent.lobby","id":"id","fields":{"event":{"message":"hi"}}}"#,
    );
    client.send_text(
        r#"{"msg":"method","id":"m","method":"messages.add","params":["lobby","back"]}"#,
    );
    assert_eq!(
        next(&mut client, "changed")["fields"]["event"]["message"],
        "back"
    );
}

#[test]
fn payment_status_tells_the_client_what_the_webhook_says() {
    let server = start("payment_status", &[("WEBHOOK_SECRET", "open sesame")]);
    let mut waiting = client(&server);
    waiting.send_text(
        r#"{"msg":"sub","id":"s","name":"paymentStatus","params":["vent.payment",{"paymentId":"p7"}]}"#,
    );
    assert_eq!(next(&mut waiting, "ready")["subs"], json!(["s"]));

    let paid = r#"{"paymentId":"p7","status":"paid"}"#;
    let other = r#"{"paymentId":"p8","status":"paid"}"#;
    assert_eq!(webhook(&server, None, paid), 401);
    assert_eq!(webhook(&server, Some("open sesamE"), paid), 403);
    assert_eq!(webhook(&server, Some("open"), paid), 403);
    let right = Some("open sesame");
    assert_eq!(webhook(&server, right, "{}"), 400);
    assert_eq!(
        webhook(&server, right, r#"{"paymentId":"p7::x","status":"paid"}"#),
        400
    );
    assert_eq!(webhook(&server, right, &" ".repeat(17 * 1024)), 413);
    assert_eq!(get(&server, "/webhooks/payments").status, 405);
    assert_eq!(webhook(&server, right, other), 204);
    waiting.expect_silence(100);

    assert_eq!(webhook(&server, right, paid), 204);
    waiting.expect_text(
        r#"{"msg":"changed","collection":"vent.payment","id":"id","fields":{"event":{"paymentId":"p7","status":"paid"}}}"#,
    );
}

#[test]
fn payment_status_reaches_clients_of_another_server_over_redis() {
    let redis = RedisServer::start();
    let environment = [("WEBHOOK_SECRET", "s"), ("REDIS_URL", &redis.url())];
    let (here, there) = (
        start("payment_status", &environment),
        start("payment_status", &environment),
    );
    let mut waiting = client(&there);
    waiting.send_text(
        r#"{"msg":"sub","id":"s","name":"paymentStatus","params":["vent.p",{"paymentId":"p"}]}"#,
    );
    next(&mut waiting, "ready");
    assert_eq!(
        webhook(&here, Some("s"), r#"{"paymentId":"p","status":"failed"}"#),
        204
    );
    assert_eq!(
        next(&mut waiting, "changed")["fields"]["event"]["status"],
        "failed"
    );
}

#[test]
fn beside_meteor_serves_the_clients_of_an_app_and_knows_its_users() {
    let app = start("fixture", &[]);
    let server = start("beside_meteor", &[("METEOR_URL", &app.http_url())]);
    let mut here = client(&server);
    for text in [
        r#"{"msg":"method","id":"1","method":"login","params":[{"resume":"tokA"}]}"#,
        r#"{"msg":"sub","id":"s","name":"threadMessage","params":["vent.t",{"threadId":"7"}]}"#,
    ] {
        here.send_text(text);
    }
    assert_eq!(next(&mut here, "ready")["subs"], json!(["s"]));
    here.send_text(r#"{"msg":"method","id":"2","method":"threads.say","params":["7","hi"]}"#);
    assert_eq!(
        next(&mut here, "changed")["fields"]["event"],
        json!({ "user": "alice0000000000aa", "message": "hi" })
    );
}

#[test]
fn poll_to_push_follows_a_file_until_the_client_leaves() {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("poll_to_push.txt");
    drop(std::fs::remove_file(&file)); // of an earlier run
    let server = start("poll_to_push", &[("WATCH", file.to_str().unwrap())]);
    let mut client = client(&server);
    client.send_text(r#"{"msg":"sub","id":"s","name":"watchedFile","params":[]}"#);
    client.expect_text(
        r#"{"msg":"added","collection":"files","id":"watched","fields":{"exists":false,"length":null,"modified":null}}"#,
    );
    client.expect_text(r#"{"msg":"ready","subs":["s"]}"#);

    std::fs::write(&file, "hello").unwrap();
    let changed = next(&mut client, "changed");
    assert_eq!(changed["id"], "watched");
    assert_eq!(
        (&changed["fields"]["exists"], &changed["fields"]["length"]),
        (&json!(true), &json!(5))
    );
    assert!(changed["fields"]["modified"]["$date"].is_u64(), "{changed}");

    std::fs::remove_file(&file).unwrap();
    client.expect_text(
        r#"{"msg":"changed","collection":"files","id":"watched","fields":{"exists":false,"length":null,"modified":null}}"#,
    );

    client.send_text(r#"{"msg":"unsub","id":"s"}"#);
    client.expect_text(r#"{"msg":"removed","collection":"files","id":"watched"}"#);
    client.expect_text(r#"{"msg":"nosub","id":"s"}"#);
    std::fs::write(&file, "nobody looks").unwrap();
    client.expect_silence(1_200);
}

#[test]
fn found_109_a_program_that_is_told_to_end_sends_its_clients_away_first() {
    for signal in ["TERM", "INT"] {
        let mut chat = start("chat", &[]);
        let mut client = join(&chat, "lobby");
        chat.process().signal(signal);
        client.expect_close(1001, "Going away");
        drop(client);
        let ended = chat.process().wait(PATIENCE).expect("an end");
        assert!(ended.success(), "{ended}");
    }
}

#[test]
fn found_113_a_program_that_is_told_again_to_end_does_so_at_once() {
    for (signal, status) in [("TERM", 143), ("INT", 130)] {
        let mut fixture = start("fixture", &[]);
        let mut client = client(&fixture);
        let call = r#"{"msg":"method","id":"m","method":"slow","params":[3600000,"late"]}"#;
        client.send_text(call);
        fixture.process().signal("TERM");
        client.expect_close(1001, "Going away");
        // It waits for the method.
        fixture.process().signal(signal);
        let ended = fixture.process().wait(PATIENCE).expect("an end");
        assert_eq!(ended.code(), Some(status), "not when its time was over");
    }
}

#[test]
fn found_113_a_program_lives_when_its_terminal_goes() {
    let mut chat = start("chat", &[]);
    let mut before = join(&chat, "lobby");
    chat.process().signal("HUP");
    assert!(chat.process().wait(Duration::from_millis(300)).is_none());
    let mut after = join(&chat, "lobby");
    let call = r#"{"msg":"method","id":"m","method":"messages.add","params":["lobby","hi"]}"#;
    after.send_text(call);
    for client in [&mut before, &mut after] {
        let event = &next(client, "changed")["fields"]["event"];
        assert_eq!(event["message"], "hi");
    }
}

#[test]
fn the_fixture_believes_its_proxies_and_takes_its_time_to_end() {
    let hours = (1000 * 3_600_000_u64).to_string();
    let environment = [
        ("TRUSTED_PROXIES", "10.0.0.0/8, 127.0.0.1"),
        ("DRAIN_MS", &hours),
    ];
    let mut fixture = start("fixture", &environment);
    let forwarded = [("X-Forwarded-For", "6.6.6.6, 203.0.113.7, 10.0.0.1")];
    let mut client = Client::connect_with(&fixture.url(), &forwarded).unwrap();
    client.send_text(CONNECT);
    client.send_text(r#"{"msg":"sub","id":"s","name":"conn","params":[]}"#);
    let shown = next(&mut client, "added");
    assert_eq!(shown["fields"]["addr"], "203.0.113.7", "{shown}");
    fixture.process().signal("TERM");
    let refused = || Client::try_connect(&fixture.url()).is_err();
    eventually("nobody is let in", refused);
    client.send_text(r#"{"msg":"ping"}"#);
    next(&mut client, "pong");
}

/// Starts an example at a free port.
fn start(name: &str, environment: &[(&str, &str)]) -> Example {
    let port = free_port();
    let (port, listen) = (port.to_string(), format!("127.0.0.1:{port}"));
    let mut all = vec![("PORT", port.as_str()), ("LISTEN", listen.as_str())];
    all.extend(environment);
    Example::start(name, &all)
}

fn client(server: &Example) -> Client {
    Client::ddp_connect(&server.url()).0
}

/// A client of the chat that is in a room.
fn join(chat: &Example, room: &str) -> Client {
    let mut client = client(chat);
    let params = json!([format!("vent.{room}"), { "threadId": room }]);
    let subscribe = json!({ "msg": "sub", "id": "1", "name": "threadMessage", "params": params });
    client.send_text(&subscribe.to_string());
    next(&mut client, "ready");
    client
}

/// The next message of a kind; others are passed over.
fn next(client: &mut Client, kind: &str) -> Value {
    loop {
        let text = client.next_text(PATIENCE);
        let text = text.unwrap_or_else(|| panic!("no '{kind}' has come"));
        let message: Value = serde_json::from_str(&text).unwrap();
        if message["msg"] == kind {
            return message;
        }
    }
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

fn get(server: &Example, path: &str) -> Answer {
    http(server, &format!("GET {path} HTTP/1.1\r\n"), "")
}

/// Posts to the webhook and answers the status.
fn webhook(server: &Example, secret: Option<&str>, body: &str) -> u16 {
    let mut head =
        String::from("POST /webhooks/payments HTTP/1.1\r\ncontent-type: application/json\r\n");
    head.push_str(&format!("content-length: {}\r\n", body.len()));
    if let Some(secret) = secret {
        head.push_str(&format!("x-webhook-secret: {secret}\r\n"));
    }
    http(server, &head, body).status
}

fn http(server: &Example, head: &str, body: &str) -> Answer {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    write!(
        stream,
        "{head}host: localhost\r\nconnection: close\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer {
        status,
        head: head.to_owned(),
        body: body.to_owned(),
    }
}
