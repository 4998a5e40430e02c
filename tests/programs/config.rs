//! The configuration file of the binary.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use updraft_test_support::client::Client;
use updraft_test_support::folder::Folder;
use updraft_test_support::http::Http;
use updraft_test_support::page::Page;
use updraft_test_support::process::{Process, free_port};
use updraft_test_support::redis::RedisServer;

/// A secret, of which nothing may be printed.
const KEY: &str = "c2VjcmV0IG9mIHRlc3Rz";

/// A file with this text, in a folder that ends with its owner.
fn file(text: &str) -> (Folder, PathBuf) {
    let folder = Folder::new("config");
    let path = folder.path().join("updraft.toml");
    fs::write(&path, text).expect("it can be written");
    (folder, path)
}

fn updraft(path: &PathBuf) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_updraft"));
    command.env("UPDRAFT_CONFIG", path);
    command
}

/// The port of an app that answers everything with a page.
fn app() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let answer = |socket: TcpStream| {
        let mut lines = BufReader::new(&socket).lines().map_while(Result::ok);
        if lines.any(|line| line.is_empty()) {
            let page = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\
                        Connection: close\r\n\r\nhi";
            drop((&socket).write_all(page.as_bytes()));
        }
    };
    thread::spawn(move || listener.incoming().map_while(Result::ok).for_each(answer));
    port
}

/// The status with which a server at this port answers a page of this origin, or any program.
fn status(port: u16, head: &str, origin: Option<&str>) -> u16 {
    let mut http = Http::connect(&format!("127.0.0.1:{port}"));
    let origin = origin.map(|origin| ("Origin", origin));
    http.ask(head, origin.as_slice(), "").status
}

/// The cookie that a page of the app sets at a server with this port.
fn cookie(port: u16) -> String {
    let mut http = Http::connect(&format!("127.0.0.1:{port}"));
    let answer = http.ask("GET /", &[], "");
    let cookie = answer.header("set-cookie").unwrap_or_default().to_owned();
    assert_eq!(answer.text(), "hi");
    cookie
}

#[test]
fn gateway_096_the_binary_does_what_its_file_says() {
    let redis = RedisServer::start();
    let (port, one, other) = (free_port(), app(), app());
    let text = format!(
        r#"
        listen = "127.0.0.1:{port}"
        redis = "{}"
        meteor = ["http://127.0.0.1:{one}", "http://127.0.0.1:{other}"]
        cookie-key = "{KEY}"
        allow-origin = ["https://app.example"]
        health-checks = true
        trusted-proxies = 1
        drain = 0

        [relay]
        news = "news"
        threadMessage = "threads::{{threadId}}::new_message"
        "#,
        redis.url()
    );
    let (_folder, path) = file(&text);
    let server = Process::start(&mut updraft(&path), port);
    assert_eq!(status(port, "GET /healthz", None), 200);
    let info = |port, origin| status(port, "GET /sockjs/info", Some(origin));
    assert_eq!(info(port, "https://app.example"), 200);
    assert_eq!(info(port, "https://other.example"), 403);
    let first = cookie(port);
    assert!(first.starts_with("updraft-server="), "{first}");

    // Another one with the same file knows the cookie. What is said besides counts instead of it.
    let (by_variable, by_option) = (free_port(), free_port());
    let mut command = updraft(&path);
    command.env("UPDRAFT_LISTEN", format!("127.0.0.1:{by_variable}"));
    command.env("UPDRAFT_HEALTH_CHECKS", "false");
    let second = Process::start(&mut command, by_variable);
    assert_eq!(cookie(by_variable), first);
    let mut http = Http::connect(&format!("127.0.0.1:{by_variable}"));
    assert_eq!(http.body("GET /healthz", ""), "hi", "it is the app's");
    command.args(["--listen", &format!("127.0.0.1:{by_option}")]);
    command.args(["--health-checks", "--allow-origin", "https://other.example"]);
    command.env("UPDRAFT_COOKIE_KEY", format!("{KEY} of another"));
    let third = Process::start(&mut command, by_option);
    assert_ne!(cookie(by_option), first);
    assert_eq!(status(by_option, "GET /healthz", None), 200);
    // Lists are not joined.
    assert_eq!(info(by_option, "https://app.example"), 403);
    assert_eq!(info(by_option, "https://other.example"), 200);
    for server in [server, second, third] {
        let log = server.output();
        assert!(!log.contains(KEY), "{log}");
    }
}

