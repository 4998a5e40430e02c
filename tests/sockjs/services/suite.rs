//! The 68 cases of sockjs-protocol's suite, restated: each by its name there, as the steps that
//! come to the same. One is of a WebSocket that no browser speaks any more.

use std::io::{Read, Write};
use std::net::TcpStream;

use updraft_test_support::client::PATIENCE;
use updraft_test_support::eventually;
use updraft_test_support::example::Example;
use updraft_test_support::http::{Answer, Http};

use super::steps::Step::{self, Ask, Check, Closed, End, Hear, Piece, Say, Socket, Stream};
use super::steps::{Request, ask, run};
use super::{NO_STORE, expect_piece, send};

/// What of the suite cannot be right at the same time as RFC 6455: the handshake of hixie-76, with
/// its keys in two headers and behind them.
const NOT_SPOKEN: &str = "Websocket.test_haproxy";

const FORM: &str = "application/x-www-form-urlencoded";
const JAVASCRIPT: &str = "application/javascript; charset=UTF-8";
const PLAIN: &str = "text/plain; charset=UTF-8";
const HTML: &str = "text/html; charset=UTF-8";
const COOKIE: &str = "JSESSIONID=dummy; path=/";

#[test]
fn found_115_of_the_protocols_suite_all_holds_but_a_websocket_of_2010() {
    let example = Example::start("sockjs_echo", &[]);
    let host = format!("127.0.0.1:{}", example.port());
    let suite = suite();
    assert_eq!(suite.len(), 67);
    assert!(suite.iter().all(|(name, _)| *name != NOT_SPOKEN));
    for (number, (name, steps)) in suite.iter().enumerate() {
        println!("{name}");
        run(steps, &host, &format!("case-{number}"));
    }
}

