//! DDP over SockJS, as browsers speak it: every URL, both transports, and what a server must not
//! put up with.

#![allow(
    clippy::disallowed_methods,
    reason = "tests measure how long the server waits"
)]

mod client;
#[path = "../common/mod.rs"]
mod common;
mod limits;
mod services;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use common::{Count, Gate, Running, eventually_within};
use tungstenite::Message as Sent;
use updraft::prelude::*;
use updraft::{Builder, SockJs, SockJsConnection};
use updraft_test_support::client::{CONNECT, Client, PATIENCE};
use updraft_test_support::http::Http;
use updraft_test_support::transport::{Way, array, session_path};

const NO_STORE: &str = "no-store, no-cache, no-transform, must-revalidate, max-age=0";

/// Asks a running server.
impl Running {
    fn host(&self) -> &str {
        self.url()
            .trim_start_matches("ws://")
            .trim_end_matches("/websocket")
    }

    fn http(&self) -> Http {
        Http::connect(self.host())
    }

    /// A SockJS session over WebSocket, opened.
    fn sockjs(&self) -> Client {
        let mut client = Client::connect(&format!(
            "ws://{}/sockjs/000/abcdefgh/websocket",
            self.host()
        ));
        client.expect_text("o");
        client
    }

    /// Ends, and with it the sessions that nobody polls.
    #[track_caller]
    fn end(&self) {
        self.begin_shutdown(PATIENCE);
        assert!(eventually_within(2 * PATIENCE, || self.has_ended()));
    }

    /// Waits for the end of all that clients have left, for less than it takes a Meteor session to
    /// be given up.
    #[track_caller]
    fn rests(&self) {
        let rested = eventually_within(2 * PATIENCE, || self.is_at_rest());
        assert!(rested, "{:?}", self.stats());
    }
}

/// Open to pages of every origin; a session that is lost is given up soon, so that a test ends.
fn open() -> Builder {
    Server::builder().configure(|settings| {
        settings.origins.allow_any = true;
        settings.sessions.resumption.grace = Duration::from_millis(300);
    })
}

/// Sessions that are given up soon, so that a test ends.
fn hasty() -> SockJs {
    SockJs::meteor().disconnect_delay(Duration::from_millis(500))
}

fn serve() -> Running {
    Running::start(open().sockjs(hasty()))
}

/// Begins a session of its own over polling, and does not poll it.
fn begin_polling(http: &mut Http) {
    let opened = http.body(&format!("POST {}/xhr", session_path()), "");
    assert_eq!(opened, "o\n");
}

/// A status line and the first header of the answer that matter to a browser.
fn status(http: &mut Http, head: &str) -> u16 {
    http.ask(head, &[], "").status
}

#[test]
fn ddp_199_200_info_says_what_there_is() {
    let server = serve();
    let mut http = server.http();
    let answer = http.ask("GET /sockjs/info?t=1", &[], "");
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("content-type"),
        Some("application/json; charset=UTF-8")
    );
    assert_eq!(answer.header("cache-control"), Some(NO_STORE));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!(answer.header("access-control-allow-credentials"), None);
    assert_eq!(answer.header("vary"), Some("Origin"));
    assert_eq!(answer.header("set-cookie"), None);
    let info = answer.text();
    let fixed = r#"{"websocket":true,"origins":["*:*"],"cookie_needed":false,"entropy":"#;
    let entropy = info
        .strip_prefix(fixed)
        .and_then(|rest| rest.strip_suffix('}'));
    assert!(
        entropy.is_some_and(|number| number.parse::<u32>().is_ok()),
        "{info}"
    );
    assert_ne!(http.body("GET /sockjs/info", ""), info, "fresh each time");
    for origin in ["http://elsewhere.example", "null"] {
        let answer = http.ask("GET /sockjs/info", &[("Origin", origin)], "");
        assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
        assert_eq!(
            answer.header("access-control-allow-credentials"),
            Some("true")
        );
        assert_eq!(answer.header("vary"), Some("Origin"));
        answer.text();
    }
}