#[test]
fn gateway_096_relays_of_a_file_are_relayed() {
    let redis = RedisServer::start();
    let port = free_port();
    let text = format!(
        r#"
        listen = "127.0.0.1:{port}"
        redis = "{}"
        relay.news = "news"
        relay."threadMessage" = "threads::{{threadId}}::new_message"
        "#,
        redis.url()
    );
    let (_folder, path) = file(&text);
    let _server = Process::start(&mut updraft(&path), port);
    let (mut client, _) = Client::ddp_connect(&format!("ws://127.0.0.1:{port}/websocket"));
    for (name, channel) in [
        ("news", "news"),
        ("threadMessage", "threads::7::new_message"),
    ] {
        client.send_text(&format!(
            r#"{{"msg":"sub","id":"{name}","name":"{name}","params":["vent.{name}",{{"threadId":7}}]}}"#
        ));
        let document = format!(r#""collection":"vent.{name}","id":"id""#);
        client.expect_text(&format!(r#"{{"msg":"added",{document},"fields":{{}}}}"#));
        client.expect_text(&format!(r#"{{"msg":"ready","subs":["{name}"]}}"#));
        redis.publish(channel, "1");
        let event = r#""fields":{"event":1}"#;
        client.expect_text(&format!(r#"{{"msg":"changed",{document},{event}}}"#));
    }
}

#[test]
fn gateway_097_what_is_wrong_with_a_file_is_one_line_with_its_place() {
    for (text, expected) in [
        (
            "listen = '127.0.0.1:0'\n  metoer = ['http://a']",
            ":2:3: there is no option \"metoer\"; did you mean meteor?",
        ),
        (
            "meteor = ['http://a']\n[relays]\nnews = 'news'",
            ":2:2: there is no option \"relays\"; did you mean relay?",
        ),
        (
            "config = 'other.toml'",
            ":1:1: there is no option \"config\"; there are listen, redis, allow-origin, \
             trusted-proxies, health-checks, drain, tls-cert, tls-key, meteor, cookie-key, relay",
        ),
        (
            "meteor = 'http://a'",
            ":1:10: invalid type: string \"http://a\", expected a sequence",
        ),
        (
            "meteor = ['http://a']\ndrain = -1",
            ":2:9: invalid value: integer `-1`, expected u32",
        ),
        (
            "[relay]\nok = 'news'\nbad = 'news*'",
            ":3:7: a channel's name has no white space, and is no pattern; where a part of it \
             differs, {x} stands for member x of the subscription's parameter",
        ),
        (
            "cookie-key = 1234567890123456789",
            ":1:14: it must be a text, in quotation marks",
        ),
        ("drain = 1\ndrain = 2", ":2:1: duplicate key"),
        (
            "redis = \"redis://:hunter2@localhost\nmeteor = []",
            ":1:36: invalid basic string, expected `\"`",
        ),
    ] {
        let (_folder, path) = file(text);
        let said = mistake(&path);
        assert_eq!(said, format!("error: {}{expected}\n", path.display()));
    }
    for (text, expected) in [
        (
            "cookie-key = 'hunter2'\nmeteor = ['http://a', 'http://b']",
            "the key of the cookie of the Meteor servers has 7 bytes; it must have at least 16",
        ),
        (
            "cookie-key = 'hunter2hunter2hunter2'\nrelay.a = 'a'",
            "cookie-key is of no use without an app; --meteor says where it is",
        ),
        (
            "tls-cert = 'cert.pem'\nrelay.a = 'a'",
            "TLS needs both a certificate and its key; --tls-cert and --tls-key name them",
        ),
    ] {
        let (_folder, path) = file(text);
        assert_eq!(mistake(&path), format!("error: {expected}\n"));
    }
    let nowhere = PathBuf::from("no-such-file.toml");
    let said = mistake(&nowhere);
    let expected = "error: no-such-file.toml cannot be read: No such file or directory";
    assert!(said.starts_with(expected), "{said}");
    assert!(said.ends_with("; --config says which file\n"), "{said}");
    let (_folder, empty) = file("");
    assert!(mistake(&empty).contains("there is nothing to do"));
}

#[test]
fn gateway_096_the_file_of_the_guide_is_understood() {
    let page = Page::read("command-line.md");
    let text = &page.blocks("The relay", "toml")[0];
    // The server ends nevertheless: its certificate is nowhere.
    let (_folder, path) = file(text);
    let said = mistake(&path);
    assert!(!said.contains("updraft.toml:"), "{said}");
    for option in ["listen", "redis", "meteor", "cookie-key", "[relay]"] {
        assert!(text.contains(option), "{option}");
    }
}

/// What the binary says of a file, which must end it.
fn mistake(path: &PathBuf) -> String {
    let mut command = updraft(path);
    let ended = command.env("RUST_LOG", "error").output();
    let ended = ended.expect("the binary runs");
    assert!(!ended.status.success());
    assert_eq!(ended.stdout, b"");
    let said = String::from_utf8(ended.stderr).expect("a text");
    assert!(!said.contains("hunter2"), "{said}");
    said
}
