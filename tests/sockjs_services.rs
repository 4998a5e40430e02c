//! SockJS apart from DDP: the cases of sockjs-protocol's suite, against the example that it expects.

use std::time::Duration;

use tungstenite::Message as Sent;
use updraft_test_support::client::Client;
use updraft_test_support::example::Example;
use updraft_test_support::http::{Answer, Http};

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
fn the_iframe_page_is_kept_for_a_year() {
    let (_example, host) = start();
    let mut http = Http::connect(&host);
    let mut tags = Vec::new();
    for path in [
        "iframe.html",
        "iframe-.html",
        "iframe-0.1.2abc-dirty.2144.html?t=qwe123",
    ] {
        let answer = http.ask(&format!("GET /echo/{path}"), &[], "");
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(
            answer.header("content-type"),
            Some("text/html; charset=UTF-8")
        );
        assert_eq!(
            answer.header("cache-control"),
            Some("public, max-age=31536000")
        );
        assert!(answer.header("expires").is_some() && answer.header("last-modified").is_none());
        assert_eq!(answer.header("set-cookie"), None);
        tags.push(answer.header("etag").map(str::to_owned));
        let page = answer.text();
        assert!(
            page.starts_with("<!DOCTYPE html>\n<html>\n<head>\n"),
            "{page}"
        );
        assert!(page.contains("    SockJS.bootstrap_iframe();\n"), "{page}");
    }
    assert!(tags.windows(2).all(|two| two[0] == two[1]));
    let tag = tags[0].as_deref().expect("a tag");
    let known = http.ask("GET /echo/iframe.html", &[("If-None-Match", tag)], "");
    assert_eq!((known.status, known.header("content-type")), (304, None));
    assert_eq!(known.header("etag"), Some(tag));
}

