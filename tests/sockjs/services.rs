//! SockJS apart from DDP, against the example that sockjs-protocol's suite expects: the cases of
//! the suite, and what it does not ask for.

mod steps;
mod suite;

use std::time::Duration;

use tungstenite::Message as Sent;
use updraft::prelude::*;
use updraft::{SockJs, SockJsConnection};
use updraft_test_support::client::Client;
use updraft_test_support::eventually;
use updraft_test_support::example::Example;
use updraft_test_support::http::{Answer, Http};

use crate::common::Running;

const NO_STORE: &str = "no-store, no-cache, no-transform, must-revalidate, max-age=0";

/// The example; one for all would make the sessions of one test visible to others.
fn start() -> (Example, String) {
    let example = Example::start("sockjs_echo", &[]);
    let host = format!("127.0.0.1:{}", example.port());
    (example, host)
}

fn send(host: &str, path: &str, body: &str) {
    let answer = Http::connect(host)
        .ask(&format!("POST {path}/xhr_send"), &[], body)
        .status;
    assert_eq!(answer, 204, "{path}");
}

fn expect_piece(answer: &mut Answer<'_>, piece: &str) {
    assert_eq!(answer.piece().as_deref(), Some(piece));
}

#[test]
fn raw_websocket_carries_what_is_no_frame() {
    let (_example, host) = start();
    let mut client = Client::connect(&format!("ws://{host}/echo/websocket"));
    client.send(Sent::text("[5]")).unwrap();
    client.expect_text("[5]");
    client.close();
    let off = Http::connect(&host)
        .ask("GET /disabled_websocket_echo/websocket", &[], "")
        .status;
    assert_eq!(off, 404);
}

#[test]
fn half_a_character_is_replaced_and_a_whole_one_is_carried() {
    let (_example, host) = start();
    let mut http = Http::connect(&host);
    assert_eq!(http.body("POST /echo/000/a/xhr", ""), "o\n");
    send(&host, "/echo/000/a", r#"["\ud83d\ude00 \ud83d \u0000"]"#);
    assert_eq!(
        http.body("POST /echo/000/a/xhr", ""),
        "a[\"😀 \\ufffd \\u0000\"]\n"
    );
}

#[test]
fn a_session_goes_on_behind_a_stream_that_has_reached_its_limit() {
    let (_example, host) = start();
    let mut http = Http::connect(&host);
    let mut stream = http.ask("POST /echo/000/a/xhr_streaming", &[], "");
    stream.piece().expect("the prelude");
    expect_piece(&mut stream, "o\n");
    let large = format!("[\"{}\"]", "x".repeat(4096));
    send(&host, "/echo/000/a", &large);
    expect_piece(&mut stream, &format!("a{large}\n"));
    assert_eq!(stream.piece(), None);
    send(&host, "/echo/000/a", "[\"later\"]");
    assert_eq!(http.body("POST /echo/000/a/xhr", ""), "a[\"later\"]\n");
}

#[test]
fn found_111_proxies_are_asked_to_pass_streams_on_as_they_come() {
    let (_example, host) = start();
    for (line, expected) in [
        ("POST /echo/000/a/xhr_streaming", Some("no")),
        // Sent away, which is a stream as well.
        ("POST /echo/000/a/xhr_streaming", Some("no")),
        ("GET /echo/000/b/eventsource", Some("no")),
        ("GET /echo/000/c/htmlfile?c=cb", Some("no")),
        ("POST /echo/000/d/xhr", None),
        ("GET /echo/000/e/jsonp?c=cb", None),
    ] {
        let mut http = Http::connect(&host);
        let answer = http.ask(line, &[], "");
        assert_eq!(answer.header("x-accel-buffering"), expected, "{line}");
        assert_eq!(answer.header("cache-control"), Some(NO_STORE), "{line}");
    }
}

#[test]
fn a_message_cannot_end_its_script() {
    let (_example, host) = start();
    let mut http = Http::connect(&host);
    let mut page = http.ask("GET /echo/000/h/htmlfile?c=cb", &[], "");
    page.piece().expect("the head");
    expect_piece(&mut page, "<script>\np(\"o\");\n</script>\r\n");
    send(&host, "/echo/000/h", "[\"x</script>\"]");
    let script = "<script>\np(\"a[\\\"x\\u003c/script>\\\"]\");\n</script>\r\n";
    expect_piece(&mut page, script);
}

#[test]
fn a_session_without_requests_ends_after_its_delay() {
    let service = SockJs::at("/echo").disconnect_delay(Duration::from_millis(300));
    let holds = |mut connection: SockJsConnection| async move {
        while connection.recv().await.is_some() {}
    };
    let server = Running::start(Server::builder().sockjs_service(service, holds));
    let host = server.address().to_string();
    let mut http = Http::connect(&host);
    assert_eq!(http.body("POST /echo/000/a/xhr", ""), "o\n");
    // What is sent meanwhile is no reason to keep it.
    let sends = || {
        Http::connect(&host)
            .ask("POST /echo/000/a/xhr_send", &[], "[]")
            .status
    };
    eventually("it has ended", || sends() == 404);
    assert_eq!(http.body("POST /echo/000/a/xhr", ""), "o\n", "a new one");
    drop(http);
}