#[test]
fn ddp_201_202_215_row_018_preflights_greeting_and_methods() {
    let server = serve();
    let mut http = server.http();
    for (path, methods) in [
        ("/sockjs/info", "OPTIONS, GET"),
        ("/sockjs/a/b/xhr", "OPTIONS, POST"),
        ("/sockjs/a/b/xhr_send", "OPTIONS, POST"),
        ("/sockjs/a/b/xhr_streaming", "OPTIONS, POST"),
    ] {
        let headers = [
            ("Origin", "null"),
            ("Access-Control-Request-Headers", "a, b"),
        ];
        let answer = http.ask(&format!("OPTIONS {path}"), &headers, "");
        assert_eq!(answer.status, 204, "{path}");
        for (name, value) in [
            ("access-control-allow-methods", methods),
            ("access-control-max-age", "31536000"),
            ("access-control-allow-origin", "null"),
            ("access-control-allow-credentials", "true"),
            ("access-control-allow-headers", "a, b"),
            ("cache-control", "public, max-age=31536000"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path}: {name}");
        }
        assert!(
            answer
                .header("expires")
                .is_some_and(|date| date.ends_with(" GMT"))
        );
    }
    for path in ["/sockjs", "/sockjs/"] {
        let answer = http.ask(&format!("GET {path}"), &[], "");
        assert_eq!(
            answer.header("content-type"),
            Some("text/plain; charset=UTF-8")
        );
        assert_eq!(answer.text(), "Welcome to SockJS!\n");
    }
    for (head, allowed) in [
        ("GET /sockjs/a/b/xhr", "OPTIONS, POST"),
        ("POST /sockjs/a/b/websocket", "GET"),
        ("PUT /sockjs/info", "OPTIONS, GET"),
    ] {
        let answer = http.ask(head, &[], "");
        assert_eq!(
            (answer.status, answer.header("allow")),
            (405, Some(allowed)),
            "{head}"
        );
        assert_eq!(answer.header("content-type"), None, "{head}");
        assert_eq!(answer.text(), "", "{head}");
    }
}