#[test]
fn websocket_echoes_and_closes() {
    let (_example, host) = start();
    let mut client = Client::connect(&format!("ws://{host}/echo/000/a/websocket"));
    // A WebSocket is a session of its own, whatever its name.
    let mut namesake = Client::connect(&format!("ws://{host}/echo/000/a/websocket"));
    for client in [&mut client, &mut namesake] {
        client.expect_text("o");
        client.send_text("");
        client.send_text("[]");
        client.send_text(r#"["a","b"]"#);
        client.expect_text(r#"a["a"]"#);
        client.expect_text(r#"a["b"]"#);
    }
    client.close();
    namesake.close();
    let mut client = Client::connect(&format!("ws://{host}/close/000/a/websocket"));
    client.expect_text("o");
    client.expect_text(r#"c[3000,"Go away!"]"#);
    client.expect_close(3000, "Go away!");
    let mut broken = Client::connect(&format!("ws://{host}/echo/000/a/websocket"));
    broken.expect_text("o");
    broken.send_text("[\"a");
    broken.expect_close(3000, "Broken framing.");
}

#[test]
fn raw_websocket_has_no_frames() {
    let (_example, host) = start();
    let mut client = Client::connect(&format!("ws://{host}/echo/websocket"));
    client.send_text("Hello world!\u{ffff}");
    client.expect_text("Hello world!\u{ffff}");
    client.send(Sent::text("[5]")).unwrap();
    client.expect_text("[5]");
    client.close();
    let mut client = Client::connect(&format!("ws://{host}/close/websocket"));
    client.expect_close(3000, "Go away!");
    let off = Http::connect(&host)
        .ask("GET /disabled_websocket_echo/websocket", &[], "")
        .status;
    assert_eq!(off, 404);
    let info = Http::connect(&host).body("GET /disabled_websocket_echo/info", "");
    assert!(info.starts_with(r#"{"websocket":false,"#), "{info}");
}

#[test]
fn polling_echoes_whatever_the_type_says() {
    let (_example, host) = start();
    let mut http = Http::connect(&host);
    assert_eq!(http.body("POST /echo/000/a/xhr", ""), "o\n");
    let types = [
        "text/plain",
        "T",
        "application/json",
        "application/xml",
        "",
        "text/xml; charset=utf-8",
    ];
    for content_type in types {
        let answer = http.ask(
            "POST /echo/000/a/xhr_send",
            &[("Content-Type", content_type)],
            "[\"a\"]",
        );
        assert_eq!(answer.status, 204, "{content_type}");
    }
    // The server's part of the path is for load balancers only.
    let mut got = Vec::new();
    while got.len() < types.len() {
        let frame = http.body("POST /echo/999/a/xhr", "");
        let messages = frame.strip_prefix('a').expect("messages").trim_end();
        let messages: Vec<String> = serde_json::from_str(messages).expect("strings");
        got.extend(messages);
    }
    assert_eq!(got, ["a"; 6]);
}

#[test]
fn what_browsers_mangle_is_escaped() {
    let (_example, host) = start();
    let mut http = Http::connect(&host);
    assert_eq!(http.body("POST /echo/000/a/xhr", ""), "o\n");
    let ranges = [
        0x200c..=0x200f,
        0x2028..=0x202f,
        0x2060..=0x206f,
        0xfff0..=0xffff,
    ];
    let points: Vec<u32> = ranges.into_iter().flatten().collect();
    let text: String = points
        .iter()
        .filter_map(|point| char::from_u32(*point))
        .collect();
    let escaped: String = points
        .iter()
        .map(|point| format!("\\u{point:04x}"))
        .collect();
    send(&host, "/echo/000/a", &format!("[\"{text}\"]"));
    assert_eq!(
        http.body("POST /echo/000/a/xhr", ""),
        format!("a[\"{escaped}\"]\n")
    );
    send(&host, "/echo/000/a", r#"["\ud83d\ude00 \ud83d \u0000"]"#);
    assert_eq!(
        http.body("POST /echo/000/a/xhr", ""),
        "a[\"😀 \\ufffd \\u0000\"]\n"
    );
}

#[test]
fn closing_is_said_to_each_request() {
    let (_example, host) = start();
    let mut http = Http::connect(&host);
    assert_eq!(http.body("POST /close/000/a/xhr", ""), "o\n");
    for _ in 0..3 {
        assert_eq!(
            http.body("POST /close/000/a/xhr", ""),
            "c[3000,\"Go away!\"]\n"
        );
    }
    let scripts = [(); 2].map(|()| http.body("GET /close/000/j/jsonp?c=x", ""));
    assert_eq!(
        scripts,
        [
            "/**/x(\"o\");\r\n",
            "/**/x(\"c[3000,\\\"Go away!\\\"]\");\r\n"
        ]
    );
    for _ in 0..2 {
        let mut stream = http.ask("POST /close/000/s/xhr_streaming", &[], "");
        stream.piece().expect("the prelude");
        let mut next = stream.piece();
        if next.as_deref() == Some("o\n") {
            next = stream.piece();
        }
        assert_eq!(next.as_deref(), Some("c[3000,\"Go away!\"]\n"));
        assert_eq!(stream.piece(), None, "the response ends");
    }
}

#[test]
fn a_second_stream_is_sent_away_and_a_cut_one_ends_its_session() {
    let (_example, host) = start();
    let mut first = Http::connect(&host);
    let mut stream = first.ask("POST /echo/000/a/xhr_streaming", &[], "");
    stream.piece().expect("the prelude");
    expect_piece(&mut stream, "o\n");
    let mut second = Http::connect(&host);
    let mut ask = || {
        let answer = second.ask("POST /echo/000/a/xhr_streaming", &[], "");
        let body: Vec<String> = {
            let mut answer = answer;
            std::iter::from_fn(|| answer.piece()).take(2).collect()
        };
        second = Http::connect(&host);
        body[1].clone()
    };
    assert_eq!(ask(), "c[2010,\"Another connection still open\"]\n");
    drop(stream);
    drop(first);
    updraft_test_support::eventually("a new session", || ask() == "o\n");
}

#[test]
fn streaming_ends_at_its_limit() {
    let (_example, host) = start();
    let mut http = Http::connect(&host);
    let mut stream = http.ask("POST /echo/000/a/xhr_streaming", &[("Origin", "test")], "");
    assert_eq!(
        stream.header("content-type"),
        Some("application/javascript; charset=UTF-8")
    );
    assert_eq!(stream.header("access-control-allow-origin"), Some("test"));
    assert_eq!(stream.header("cache-control"), Some(NO_STORE));
    expect_piece(&mut stream, &format!("{}\n", "h".repeat(2048)));
    expect_piece(&mut stream, "o\n");
    let message = format!("[\"{}\"]", "x".repeat(128));
    for _ in 0..31 {
        send(&host, "/echo/000/a", &message);
        expect_piece(&mut stream, &format!("a{message}\n"));
    }
    assert_eq!(stream.piece(), None);
    // The session goes on with the next.
    send(&host, "/echo/000/a", "[\"later\"]");
    assert_eq!(http.body("POST /echo/000/a/xhr", ""), "a[\"later\"]\n");
}

#[test]
fn eventsource_and_htmlfile_have_their_wrappings() {
    let (_example, host) = start();
    let large = "x".repeat(4096);
    let mut http = Http::connect(&host);
    let mut events = http.ask("GET /echo/000/e/eventsource", &[], "");
    assert_eq!(events.header("content-type"), Some("text/event-stream"));
    assert_eq!(events.header("cache-control"), Some(NO_STORE));
    expect_piece(&mut events, "\r\n");
    expect_piece(&mut events, "data: o\r\n\r\n");
    send(&host, "/echo/000/e", "[\"  \\u0000\\n\\r \"]");
    expect_piece(&mut events, "data: a[\"  \\u0000\\n\\r \"]\r\n\r\n");
    send(&host, "/echo/000/e", &format!("[\"{large}\"]"));
    expect_piece(&mut events, &format!("data: a[\"{large}\"]\r\n\r\n"));
    assert_eq!(events.piece(), None);

    let mut page = http.ask("GET /echo/000/h/htmlfile?c=%63allback", &[], "");
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=UTF-8")
    );
    let head = page.piece().expect("the head");
    assert!(
        head.contains("    var c = parent.callback;\n") && head.len() > 1024,
        "{head}"
    );
    expect_piece(&mut page, "<script>\np(\"o\");\n</script>\r\n");
    send(&host, "/echo/000/h", "[\"x</script>\"]");
    expect_piece(
        &mut page,
        "<script>\np(\"a[\\\"x\\u003c/script>\\\"]\");\n</script>\r\n",
    );
    send(&host, "/echo/000/h", &format!("[\"{large}\"]"));
    expect_piece(
        &mut page,
        &format!("<script>\np(\"a[\\\"{large}\\\"]\");\n</script>\r\n"),
    );
    assert_eq!(page.piece(), None);
}

#[test]
fn jsonp_takes_forms_and_plain_bodies() {
    let (_example, host) = start();
    let mut http = Http::connect(&host);
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    assert_eq!(
        http.body("GET /echo/000/j/jsonp?c=%63allback", ""),
        "/**/callback(\"o\");\r\n"
    );
    let answer = http.ask("POST /echo/000/j/jsonp_send", &form, "d=%5B%22abc%22%5D");
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; charset=UTF-8")
    );
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    assert_eq!(
        http.body("GET /echo/000/j/jsonp?c=x", ""),
        "/**/x(\"a[\\\"abc\\\"]\");\r\n"
    );
    assert_eq!(
        http.body("POST /echo/000/j/jsonp_send", "[\"%61bc\"]"),
        "ok"
    );
    assert_eq!(
        http.body("GET /echo/000/j/jsonp?callback=x", ""),
        "/**/x(\"a[\\\"%61bc\\\"]\");\r\n"
    );
    for (body, told) in [
        ("d=%5B%22x", "Broken JSON encoding."),
        ("", "Payload expected."),
        ("d=", "Payload expected."),
        ("p=p", "Payload expected."),
    ] {
        let answer = http.ask("POST /echo/000/j/jsonp_send", &form, body);
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (500, told),
            "{body}"
        );
    }
}

#[test]
fn the_cookie_is_kept_or_made() {
    let (_example, host) = start();
    let mut http = Http::connect(&host);
    let info = http.ask("GET /cookie_needed_echo/info", &[], "");
    assert_eq!(info.header("set-cookie"), None);
    assert!(info.text().contains(r#""cookie_needed":true"#));
    for (number, head) in ["POST", "GET", "GET", "GET", "POST"].iter().enumerate() {
        let transport = [
            "xhr",
            "eventsource",
            "htmlfile?c=x",
            "jsonp?c=x",
            "xhr_streaming",
        ][number];
        let head = format!("{head} /cookie_needed_echo/0/{number}/{transport}");
        let answer = Http::connect(&host)
            .ask(&head, &[], "")
            .header("set-cookie")
            .map(str::to_owned);
        assert_eq!(
            answer.as_deref(),
            Some("JSESSIONID=dummy; path=/"),
            "{head}"
        );
    }
    let own = [("Cookie", "a=b; JSESSIONID=abcdef; c=d")];
    let answer = http.ask("POST /cookie_needed_echo/0/own/xhr", &own, "");
    assert_eq!(
        answer.header("set-cookie"),
        Some("JSESSIONID=abcdef; path=/")
    );
}

#[test]
fn a_session_without_requests_ends_after_its_delay() {
    let (_example, host) = start();
    let mut http = Http::connect(&host);
    assert_eq!(http.body("POST /echo/000/a/xhr", ""), "o\n");
    std::thread::sleep(Duration::from_secs(1));
    send(&host, "/echo/000/a", "[]");
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(http.body("POST /echo/000/a/xhr", ""), "o\n", "a new one");
}