/// A stream of frames that ends when one as large as its limit is through.
fn limited(stream: Request, begins: [&'static str; 2], large: &'static str) -> Vec<Step> {
    vec![
        Stream(stream),
        Piece(begins[0]),
        Piece(begins[1]),
        Ask(ask("POST /echo/000/SESSION/xhr_send", 204).body("[\"LARGE\"]")),
        Piece(large),
        End,
    ]
}

/// What a browser asks before it sends anything, for pages with and without an origin.
fn preflights(line: &'static str, methods: &'static str) -> Vec<Step> {
    let preflight = |origin| {
        let request = ask(line, 204).header("Origin", origin);
        request
            .header("Access-Control-Request-Method", methods)
            .has("cache-control", "public, max-age=31536000")
            .has("access-control-max-age", "31536000")
            .has("access-control-allow-methods", methods)
            .has("access-control-allow-origin", origin)
            .has("access-control-allow-credentials", "true")
            .says("")
    };
    vec![
        Ask(preflight("test")),
        Ask(preflight("null")),
        Check(has_expires),
    ]
}

fn has_expires(host: &str, _: &str) {
    let mut http = Http::connect(host);
    let answer = http.ask("OPTIONS /echo/info", &[("Origin", "test")], "");
    assert!(answer.header("expires").is_some());
}

fn iframe(line: &'static str) -> Step {
    let page = ask(line, 200)
        .has("content-type", HTML)
        .has("cache-control", "public, max-age=31536000")
        .lacks(&["last-modified", "set-cookie"])
        .names("SockJS.bootstrap_iframe();");
    Ask(page)
}

/// Two polls and what is sent in between.
fn poll(line: &'static str) -> Request {
    ask(line, 200).lacks(&["expires", "last-modified"])
}

fn suite() -> Vec<(&'static str, Vec<Step>)> {
    let xhr = || poll("POST /echo/000/SESSION/xhr");
    let post = || ask("POST /echo/000/SESSION/xhr_send", 204).says("");
    let jsonp = || poll("GET /echo/000/SESSION/jsonp?c=x");
    let jsonp_send = |status| {
        let request = ask("POST /echo/000/SESSION/jsonp_send", status);
        request.header("Content-Type", FORM)
    };
    let opened = || Ask(xhr().says("o\n"));
    let opened_jsonp = || Ask(jsonp().says("/**/x(\"o\");\r\n"));
    vec![
        (
            "BaseUrlGreeting.test_greeting",
            ["GET /echo", "GET /echo/"]
                .map(|line| {
                    let greeting = ask(line, 200)
                        .has("content-type", PLAIN)
                        .lacks(&["set-cookie"]);
                    Ask(greeting.says("Welcome to SockJS!\n"))
                })
                .into(),
        ),
        (
            "BaseUrlGreeting.test_notFound",
            [
                "GET /echo/a",
                "GET /echo/a.html",
                "GET /echo//",
                "GET /echo///",
                "GET /echo/a/a",
                "GET /echo/a/a/",
                "GET /echo/a/",
            ]
            .map(|line| Ask(ask(line, 404)))
            .into(),
        ),
        (
            "IframePage.test_simpleUrl",
            vec![iframe("GET /echo/iframe.html")],
        ),
        (
            "IframePage.test_versionedUrl",
            [
                "GET /echo/iframe-a.html",
                "GET /echo/iframe-.html",
                "GET /echo/iframe-0.1.2.html",
                "GET /echo/iframe-0.1.2abc-dirty.2144.html",
            ]
            .map(iframe)
            .into(),
        ),
        (
            "IframePage.test_queriedUrl",
            [
                "GET /echo/iframe-a.html?t=1234",
                "GET /echo/iframe-0.1.2.html?t=123414",
                "GET /echo/iframe-0.1.2abc-dirty.2144.html?t=qweqweq123",
            ]
            .map(iframe)
            .into(),
        ),
        (
            "IframePage.test_invalidUrl",
            [
                "GET /echo/iframe.htm",
                "GET /echo/iframe",
                "GET /echo/IFRAME.HTML",
                "GET /echo/IFRAME",
                "GET /echo/iframe.HTML",
                "GET /echo/iframe.xml",
                "GET /echo/iframe-/.html",
            ]
            .map(|line| Ask(ask(line, 404)))
            .into(),
        ),
        (
            "IframePage.test_cacheability",
            vec![Check(iframe_is_known_by_its_tag)],
        ),
        (
            "InfoTest.test_basic",
            vec![Ask(ask("GET /echo/info", 200)
                .header("Origin", "test")
                .has("content-type", "application/json; charset=UTF-8")
                .has("cache-control", NO_STORE)
                .has("access-control-allow-origin", "test")
                .has("access-control-allow-credentials", "true")
                .lacks(&["set-cookie", "expires", "last-modified"])
                .names(
                    r#"{"websocket":true,"origins":["*:*"],"cookie_needed":false,"#,
                ))],
        ),
        (
            "InfoTest.test_entropy",
            vec![Check(entropy_is_fresh_and_of_32_bits)],
        ),
        (
            "InfoTest.test_options",
            preflights("OPTIONS /echo/info", "OPTIONS, GET"),
        ),
        (
            "InfoTest.test_options_null_origin",
            vec![Ask(ask("OPTIONS /echo/info", 204)
                .header("Origin", "null")
                .header("Access-Control-Request-Method", "POST")
                .has("access-control-allow-origin", "null")
                .says(""))],
        ),
        (
            "InfoTest.test_disabled_websocket",
            vec![Ask(
                ask("GET /disabled_websocket_echo/info", 200).names(r#"{"websocket":false,"#)
            )],
        ),
        (
            "SessionURLs.test_anyValue",
            [
                "POST /echo/a/aSESSION/xhr",
                "POST /echo/_/_SESSION/xhr",
                "POST /echo/1/SESSION/xhr",
                "POST /echo/abcdefgh_i-j%20/abcdefg_i-j%20SESSION/xhr",
            ]
            .map(|line| Ask(poll(line).says("o\n")))
            .into(),
        ),
        (
            "SessionURLs.test_invalidPaths",
            [
                "GET /echo///xhr",
                "POST /echo///xhr",
                "GET /echo/a./a/xhr",
                "POST /echo/a./a/xhr",
                "GET /echo/a/a./xhr",
                "POST /echo/a/a./xhr",
                "GET /echo/./././xhr",
                "POST /echo/./././xhr",
                "GET /echo//xhr",
                "POST /echo//xhr",
                "GET /echo////xhr",
                "POST /echo////xhr",
            ]
            .map(|line| Ask(ask(line, 404)))
            .into(),
        ),
        (
            "SessionURLs.test_ignoringServerId",
            vec![
                opened(),
                Ask(post().body(r#"["a"]"#)),
                Ask(poll("POST /echo/999/SESSION/xhr").says("a[\"a\"]\n")),
            ],
        ),
        (
            "Protocol.test_simpleSession",
            vec![
                opened(),
                Ask(post().body(r#"["a"]"#)),
                Ask(xhr().says("a[\"a\"]\n")),
                Ask(ask("POST /echo/000/badSESSION/xhr_send", 404).body(r#"["a"]"#)),
                Check(second_poll_is_sent_away),
            ],
        ),
        (
            "Protocol.test_closeSession",
            ["o\n", "c[3000,\"Go away!\"]\n", "c[3000,\"Go away!\"]\n"]
                .map(|frame| Ask(poll("POST /close/000/SESSION/xhr").says(frame)))
                .into(),
        ),
        (
            "WebsocketHttpErrors.test_httpMethod",
            vec![Ask(ask("GET /echo/0/0/websocket", 400))],
        ),
        (
            "WebsocketHttpErrors.test_invalidConnectionHeader",
            vec![Ask(ask("GET /echo/0/0/websocket", 400)
                .header("Upgrade", "WebSocket")
                .header("Connection", "close")
                .says("Not a valid websocket request"))],
        ),
        (
            "WebsocketHttpErrors.test_invalidMethod",
            vec![
                Ask(ask("POST /echo/0/0/websocket", 405)
                    .header("Upgrade", "WebSocket")
                    .header("Connection", "Upgrade")
                    .has("allow", "GET")
                    .lacks(&["content-type"])
                    .says("")),
                Ask(ask("POST /echo/0/0/websocket", 405)
                    .has("allow", "GET")
                    .lacks(&["content-type"])
                    .says("")),
            ],
        ),
        (
            "Websocket.test_transport",
            vec![
                Socket("/echo/000/SESSION/websocket"),
                Hear("o"),
                Say(r#"["a"]"#),
                Hear(r#"a["a"]"#),
            ],
        ),
        (
            "Websocket.test_close",
            vec![
                Socket("/close/000/SESSION/websocket"),
                Hear("o"),
                Hear(r#"c[3000,"Go away!"]"#),
                Closed(3000, "Go away!"),
            ],
        ),
        (
            "Websocket.test_headersSanity",
            vec![Ask(ask("GET /echo/000/SESSION/websocket", 101)
                .header("Upgrade", "websocket")
                .header("Connection", "Upgrade")
                .header("Sec-WebSocket-Version", "13")
                .header("Sec-WebSocket-Origin", "http://asd")
                .header("Sec-WebSocket-Key", "x3JJHMbDL1EzLkh9GBhXDw==")
                .has("sec-websocket-accept", "HSmrc0sMlYUkAGmm5OPpG2HaGWk=")
                .has("connection", "Upgrade")
                .has("upgrade", "websocket")
                .lacks(&["content-length"]))],
        ),
        (
            "Websocket.test_empty_frame",
            vec![
                Socket("/echo/000/SESSION/websocket"),
                Hear("o"),
                Say(""),
                Say("[]"),
                Say(r#"["a"]"#),
                Hear(r#"a["a"]"#),
            ],
        ),
        (
            "Websocket.test_reuseSessionId",
            vec![
                Socket("/echo/000/SESSION/websocket"),
                Hear("o"),
                Say(r#"["a"]"#),
                Hear(r#"a["a"]"#),
                // The first is still there, though not spoken to.
                Socket("/echo/000/SESSION/websocket"),
                Hear("o"),
                Say(r#"["b"]"#),
                Hear(r#"a["b"]"#),
                Check(name_can_be_used_again),
            ],
        ),
        (
            "Websocket.test_broken_json",
            vec![
                Socket("/echo/000/SESSION/websocket"),
                Hear("o"),
                Say("[\"a"),
                Closed(3000, "Broken framing."),
            ],
        ),
        (
            "XhrPolling.test_options",
            [
                preflights("OPTIONS /echo/abc/abc/xhr", "OPTIONS, POST"),
                preflights("OPTIONS /echo/abc/abc/xhr_send", "OPTIONS, POST"),
            ]
            .into_iter()
            .flatten()
            .collect(),
        ),
        (
            "XhrPolling.test_transport",
            vec![
                Ask(xhr()
                    .header("Origin", "test")
                    .has("content-type", JAVASCRIPT)
                    .has("access-control-allow-origin", "test")
                    .has("access-control-allow-credentials", "true")
                    .has("cache-control", NO_STORE)
                    .says("o\n")),
                Ask(post()
                    .header("Origin", "test")
                    .body(r#"["x"]"#)
                    .has("content-type", PLAIN)
                    .has("access-control-allow-origin", "test")
                    .has("access-control-allow-credentials", "true")
                    .has("cache-control", NO_STORE)
                    .lacks(&["expires", "last-modified"])),
                Ask(xhr().says("a[\"x\"]\n")),
            ],
        ),
        (
            "XhrPolling.test_invalid_session",
            vec![Ask(
                ask("POST /echo/000/SESSION/xhr_send", 404).body(r#"["x"]"#)
            )],
        ),
        (
            "XhrPolling.test_invalid_json",
            vec![
                opened(),
                Ask(ask("POST /echo/000/SESSION/xhr_send", 500)
                    .body("[\"x")
                    .says("Broken JSON encoding.")),
                Ask(ask("POST /echo/000/SESSION/xhr_send", 500).says("Payload expected.")),
                Ask(post().body(r#"["a"]"#)),
                Ask(xhr().says("a[\"a\"]\n")),
            ],
        ),
        (
            "XhrPolling.test_content_types",
            vec![opened(), Check(any_content_type_will_do)],
        ),
        (
            "XhrPolling.test_request_headers_cors",
            vec![
                Ask(ask("OPTIONS /echo/000/SESSION/xhr", 204)
                    .header("Origin", "test")
                    .header("Access-Control-Request-Method", "POST")
                    .header("Access-Control-Request-Headers", "a, b, c")
                    .has("access-control-allow-origin", "test")
                    .has("access-control-allow-headers", "a, b, c")),
                Ask(ask("OPTIONS /echo/000/SESSION/xhr", 204)
                    .header("Origin", "test")
                    .header("Access-Control-Request-Method", "POST")
                    .header("Access-Control-Request-Headers", "")
                    .has("access-control-allow-origin", "test")
                    .lacks(&["access-control-allow-headers"])),
                Ask(ask("OPTIONS /echo/000/SESSION/xhr", 204)
                    .header("Origin", "test")
                    .header("Access-Control-Request-Method", "POST")
                    .has("access-control-allow-origin", "test")
                    .lacks(&["access-control-allow-headers"])),
            ],
        ),
        (
            "XhrPolling.test_sending_empty_frame",
            vec![
                opened(),
                Ask(post().body("[]")),
                Ask(post().body(r#"["a"]"#)),
                Ask(xhr().says("a[\"a\"]\n")),
            ],
        ),
        (
            "XhrStreaming.test_options",
            preflights("OPTIONS /echo/abc/abc/xhr_streaming", "OPTIONS, POST"),
        ),
        (
            "XhrStreaming.test_transport",
            vec![
                Stream(
                    poll("POST /echo/000/SESSION/xhr_streaming")
                        .header("Origin", "test")
                        .has("content-type", JAVASCRIPT)
                        .has("access-control-allow-origin", "test")
                        .has("access-control-allow-credentials", "true")
                        .has("cache-control", NO_STORE),
                ),
                Piece("PRELUDE\n"),
                Piece("o\n"),
                Ask(post().body(r#"["x"]"#)),
                Piece("a[\"x\"]\n"),
            ],
        ),
        (
            "XhrStreaming.test_response_limit",
            vec![Check(stream_ends_after_many_frames)],
        ),
        (
            "EventSource.test_transport",
            vec![
                Stream(
                    poll("GET /echo/000/SESSION/eventsource")
                        .has("content-type", "text/event-stream")
                        .has("cache-control", NO_STORE),
                ),
                Piece("\r\n"),
                Piece("data: o\r\n\r\n"),
                Ask(post().body(r#"["x"]"#)),
                Piece("data: a[\"x\"]\r\n\r\n"),
                Ask(post().body(r#"["  \u0000\n\r "]"#)),
                Piece("data: a[\"  \\u0000\\n\\r \"]\r\n\r\n"),
            ],
        ),
        (
            "EventSource.test_response_limit",
            limited(
                poll("GET /echo/000/SESSION/eventsource"),
                ["\r\n", "data: o\r\n\r\n"],
                "data: a[\"LARGE\"]\r\n\r\n",
            ),
        ),
        (
            "HtmlFile.test_transport",
            vec![Check(htmlfile_begins_with_its_page)],
        ),
        (
            "HtmlFile.test_no_callback",
            vec![Ask(
                ask("GET /echo/a/a/htmlfile", 500).says("\"callback\" parameter required")
            )],
        ),
        (
            "HtmlFile.test_invalid_callback",
            [
                "GET /echo/a/a/htmlfile?c=%20",
                "GET /echo/a/a/htmlfile?c=*",
                "GET /echo/a/a/htmlfile?c=abc(",
                "GET /echo/a/a/htmlfile?c=abc%28",
            ]
            .map(|line| Ask(ask(line, 500).says("invalid \"callback\" parameter")))
            .into(),
        ),
        (
            "HtmlFile.test_response_limit",
            vec![Check(htmlfile_ends_after_much)],
        ),
        (
            "JsonPolling.test_transport",
            vec![
                Ask(poll("GET /echo/000/SESSION/jsonp?c=%63allback")
                    .has("content-type", JAVASCRIPT)
                    .has("cache-control", NO_STORE)
                    .says("/**/callback(\"o\");\r\n")),
                Ask(jsonp_send(200)
                    .body("d=%5B%22x%22%5D")
                    .has("content-type", PLAIN)
                    .has("cache-control", NO_STORE)
                    .lacks(&["expires", "last-modified"])
                    .says("ok")),
                Ask(poll("GET /echo/000/SESSION/jsonp?c=%63allback")
                    .says("/**/callback(\"a[\\\"x\\\"]\");\r\n")),
            ],
        ),
        (
            "JsonPolling.test_no_callback",
            vec![Ask(
                ask("GET /echo/a/a/jsonp", 500).says("\"callback\" parameter required")
            )],
        ),
        (
            "JsonPolling.test_invalid_callback",
            [
                "GET /echo/a/a/jsonp?c=%20",
                "GET /echo/a/a/jsonp?c=*",
                "GET /echo/a/a/jsonp?c=abc(",
                "GET /echo/a/a/jsonp?c=abc%28",
            ]
            .map(|line| Ask(ask(line, 500).says("invalid \"callback\" parameter")))
            .into(),
        ),
        (
            "JsonPolling.test_invalid_json",
            vec![
                opened_jsonp(),
                Ask(jsonp_send(500)
                    .body("d=%5B%22x")
                    .says("Broken JSON encoding.")),
                Ask(jsonp_send(500).body("").says("Payload expected.")),
                Ask(jsonp_send(500).body("d=").says("Payload expected.")),
                Ask(jsonp_send(500).body("p=p").says("Payload expected.")),
                Ask(jsonp_send(200).body("d=%5B%22b%22%5D").says("ok")),
                Ask(jsonp().says("/**/x(\"a[\\\"b\\\"]\");\r\n")),
            ],
        ),
        (
            "JsonPolling.test_content_types",
            vec![
                opened_jsonp(),
                Ask(jsonp_send(200).body("d=%5B%22abc%22%5D").says("ok")),
                Ask(jsonp().says("/**/x(\"a[\\\"abc\\\"]\");\r\n")),
                Ask(ask("POST /echo/000/SESSION/jsonp_send", 200)
                    .header("Content-Type", "text/plain")
                    .body(r#"["%61bc"]"#)
                    .says("ok")),
                Ask(jsonp().says("/**/x(\"a[\\\"%61bc\\\"]\");\r\n")),
            ],
        ),
        (
            "JsonPolling.test_close",
            [
                "/**/x(\"o\");\r\n",
                "/**/x(\"c[3000,\\\"Go away!\\\"]\");\r\n",
                "/**/x(\"c[3000,\\\"Go away!\\\"]\");\r\n",
            ]
            .map(|frame| Ask(poll("GET /close/000/SESSION/jsonp?c=x").says(frame)))
            .into(),
        ),
        (
            "JsonPolling.test_sending_empty_frame",
            vec![
                opened_jsonp(),
                Ask(jsonp_send(200).body("d=%5B%5D").says("ok")),
                Ask(jsonp_send(200).body("d=%5B%22x%22%5D").says("ok")),
                Ask(jsonp().says("/**/x(\"a[\\\"x\\\"]\");\r\n")),
            ],
        ),
        (
            "JsessionidCookie.test_basic",
            vec![Ask(ask("GET /cookie_needed_echo/info", 200)
                .lacks(&["set-cookie"])
                .names(r#""cookie_needed":true"#))],
        ),
        (
            "JsessionidCookie.test_xhr",
            vec![
                Ask(poll("POST /cookie_needed_echo/000/SESSION/xhr")
                    .has("set-cookie", COOKIE)
                    .says("o\n")),
                Ask(poll("POST /cookie_needed_echo/000/ownSESSION/xhr")
                    .header("Cookie", "a=b; JSESSIONID=abcdef; c=d")
                    .has("set-cookie", "JSESSIONID=abcdef; path=/")
                    .says("o\n")),
            ],
        ),
        (
            "JsessionidCookie.test_xhr_streaming",
            vec![Stream(
                poll("POST /cookie_needed_echo/000/SESSION/xhr_streaming")
                    .has("set-cookie", COOKIE),
            )],
        ),
        (
            "JsessionidCookie.test_eventsource",
            vec![Stream(
                poll("GET /cookie_needed_echo/000/SESSION/eventsource").has("set-cookie", COOKIE),
            )],
        ),
        (
            "JsessionidCookie.test_htmlfile",
            vec![Stream(
                poll("GET /cookie_needed_echo/000/SESSION/htmlfile?c=%63allback")
                    .has("set-cookie", COOKIE),
            )],
        ),
        (
            "JsessionidCookie.test_jsonp",
            vec![
                Ask(
                    poll("GET /cookie_needed_echo/000/SESSION/jsonp?c=%63allback")
                        .has("set-cookie", COOKIE)
                        .says("/**/callback(\"o\");\r\n"),
                ),
                Ask(ask("POST /cookie_needed_echo/000/SESSION/jsonp_send", 200)
                    .header("Content-Type", FORM)
                    .body("d=%5B%22x%22%5D")
                    .has("set-cookie", COOKIE)
                    .says("ok")),
            ],
        ),
        (
            "RawWebsocket.test_transport",
            vec![
                Socket("/echo/websocket"),
                Say("Hello world!\u{ffff}"),
                Hear("Hello world!\u{ffff}"),
            ],
        ),
        (
            "RawWebsocket.test_close",
            vec![Socket("/close/websocket"), Closed(3000, "Go away!")],
        ),
        (
            "JSONEncoding.test_xhr_server_encodes",
            vec![opened(), Check(what_browsers_mangle_is_escaped)],
        ),
        (
            "JSONEncoding.test_xhr_server_decodes",
            vec![opened(), Check(what_clients_escape_is_understood)],
        ),
        (
            "HandlingClose.test_close_frame",
            vec![
                Stream(poll("POST /close/000/SESSION/xhr_streaming")),
                Piece("PRELUDE\n"),
                Piece("o\n"),
                Piece("c[3000,\"Go away!\"]\n"),
                End,
                Stream(poll("POST /close/000/SESSION/xhr_streaming")),
                Piece("PRELUDE\n"),
                Piece("c[3000,\"Go away!\"]\n"),
                End,
            ],
        ),
        (
            "HandlingClose.test_close_request",
            vec![
                Stream(poll("POST /echo/000/SESSION/xhr_streaming")),
                Piece("PRELUDE\n"),
                Piece("o\n"),
                Stream(poll("POST /echo/000/SESSION/xhr_streaming")),
                Piece("PRELUDE\n"),
                Piece("c[2010,\"Another connection still open\"]\n"),
                End,
            ],
        ),
        (
            "HandlingClose.test_abort_xhr_streaming",
            vec![Check(a_stream_that_is_cut_ends_its_session)],
        ),
        (
            "HandlingClose.test_abort_xhr_polling",
            vec![opened(), Check(second_poll_is_sent_away)],
        ),
        ("Http10.test_synchronous", vec![Check(http_1_0_by_length)]),
        ("Http10.test_streaming", vec![Check(http_1_0_until_it_ends)]),
        ("Http11.test_synchronous", vec![Check(http_1_1_by_length)]),
        (
            "Http11.test_streaming",
            vec![
                Stream(
                    poll("POST /close/000/SESSION/xhr_streaming")
                        .header("Connection", "Keep-Alive")
                        .has("transfer-encoding", "chunked")
                        .lacks(&["content-length"]),
                ),
                Piece("PRELUDE\n"),
                Piece("o\n"),
                Piece("c[3000,\"Go away!\"]\n"),
                End,
            ],
        ),
    ]
}

fn iframe_is_known_by_its_tag(host: &str, _: &str) {
    let mut http = Http::connect(host);
    let mut tags = [(); 2].map(|()| {
        let answer = http.ask("GET /echo/iframe.html", &[], "");
        let tag = answer.header("etag").map(str::to_owned);
        assert!(answer.header("expires").is_some());
        let page = answer.text();
        assert!(
            page.starts_with("<!DOCTYPE html>\n<html>\n<head>\n"),
            "{page}"
        );
        tag.expect("a tag")
    });
    assert_eq!(tags[0], tags[1]);
    let tag = std::mem::take(&mut tags[0]);
    let known = http.ask("GET /echo/iframe.html", &[("If-None-Match", &tag)], "");
    assert_eq!((known.status, known.header("content-type")), (304, None));
    assert_eq!(known.header("etag"), Some(tag.as_str()));
}

fn entropy_is_fresh_and_of_32_bits(host: &str, _: &str) {
    let mut http = Http::connect(host);
    let entropy = [(); 2].map(|()| {
        let info: serde_json::Value =
            serde_json::from_str(&http.body("GET /echo/info", "")).expect("JSON");
        let entropy = info["entropy"].as_u64().expect("a number");
        u32::try_from(entropy).expect("of 32 bits")
    });
    assert_ne!(entropy[0], entropy[1]);
}

/// While one request waits another hears so; once it is cut the session is gone.
fn second_poll_is_sent_away(host: &str, session: &str) {
    let poll = format!("POST /echo/000/{session}/xhr");
    let mut first = Http::connect(host);
    let waiting = first.ask(&poll, &[], "");
    let mut second = Http::connect(host);
    eventually("the first waits", || {
        second.body(&poll, "") == "c[2010,\"Another connection still open\"]\n"
    });
    drop(waiting);
    drop(first);
    eventually("it is gone", || {
        let frame = second.body(&poll, "");
        ["o\n", "c[1002,\"Connection interrupted\"]\n"].contains(&frame.as_str())
    });
}

fn name_can_be_used_again(host: &str, session: &str) {
    let again = [
        Socket("/echo/000/SESSION/websocket"),
        Hear("o"),
        Say(r#"["a"]"#),
        Hear(r#"a["a"]"#),
    ];
    run(&again, host, session);
}

fn any_content_type_will_do(host: &str, session: &str) {
    let types = [
        "text/plain",
        "T",
        "application/json",
        "application/xml",
        "",
        "application/json; charset=utf-8",
        "text/xml; charset=utf-8",
        "text/xml",
    ];
    let mut http = Http::connect(host);
    let send = format!("POST /echo/000/{session}/xhr_send");
    for content_type in types {
        let answer = http.ask(&send, &[("Content-Type", content_type)], "[\"a\"]");
        assert_eq!(answer.status, 204, "{content_type}");
    }
    // The service answers at its own pace.
    let mut got = Vec::new();
    while got.len() < types.len() {
        got.extend(messages(
            &http.body(&format!("POST /echo/000/{session}/xhr"), ""),
        ));
    }
    assert_eq!(got, ["a"; 8]);
}

/// The messages of a frame.
fn messages(frame: &str) -> Vec<String> {
    let messages = frame.strip_prefix('a').expect("messages").trim_end();
    serde_json::from_str(messages).expect("strings")
}

fn stream_ends_after_many_frames(host: &str, session: &str) {
    let mut http = Http::connect(host);
    let path = format!("/echo/000/{session}");
    let mut stream = http.ask(&format!("POST {path}/xhr_streaming"), &[], "");
    expect_piece(&mut stream, &format!("{}\n", "h".repeat(2048)));
    expect_piece(&mut stream, "o\n");
    let message = format!("[\"{}\"]", "x".repeat(128));
    for _ in 0..31 {
        send(host, &path, &message);
        expect_piece(&mut stream, &format!("a{message}\n"));
    }
    assert_eq!(stream.piece(), None);
}

/// Opens a stream of script elements, whose first is for the frame that opens the session.
fn htmlfile<'a>(http: &'a mut Http, session: &str) -> Answer<'a> {
    let line = format!("GET /echo/000/{session}/htmlfile?c=%63allback");
    let mut page = http.ask(&line, &[], "");
    assert_eq!(
        (page.status, page.header("content-type")),
        (200, Some(HTML))
    );
    assert_eq!(page.header("cache-control"), Some(NO_STORE));
    let head = page.piece().expect("the head");
    assert!(head.contains("    var c = parent.callback;\n"), "{head}");
    assert!(head.len() > 1024 && head.starts_with("<!doctype html>\n"));
    expect_piece(&mut page, "<script>\np(\"o\");\n</script>\r\n");
    page
}

fn htmlfile_begins_with_its_page(host: &str, session: &str) {
    let mut http = Http::connect(host);
    let mut page = htmlfile(&mut http, session);
    send(host, &format!("/echo/000/{session}"), "[\"x\"]");
    expect_piece(&mut page, "<script>\np(\"a[\\\"x\\\"]\");\n</script>\r\n");
}

fn htmlfile_ends_after_much(host: &str, session: &str) {
    let mut http = Http::connect(host);
    let mut page = htmlfile(&mut http, session);
    let large = "x".repeat(4096);
    send(
        host,
        &format!("/echo/000/{session}"),
        &format!("[\"{large}\"]"),
    );
    let script = format!("<script>\np(\"a[\\\"{large}\\\"]\");\n</script>\r\n");
    expect_piece(&mut page, &script);
    assert_eq!(page.piece(), None);
}

fn what_browsers_mangle_is_escaped(host: &str, session: &str) {
    let ranges = [
        0x200c..=0x200f,
        0x2028..=0x202f,
        0x2060..=0x206f,
        0xfff0..=0xffff,
    ];
    let points: Vec<u32> = ranges.into_iter().flatten().collect();
    let text: String = points.iter().filter_map(|it| char::from_u32(*it)).collect();
    let escaped: String = points.iter().map(|it| format!("\\u{it:04x}")).collect();
    send(
        host,
        &format!("/echo/000/{session}"),
        &format!("[\"{text}\"]"),
    );
    let frame = Http::connect(host).body(&format!("POST /echo/000/{session}/xhr"), "");
    assert_eq!(frame, format!("a[\"{escaped}\"]\n"));
}

/// Clients escape more than they need to; here all that is no surrogate.
fn what_clients_escape_is_understood(host: &str, session: &str) {
    let points = (0..=0xffff_u32).filter(|point| char::from_u32(*point).is_some());
    let points: Vec<u32> = points.collect();
    let escaped: String = points.iter().map(|it| format!("\\u{it:04x}")).collect();
    send(
        host,
        &format!("/echo/000/{session}"),
        &format!("[\"{escaped}\"]"),
    );
    let frame = Http::connect(host).body(&format!("POST /echo/000/{session}/xhr"), "");
    let expected: String = points.iter().filter_map(|it| char::from_u32(*it)).collect();
    assert!(messages(&frame) == [expected]);
}

fn a_stream_that_is_cut_ends_its_session(host: &str, session: &str) {
    let line = format!("POST /echo/000/{session}/xhr_streaming");
    let mut first = Http::connect(host);
    let mut stream = first.ask(&line, &[], "");
    stream.piece().expect("the prelude");
    expect_piece(&mut stream, "o\n");
    let ask = || {
        let mut http = Http::connect(host);
        let mut answer = http.ask(&line, &[], "");
        answer.piece().expect("the prelude");
        answer.piece().expect("a frame")
    };
    assert_eq!(ask(), "c[2010,\"Another connection still open\"]\n");
    drop(stream);
    drop(first);
    eventually("a new session", || {
        ["o\n", "c[1002,\"Connection interrupted\"]\n"].contains(&ask().as_str())
    });
}

fn http_1_0_by_length(host: &str, _: &str) {
    let mut http = Http::connect(host);
    for _ in 0..2 {
        http.send("GET /echo HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
        let answer = http.answer();
        assert_eq!(
            (answer.status, answer.header("transfer-encoding")),
            (200, None)
        );
        assert_eq!(answer.header("content-length"), Some("19"));
        assert_eq!(answer.header("connection"), Some("keep-alive"));
        assert_eq!(answer.text(), "Welcome to SockJS!\n");
    }
}

fn http_1_0_until_it_ends(host: &str, session: &str) {
    let mut socket = TcpStream::connect(host).expect("listens");
    socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let request = format!(
        "POST /close/000/{session}/xhr_streaming HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).expect("writes");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an end");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let head = head.to_lowercase();
    assert!(head.starts_with("http/1.0 200 ") || head.starts_with("http/1.1 200 "));
    assert!(!head.contains("transfer-encoding") && !head.contains("content-length"));
    let frames = format!("{}\no\nc[3000,\"Go away!\"]\n", "h".repeat(2048));
    assert_eq!(body, frames);
}

fn http_1_1_by_length(host: &str, _: &str) {
    let mut http = Http::connect(host);
    for _ in 0..2 {
        let answer = http.ask("GET /echo", &[("Connection", "Keep-Alive")], "");
        assert_eq!(
            (answer.status, answer.header("transfer-encoding")),
            (200, None)
        );
        assert_eq!(answer.header("content-length"), Some("19"));
        assert_ne!(answer.header("connection"), Some("close"));
        assert_eq!(answer.text(), "Welcome to SockJS!\n");
    }
}