#[test]
fn ddp_203_204_205_206_ddp_within_sockjs_frames() {
    let server = serve();
    let mut client = server.sockjs();
    client.send_text(&array(CONNECT));
    let connected = client.expect_any_text();
    assert!(
        connected.starts_with(r#"a["{\"msg\":\"connected\",\"session\":\""#),
        "{connected}"
    );
    client.send_text(r#""{\"msg\":\"ping\"}""#);
    client.expect_text(r#"a["{\"msg\":\"pong\"}"]"#);
    let ping = |id: &str| format!(r#""{{\"msg\":\"ping\",\"id\":\"{id}\"}}""#);
    client.send_text(&format!("[{},{},{}]", ping("1"), ping("2"), ping("3")));
    for id in ["1", "2", "3"] {
        client.expect_text(&format!(r#"a["{{\"msg\":\"pong\",\"id\":\"{id}\"}}"]"#));
    }
    client.close();
}

#[test]
fn ddp_207_what_is_not_a_message() {
    let server = serve();
    let mut client = server.sockjs();
    client.send_text("");
    client.send_text("[]");
    client.expect_silence(100);
    client.send_text("[5]");
    client.expect_text(r#"a["{\"msg\":\"error\",\"reason\":\"Bad request\"}"]"#);
    client.close();
}

#[test]
fn ddp_208_found_115_a_peer_that_breaks_the_rules_or_closes_hears_a_close_frame_only() {
    let server = serve();
    let mut client = server.sockjs();
    client.send_text("[\"a");
    client.expect_close(3000, "Broken framing.");
    let mut client = server.sockjs();
    client.send_text(&array(CONNECT));
    client.expect_any_text();
    client.send_text(&array(&"x".repeat(5 << 20)));
    client.expect_close(1009, "Message too big");
    let mut client = server.sockjs();
    client.send(Sent::Close(None)).unwrap();
    client.expect_close(1000, "");
}

#[test]
fn ddp_209_214_a_refused_version_over_both_transports() {
    let server = serve();
    let refused = r#"{"msg":"connect","version":"9","support":["9"]}"#;
    let failed = r#"a["{\"msg\":\"failed\",\"version\":\"1\"}"]"#;
    let mut client = server.sockjs();
    client.send_text(&array(refused));
    client.expect_text(failed);
    client.expect_text(r#"c[1000,"Normal closure"]"#);
    client.expect_close(1000, "Normal closure");

    let mut http = server.http();
    let path = session_path();
    let poll = format!("POST {path}/xhr");
    assert_eq!(http.body(&poll, ""), "o\n");
    assert_eq!(
        http.ask(&format!("POST {path}/xhr_send"), &[], &array(refused))
            .status,
        204
    );
    assert_eq!(http.body(&poll, ""), format!("{failed}\n"));
    for _ in 0..3 {
        assert_eq!(http.body(&poll, ""), "c[1000,\"Normal closure\"]\n");
    }
    let late = http.ask(&format!("POST {path}/xhr_send"), &[], &array(CONNECT));
    assert_eq!(late.status, 404);
    late.text();
    // Forgotten in time, and then the name begins anew.
    let forgotten = eventually_within(PATIENCE, || http.body(&poll, "") == "o\n");
    assert!(forgotten);
    drop(http);
    server.rests();
}

#[test]
fn ddp_210_row_017_what_is_not_there() {
    let server = serve();
    let mut http = server.http();
    for path in [
        "/sockjs/a.b/c/xhr",
        "/sockjs/a/b.c/websocket",
        "/sockjs/a/%2e%2e/xhr",
        "/sockjs/a/%00/xhr",
        "/sockjs/../../etc/passwd",
        "/sockjs/%c0%ae%c0%ae/b/xhr",
        "/sockjs//xhr",
        "/sockjs/iframe.HTML",
        "/sockjs/nothing",
    ] {
        for method in ["GET", "POST"] {
            let answer = http.ask(&format!("{method} {path}"), &[], "");
            assert_eq!(answer.status, 404, "{method} {path}");
            answer.text();
        }
    }
}

#[test]
fn ddp_211_212_row_105_polling() {
    let server = serve();
    let mut http = server.http();
    let path = session_path();
    let (poll, send) = (format!("POST {path}/xhr"), format!("POST {path}/xhr_send"));
    let unknown = http.ask(&send, &[], &array(CONNECT));
    assert_eq!(unknown.status, 404);
    assert_eq!(unknown.header("cache-control"), Some(NO_STORE));
    unknown.text();

    let answer = http.ask(&poll, &[("Origin", "test")], "");
    assert_eq!(
        answer.header("content-type"),
        Some("application/javascript; charset=UTF-8")
    );
    assert_eq!(answer.header("cache-control"), Some(NO_STORE));
    assert_eq!(answer.header("access-control-allow-origin"), Some("test"));
    assert_eq!(answer.text(), "o\n");
    for (body, reason) in [
        ("[\"x", "Broken JSON encoding."),
        ("", "Payload expected."),
        ("{}", "Payload expected."),
    ] {
        let answer = http.ask(&send, &[], body);
        assert_eq!(answer.status, 500);
        assert_eq!(answer.text(), reason);
    }
    // Any type will do, and from Node there is no length.
    let array = array(CONNECT);
    http.send(&format!(
        "{send} HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{array}\r\n0\r\n\r\n",
        array.len()
    ));
    let answer = http.answer();
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (204, Some("text/plain; charset=UTF-8"))
    );
    assert_eq!(answer.header("content-length"), None);
    assert!(
        http.body(&poll, "")
            .starts_with(r#"a["{\"msg\":\"connected\""#)
    );
    let pings = r#"["{\"msg\":\"ping\"}","{\"msg\":\"ping\"}"]"#;
    assert_eq!(http.ask(&send, &[("Content-Type", "T")], pings).status, 204);
    assert_eq!(
        http.body(&poll, ""),
        "a[\"{\\\"msg\\\":\\\"pong\\\"}\",\"{\\\"msg\\\":\\\"pong\\\"}\"]\n"
    );
    drop(http);
    server.rests();
}

#[test]
fn ddp_213_row_106_row_107_a_second_poll_and_a_cut_one() {
    let server = serve();
    let mut first = server.http();
    let path = session_path();
    let poll = format!("POST {path}/xhr");
    assert_eq!(first.body(&poll, ""), "o\n");
    let waiting = first.ask(&poll, &[], "");
    let mut second = server.http();
    let turned_away = "c[2010,\"Another connection still open\"]\n";
    assert_eq!(second.body(&poll, ""), turned_away);
    assert_eq!(second.body(&poll, ""), turned_away);
    assert_eq!(server.stats().polling_sessions, 1);
    drop(waiting);
    drop(first);
    let anew = eventually_within(PATIENCE, || second.body(&poll, "") == "o\n");
    assert!(anew, "the session outlived the cut");
    drop(second);
    server.rests();
}

#[test]
fn ddp_216_a_websocket_is_pinged_and_must_answer() {
    let options = hasty().heartbeat(Duration::from_millis(300), Duration::from_millis(500));
    let server = Running::start(open().sockjs(options));
    let mut alive = server.sockjs();
    let mut silent = TcpStream::connect(server.host()).unwrap();
    silent.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = "GET /sockjs/0/x/websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    silent.write_all(request.as_bytes()).unwrap();
    let reader = thread::spawn(move || {
        let mut all = Vec::new();
        silent.read_to_end(&mut all).unwrap();
        all
    });
    // Answers by reading, until the other has been given up.
    while !reader.is_finished() {
        alive.expect_silence(50);
    }
    alive.send_text(&array(CONNECT));
    assert!(alive.expect_any_text().starts_with("a["));
    alive.close();
    let all = reader.join().unwrap();
    let head = all.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
    let reason = b"No response from heartbeat";
    let expected = [
        b"\x81\x01o\x89\x00\x81\x24c[3000,\"" as &[u8],
        reason,
        b"\"]\x88\x1c\x0b\xb8",
        reason,
    ]
    .concat();
    assert_eq!(all[head..], expected);
}

#[test]
fn ddp_216_a_poll_is_told_that_the_server_is_there() {
    let options = hasty().heartbeat(Duration::from_millis(300), Duration::from_secs(10));
    let server = Running::start(open().sockjs(options));
    let mut http = server.http();
    let poll = format!("POST {}/xhr", session_path());
    let answers = [(); 3].map(|()| http.body(&poll, ""));
    assert_eq!(answers, ["o\n", "h\n", "h\n"]);
    drop(http);
    server.rests();
}

#[test]
fn ddp_217_219_220_deviation_029_raw_websocket_and_no_compression() {
    let server = serve();
    let raw = format!("ws://{}/sockjs/websocket", server.host());
    let (client, _) = Client::ddp_connect(&raw);
    client.close();
    let mut http = server.http();
    for path in ["/sockjs/websocket", "/sockjs/0/x/websocket"] {
        let answer = http.ask(&format!("GET {path}"), &[], "");
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (400, "Not a valid websocket request")
        );
    }
    let offer = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        (
            "Sec-WebSocket-Extensions",
            "permessage-deflate; client_max_window_bits",
        ),
    ];
    let answer = http.ask("GET /sockjs/0/x/websocket", &offer, "");
    assert_eq!(
        (answer.status, answer.header("sec-websocket-extensions")),
        (101, None)
    );
}

#[test]
fn ddp_221_a_message_of_a_mebibyte_goes_both_ways_in_frames() {
    let echo = |_: Call, text: String| async { Ok(text) };
    let server = Running::start(open().sockjs(hasty()).method("echo", echo));
    for way in [Way::SockJsWebSocket, Way::XhrPolling] {
        let mut client = way.connect(server.url()).unwrap();
        client.send_text(CONNECT).unwrap();
        client.receive(PATIENCE).unwrap();
        let text = "x".repeat((1 << 20) - 200);
        let call = format!(r#"{{"msg":"method","id":"1","method":"echo","params":["{text}"]}}"#);
        client.send_text(&call).unwrap();
        client.receive(PATIENCE).unwrap();
        let result = client.receive(PATIENCE).unwrap().to_string();
        assert!(result.contains(&text), "{way:?}: {} bytes", result.len());
        client.close();
    }
    server.rests();
}

#[test]
fn ddp_222_a_path_prefix_and_another_prefix() {
    let builder = open()
        .configure(|settings| settings.http.path_prefix = "/app".to_owned())
        .sockjs(SockJs::meteor().prefix("/live"));
    let server = Running::start(builder);
    let mut http = server.http();
    assert_eq!(http.body("GET /app/live", ""), "Welcome to SockJS!\n");
    for path in ["/live", "/sockjs", "/app/sockjs", "/websocket"] {
        assert_eq!(
            status(&mut server.http(), &format!("GET {path}")),
            404,
            "{path}"
        );
    }
    for path in ["/app/websocket", "/app/live/websocket"] {
        Client::ddp_connect(&format!("ws://{}{path}", server.host()))
            .0
            .close();
    }
    let mut framed = Client::connect(&format!("ws://{}/app/live/0/x/websocket", server.host()));
    framed.expect_text("o");
    framed.close();
}

#[test]
fn without_websockets_clients_are_told_to_poll() {
    let options = hasty().websocket(false).cors(false);
    let server = Running::start(open().sockjs(options));
    let mut http = server.http();
    let answer = http.ask("GET /sockjs/info", &[("Origin", "test")], "");
    assert_eq!(answer.header("access-control-allow-origin"), None);
    let info = answer.text();
    assert!(
        info.starts_with(r#"{"websocket":false,"cookie_needed":false,"#),
        "{info}"
    );
    for path in ["/websocket", "/sockjs/websocket", "/sockjs/0/x/websocket"] {
        assert_eq!(
            status(&mut server.http(), &format!("GET {path}")),
            404,
            "{path}"
        );
    }
    begin_polling(&mut http);
    drop(http);
    server.rests();
}

#[test]
fn a_path_that_cannot_be_is_a_mistake() {
    for (builder, told) in [
        (
            open().configure(|settings| settings.http.path_prefix = "app".to_owned()),
            "http.path_prefix",
        ),
        (open().sockjs(SockJs::at("/")), "SockJS prefix '/'"),
        (
            open().sockjs_service(SockJs::at("/sockjs"), |_| async {}),
            "two SockJS services are at '/sockjs'",
        ),
    ] {
        let bound = common::runtime().block_on(builder.bind("127.0.0.1:0"));
        let error = bound.expect_err("a mistake").to_string();
        assert!(error.contains(told), "{error}");
    }
}

async fn relay(vent: Vent, channel: String) -> Result<()> {
    vent.on(updraft::channel![channel], |message: &Message| {
        message.event()
    })
    .await
}

#[test]
fn vent_008_events_are_the_same_over_every_transport() {
    let builder = open().sockjs(hasty()).vent("relay", relay);
    let server = Running::start(builder);
    let mut clients = Way::ALL.map(|way| way.connect(server.url()).unwrap());
    for client in &mut clients {
        client.send_text(CONNECT).unwrap();
        client.receive(PATIENCE).unwrap();
        let sub = r#"{"msg":"sub","id":"1","name":"relay","params":["v","c"]}"#;
        client.send_text(sub).unwrap();
        client.receive(PATIENCE).unwrap();
        client.receive(PATIENCE).unwrap();
    }
    let text = "\"\\\u{1}\u{200c}\u{2028}\u{feff}\u{ffff}é😀</script>";
    server.emit("c", text);
    let got = clients
        .each_mut()
        .map(|client| client.receive(PATIENCE).unwrap());
    let expected = format!(
        r#"<- {{"msg":"changed","collection":"v","id":"id","fields":{{"event":{}}}}}"#,
        ejson::to_json(&Value::from(text))
    );
    for received in got {
        assert_eq!(received.to_string(), expected);
    }
    for client in clients {
        client.close();
    }
    server.rests();
}
