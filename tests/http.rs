//! The edge: handshakes, paths, frames, and what a session is before anybody subscribes.

#![allow(
    clippy::disallowed_methods,
    reason = "tests measure how long the server waits"
)]

use std::convert::Infallible;
use std::fs::File;
use std::future::{Ready, ready};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Frame;
use hyper::header::HeaderValue;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tungstenite::Message as Sent;
use updraft::prelude::*;
use updraft::{ErrorKind, Handle, HealthChecks, RequestBody, Settings};
use updraft_test_support::client::{CONNECT, Client, PATIENCE};
use updraft_test_support::eventually;
use updraft_test_support::http::Http;
use updraft_test_support::transport::session_path;
use warp::Filter;

async fn serve(builder: updraft::Builder) -> (SocketAddr, Handle) {
    // No session outlives its connection here.
    let builder = builder.configure(|settings| settings.sessions.resumption.grace = Duration::ZERO);
    let bound = builder.bind("127.0.0.1:0").await.expect("a free port");
    let (address, handle) = (bound.local_addr(), bound.handle());
    let serving = async move {
        bound
            .serve_until(std::future::pending())
            .await
            .expect("serves")
    };
    let runtime = tokio::runtime::Handle::current();
    runtime.spawn(serving);
    (address, handle)
}

fn url(address: SocketAddr) -> String {
    format!("ws://{address}/websocket")
}

/// Sends a request as it stands; the answer up to the end of its head, or of the connection.
fn ask(address: SocketAddr, request: &str) -> String {
    let mut socket = TcpStream::connect(address).expect("listens");
    socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
    socket.write_all(request.as_bytes()).expect("writes");
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
        match socket.read(&mut buffer) {
            Ok(count) if count > 0 => answer.extend_from_slice(&buffer[..count]),
            _ => break,
        }
    }
    String::from_utf8_lossy(&answer).to_lowercase()
}

fn handshake(path: &str, changed: &str, value: &str) -> String {
    let mut request = format!("GET {path} HTTP/1.1\r\n");
    for (name, usual) in [
        ("Host", "127.0.0.1"),
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Extensions", "permessage-deflate"),
    ] {
        let value = if name == changed { value } else { usual };
        if !value.is_empty() {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    request + "\r\n"
}

#[tokio::test(flavor = "multi_thread")]
async fn ddp_217_219_row_018_row_020_the_handshake() {
    let (address, _handle) = serve(Server::builder()).await;
    let good = ask(address, &handshake("/websocket", "", ""));
    assert!(good.starts_with("http/1.1 101 "), "{good}");
    assert!(
        good.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="),
        "{good}"
    );
    assert!(
        !good.contains("extensions"),
        "compression is declined: {good}"
    );
    for path in [
        "/websocket/",
        "/websocket/?x=1",
        "/app/websocket",
        "/websocket/websocket",
        "/sockjs/websocket",
        "/sockjs/000/abcdefgh/websocket",
    ] {
        let answer = ask(address, &handshake(path, "", ""));
        assert!(answer.starts_with("http/1.1 101 "), "{path}: {answer}");
    }
    for path in ["/", "/sockjs/000/abc.efgh/websocket", "/websocketx"] {
        let answer = ask(address, &handshake(path, "", ""));
        assert!(answer.starts_with("http/1.1 404 "), "{path}: {answer}");
    }
    for (header, value) in [
        ("Sec-WebSocket-Key", ""),
        ("Sec-WebSocket-Key", "c2hvcnQ="),
        ("Connection", "keep-alive"),
        ("Upgrade", ""),
    ] {
        let answer = ask(address, &handshake("/websocket", header, value));
        assert!(
            answer.starts_with("http/1.1 400 "),
            "{header}: {value}: {answer}"
        );
    }
    let old = ask(
        address,
        &handshake("/websocket", "Sec-WebSocket-Version", "7"),
    );
    assert!(
        old.starts_with("http/1.1 426 ") && old.contains("version: 13"),
        "{old}"
    );
    let plain = ask(address, "GET /websocket HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(plain.starts_with("http/1.1 400 "), "{plain}");
    let post = ask(
        address,
        "POST /websocket HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    );
    assert!(
        post.starts_with("http/1.1 405 ") && post.contains("allow: get"),
        "{post}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_stands_beside_ddp() {
    let route = warp::path!("hello").and(warp::get()).map(|| "hi");
    let stats = |handle: Handle| {
        let stats = warp::path!("connections").map(move || handle.stats().connections.to_string());
        warp::service(stats)
    };
    let builder = Server::builder()
        .route("/", warp::service(route))
        .route_with("/connections", stats);
    let (address, _handle) = serve(builder).await;
    let answer = ask(
        address,
        "GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    );
    assert!(answer.starts_with("http/1.1 200 "), "{answer}");
    let answer = ask(
        address,
        "GET /connections HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    );
    assert!(answer.starts_with("http/1.1 200 "), "{answer}");
    let answer = ask(
        address,
        "POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    );
    assert!(answer.starts_with("http/1.1 405 "), "{answer}");
    Client::ddp_connect(&url(address)).0.close();
}

/// A service as any other than warp's: it answers with what it was asked.
#[derive(Clone)]
struct Mirror(&'static str);

impl tower_service::Service<Request<RequestBody>> for Mirror {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let name = self.0;
        Box::pin(async move {
            let uri = request.uri().clone();
            let body = request.into_body().collect().await.expect("all of it");
            let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
            let text = format!("{name} {uri} {body}");
            Ok(Response::new(Full::new(Bytes::from(text))))
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn found_312_a_route_is_any_tower_service_and_the_longest_path_counts() {
    let nothing_at_the_root = Server::builder()
        .route("/api", Mirror("api"))
        .route("/api/v2", Mirror("v2"))
        .route("/hello", warp::service(warp::any().map(|| "warp")));
    let (address, _handle) = serve(nothing_at_the_root).await;
    let mut http = Http::connect(&address.to_string());
    let mut ask = |path: &str| {
        http.send(&format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi"
        ));
        let answer = http.answer();
        (answer.status, answer.text())
    };
    let found = |text: &str| (200, text.to_owned());
    assert_eq!(ask("/api"), found("api /api hi"));
    assert_eq!(ask("/api/v1?a=b"), found("api /api/v1?a=b hi"));
    assert_eq!(ask("/api/v2"), found("v2 /api/v2 hi"));
    assert_eq!(ask("/api/v2/x"), found("v2 /api/v2/x hi"));
    assert_eq!(ask("/hello/there"), found("warp"));
    assert_eq!(ask("/apis").0, 404);
    assert_eq!(ask("/").0, 404);

    let (address, _handle) = serve(Server::builder().route("/", Mirror("root"))).await;
    let mut http = Http::connect(&address.to_string());
    let answer = http.ask("GET /anything", &[], "").text();
    assert_eq!(answer, "root /anything ");
    Client::ddp_connect(&url(address)).0.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn found_312_a_route_streams_and_upgrades() {
    let (pieces, receiver) = tokio::sync::mpsc::channel::<&'static str>(1);
    let receiver = Arc::new(Mutex::new(Some(receiver)));
    let service = tower_fn(move |mut request: Request<RequestBody>| {
        let mut response = Response::new(BoxBody::default());
        if request.uri().path() == "/upgrade" {
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let mut socket = TokioIo::new(upgrade.await.expect("an upgrade"));
                let mut line = [0; 5];
                socket.read_exact(&mut line).await.expect("a line");
                socket.write_all(b"pong\n").await.expect("writes");
            });
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            let headers = response.headers_mut();
            headers.insert("connection", HeaderValue::from_static("upgrade"));
            headers.insert("upgrade", HeaderValue::from_static("line"));
        } else {
            let receiver = receiver.lock().unwrap().take().expect("asked once");
            *response.body_mut() = BoxBody::new(Pieces(receiver));
        }
        response
    });
    let (address, _handle) = serve(Server::builder().route("/", service)).await;
    let connect = |request: &str| {
        let mut socket = TcpStream::connect(address).expect("listens");
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
        socket.write_all(request.as_bytes()).expect("writes");
        socket
    };
    let mut got = String::new();
    let mut read_until = |socket: &mut TcpStream, end: &str| {
        let mut buffer = [0; 1024];
        got.clear();
        while !got.contains(end) {
            let count = socket.read(&mut buffer).expect("an answer");
            assert!(count > 0, "{got}");
            got += &String::from_utf8_lossy(&buffer[..count]);
        }
    };
    let mut socket = connect("GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n");
    for piece in ["one", "two"] {
        // The second is there only when the first was read.
        pieces.send(piece).await.expect("it is read");
        read_until(&mut socket, piece);
    }
    drop(pieces);
    read_until(&mut socket, "0\r\n\r\n");

    let mut socket = connect(
        "GET /upgrade HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: line\r\n\r\n",
    );
    read_until(&mut socket, "\r\n\r\n");
    socket.write_all(b"ping\n").expect("writes");
    read_until(&mut socket, "pong\n");
}

type BoxBody = http_body_util::combinators::BoxBody<Bytes, Infallible>;

/// A body of what comes through a channel.
struct Pieces(tokio::sync::mpsc::Receiver<&'static str>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = std::task::ready!(self.0.poll_recv(context));
        Poll::Ready(piece.map(|piece| Ok(Frame::data(Bytes::from(piece)))))
    }
}

/// A service that is a function.
fn tower_fn<F>(answer: F) -> Function<F>
where
    F: Fn(Request<RequestBody>) -> Response<BoxBody>,
{
    Function(answer)
}

#[derive(Clone)]
struct Function<F>(F);

impl<F> tower_service::Service<Request<RequestBody>> for Function<F>
where
    F: Fn(Request<RequestBody>) -> Response<BoxBody>,
{
    type Response = Response<BoxBody>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        ready(Ok((self.0)(request)))
    }
}

#[tokio::test]
async fn found_312_a_route_that_would_never_be_asked_is_an_error_of_bind() {
    let refused = |paths: &'static [&str]| async {
        let builder = Server::builder().health_checks(HealthChecks::new());
        let builder = paths
            .iter()
            .fold(builder, |builder, path| builder.route(path, Mirror("")));
        let bound = builder.bind("127.0.0.1:0").await;
        let error = bound.expect_err("a mistake");
        assert_eq!(error.kind(), ErrorKind::Configuration);
        error.to_string()
    };
    for (paths, expected) in [
        (&["api"][..], "the route \"api\" is not a path"),
        (&["/api/"], "the route \"/api/\" is not a path"),
        (&[""], "the route \"\" is not a path"),
        (&["/a", "/a"], "the route \"/a\" is defined twice"),
        (&["/sockjs"], "the route \"/sockjs\" is never asked"),
        (&["/healthz"], "the route \"/healthz\" is never asked"),
        (
            &["/x/websocket"],
            "the route \"/x/websocket\" is never asked",
        ),
    ] {
        let error = refused(paths).await;
        assert!(error.starts_with(expected), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ddp_001_003_session_ids_differ_and_are_meteors() {
    let (address, handle) = serve(Server::builder()).await;
    let (first, one) = Client::ddp_connect(&url(address));
    let (second, two) = Client::ddp_connect(&url(address));
    assert_ne!(one, two);
    assert!(updraft::is_meteor_id(&one) && updraft::is_meteor_id(&two));
    assert_eq!(
        (handle.stats().connections, handle.stats().sessions),
        (2, 2)
    );
    first.close();
    second.reset();
    eventually("both have left", || {
        handle.stats() == updraft::Stats::default()
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn ddp_087_a_universal_publication_starts_by_itself() {
    let universal = |subscription: Subscription| async move {
        subscription.added("uni", "u", ejson!({ "uid": subscription.user_id() }));
        Ok::<_, Error>(())
    };
    let failing = |_: Subscription| async { Err::<(), _>(Error::new("no", "reason")) };
    let server = Server::builder()
        .publish_universal(universal)
        .publish_universal(failing);
    let (address, handle) = serve(server).await;
    let (mut client, _) = Client::ddp_connect(&url(address));
    client.expect_text(r#"{"msg":"added","collection":"uni","id":"u","fields":{"uid":null}}"#);
    client.expect_silence(100);
    client.close();
    eventually("nothing is left", || {
        handle.stats() == updraft::Stats::default()
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn ddp_218_row_028_binary_frames_count_as_text() {
    let (address, _handle) = serve(Server::builder()).await;
    let mut client = Client::connect(&url(address));
    client
        .send(Sent::binary(CONNECT.as_bytes()))
        .expect("sends");
    assert!(
        client
            .expect_any_text()
            .starts_with(r#"{"msg":"connected""#)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn row_024_a_message_above_the_limit_closes_with_1009() {
    let (address, handle) = serve(Server::builder().configure(|settings| {
        settings.clients.first_message = 1000;
        settings.clients.message = 2000;
    }))
    .await;
    let mut client = Client::connect(&url(address));
    client.send_text(&format!(r#"{{"msg":"{}"}}"#, "x".repeat(1000)));
    client.expect_close(1009, "Message too big");

    let (mut client, _) = Client::ddp_connect(&url(address));
    client.send_text(&format!(
        r#"{{"msg":"ping","id":"x","pad":"{}"}}"#,
        "x".repeat(1500)
    ));
    client.expect_text(r#"{"msg":"pong","id":"x"}"#);
    client.send_text(&format!(r#"{{"msg":"ping","pad":"{}"}}"#, "x".repeat(2000)));
    client.expect_close(1009, "Message too big");
    eventually("both have left", || handle.stats().connections == 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn ddp_221_a_message_of_a_mebibyte_goes_both_ways() {
    let echo = |_: Call, text: String| async { Ok::<_, Error>(text) };
    // With its head it is more than the output limit; but a client that reads is not slow.
    let server = Server::builder().method("echo", echo);
    let (address, _handle) = serve(server).await;
    let (mut client, _) = Client::ddp_connect(&url(address));
    let text = "x".repeat(1 << 20);
    client.send_text(&format!(
        r#"{{"msg":"method","id":"1","method":"echo","params":["{text}"]}}"#
    ));
    client.expect_text(r#"{"msg":"updated","methods":["1"]}"#);
    client.expect_text(&format!(r#"{{"msg":"result","id":"1","result":"{text}"}}"#));
}

/// Whether the server has closed a connection, having said nothing.
fn is_cut(mut socket: &TcpStream) -> bool {
    socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let mut rest = Vec::new();
    socket.read_to_end(&mut rest).is_ok() && rest.is_empty()
}

#[tokio::test(flavor = "multi_thread")]
async fn row_001_headers_that_dribble_in_are_cut() {
    let limit = Duration::from_millis(300);
    let (address, _handle) =
        serve(Server::builder().configure(|settings| settings.http.header_timeout = limit)).await;
    let began = Instant::now();
    let mut socket = TcpStream::connect(address).expect("listens");
    for byte in b"GET /websocket HTTP/1.1\r\nHost: x" {
        // It may be over already.
        if socket.write_all(&[*byte]).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(is_cut(&socket));
    assert!(began.elapsed() >= limit);
    // As one who does not even begin, or has said all it has to say.
    assert!(is_cut(&TcpStream::connect(address).expect("listens")));
}

#[tokio::test(flavor = "multi_thread")]
async fn row_001_time_for_headers_begins_anew_with_each_request() {
    let limit = Duration::from_secs(2);
    let (address, _handle) =
        serve(Server::builder().configure(|settings| settings.http.header_timeout = limit)).await;
    let began = Instant::now();
    let mut http = Http::connect(&address.to_string());
    while began.elapsed() < limit + limit / 4 {
        assert_eq!(http.ask("GET /sockjs/info", &[], "").status, 200);
        std::thread::sleep(limit / 8);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_001_row_002_limits_that_would_let_nobody_in_are_refused() {
    for (headers, bytes, named) in [
        (0, 16 * 1024, "http.headers"),
        (usize::MAX, 16 * 1024, "http.headers"),
        (64, 1024, "http.header_bytes"),
    ] {
        let server = Server::builder().configure(|settings| {
            settings.http.headers = headers;
            settings.http.header_bytes = bytes;
        });
        let error = server.bind("127.0.0.1:0").await.expect_err("of no use");
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.to_string().starts_with(named), "{error}");
    }
    for timeout in [Duration::ZERO, Duration::MAX] {
        let (address, _handle) =
            serve(Server::builder().configure(|settings| settings.http.header_timeout = timeout))
                .await;
        let mut http = Http::connect(&address.to_string());
        assert_eq!(http.ask("GET /sockjs/info", &[], "").status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_002_too_many_or_too_long_headers_are_431() {
    let (address, _handle) = serve(Server::builder().configure(|settings| {
        settings.http.headers = 10;
        settings.http.header_bytes = 8192;
    }))
    .await;
    let asked = |count: usize, bytes: usize| {
        let headers: Vec<_> = (1..count)
            .map(|number| format!("X-{number}: {}\r\n", "x".repeat(bytes)))
            .collect();
        let request = format!(
            "GET /sockjs/info HTTP/1.1\r\nHost: localhost\r\n{}\r\n",
            headers.concat()
        );
        ask(address, &request)
    };
    for (count, bytes, expected) in [
        (10, 100, "200"),
        (11, 100, "431"),
        (2, 4000, "200"),
        (2, 9000, "431"),
    ] {
        let answer = asked(count, bytes);
        assert!(
            answer.starts_with(&format!("http/1.1 {expected} ")),
            "{count}, {bytes}: {answer}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn found_406_settings_are_given_whole_and_by_member() {
    let mut settings = Settings::default();
    settings.http.path_prefix = "/app".to_owned();
    settings.http.headers = 5;
    let builder = Server::builder()
        .settings(settings)
        .configure(|settings| settings.origins.allow_missing = false);
    let (address, _handle) = serve(builder).await;
    let status = |path: &str, headers: &[(&str, &str)]| {
        let mut http = Http::connect(&address.to_string());
        http.ask(&format!("GET {path}/info"), headers, "").status
    };
    let local = ("Origin", "http://localhost");
    assert_eq!(status("/app/sockjs", &[local]), 200);
    assert_eq!(status("/sockjs", &[local]), 404, "it is elsewhere");
    assert_eq!(status("/app/sockjs", &[]), 403, "no origin");
    let many = ["A", "B", "C", "D", "E"].map(|name| (name, "1"));
    assert_eq!(status("/app/sockjs", &many), 431);
}

#[tokio::test(flavor = "multi_thread")]
async fn found_112_load_balancers_are_answered_whatever_host_they_ask_for() {
    let builder = Server::builder().configure(|settings| settings.origins.allow_missing = false);
    let checks = HealthChecks::new().live("/live");
    let (address, _handle) = serve(
        builder
            .configure(|settings| settings.http.path_prefix = "/app".to_owned())
            .health_checks(checks),
    )
    .await;
    for (request, expected) in [
        ("GET /live HTTP/1.1\r\nHost: elsewhere.example", "200"),
        ("GET /readyz?x HTTP/1.1\r\nHost: a b", "200"),
        (
            "GET /readyz HTTP/1.1\r\nOrigin: https://evil.example",
            "200",
        ),
        ("OPTIONS /readyz HTTP/1.0", "200"),
        ("POST /readyz HTTP/1.1\r\nContent-Length: 0", "405"),
        ("GET /healthz HTTP/1.1\r\nHost: localhost", "404"),
    ] {
        let answer = ask(address, &format!("{request}\r\n\r\n"));
        let status = answer.split(' ').nth(1);
        assert_eq!(status, Some(expected), "{request}: {answer}");
    }
    let (address, _handle) = serve(Server::builder()).await;
    for path in ["/healthz", "/readyz"] {
        let answer = ask(
            address,
            &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        );
        assert!(answer.starts_with("http/1.1 404 "), "{answer}");
    }
    let mistaken = Server::builder().health_checks(HealthChecks::new().ready("readyz"));
    let error = mistaken.bind("127.0.0.1:0").await.expect_err("a mistake");
    assert_eq!(error.kind(), ErrorKind::Configuration);
}

#[tokio::test(flavor = "multi_thread")]
async fn found_206_a_handshake_has_no_body() {
    let (address, handle) = serve(Server::builder()).await;
    for path in ["/websocket", "/sockjs/websocket", "/sockjs/0/x/websocket"] {
        let request = handshake(path, "", "");
        let request = request.trim_end();
        for (body, expected) in [
            ("Content-Length: 5\r\n\r\nhello", "400"),
            ("Content-Length: 5\r\n\r\n", "400"),
            ("Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"),
            ("Content-Length: 0\r\n\r\n", "101"),
        ] {
            let answer = ask(address, &format!("{request}\r\n{body}"));
            let status = answer.split(' ').nth(1);
            assert_eq!(status, Some(expected), "{path}: {body:?}: {answer}");
        }
    }
    eventually("all have left", || handle.stats().connections == 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_004_found_210_bodies_whose_end_is_not_clear() {
    let (address, _handle) = serve(Server::builder().health_checks(HealthChecks::new())).await;
    let mut http = Http::connect(&address.to_string());
    let path = session_path();
    assert_eq!(http.body(&format!("POST {path}/xhr"), ""), "o\n");
    let chunks = "\r\n\r\n2\r\n[]\r\n0\r\n\r\n";
    for (framing, expected) in [
        ("Transfer-Encoding: chunked", 204),
        ("Transfer-Encoding: Chunked ", 204),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            400,
        ),
        ("Transfer-Encoding: chunked, chunked", 400),
        ("Transfer-Encoding: identity, chunked", 400),
        ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", 400),
        ("Transfer-Encoding: chunked, identity", 400),
        // Hyper goes by the chunks, and takes nothing that comes behind them for a request.
        ("Content-Length: 2\r\nTransfer-Encoding: chunked", 204),
        ("Transfer-Encoding: chunked\r\nContent-Length: 2", 204),
        ("Content-Length: 17\r\nContent-Length: 18", 400),
        ("Content-Length: 1152921504606846976", 413),
        ("Content-Length: 18446744073709551613", 413),
        // To hyper these are no lengths at all.
        ("Content-Length: 18446744073709551615", 431),
        ("Content-Length: 18446744073709551616", 400),
        ("Content-Length: -1", 400),
    ] {
        let mut http = Http::connect(&address.to_string());
        http.send(&format!(
            "POST {path}/xhr_send HTTP/1.1\r\nHost: localhost\r\n{framing}{chunks}"
        ));
        let answer = http.answer();
        assert_eq!(answer.status, expected, "{framing}");
        let is_clear = expected == 204 && !framing.contains("Length");
        let connection = (!is_clear).then_some("close");
        assert_eq!(answer.header("connection"), connection, "{framing}");
    }
    // Wherever it is sent.
    let request = "POST /healthz HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked";
    let answer = ask(address, &format!("{request}{chunks}"));
    assert!(answer.starts_with("http/1.1 400 "), "{answer}");
}

/// Set where a test runs as a process of its own, which may have few files open.
const FEW_FILES: &str = "UPDRAFT_TEST_FEW_FILES";

#[tokio::test(flavor = "multi_thread")]
async fn row_013_found_114_failed_accepts_are_counted_and_nobody_is_lost() {
    let name = "row_013_found_114_failed_accepts_are_counted_and_nobody_is_lost";
    if std::env::var_os(FEW_FILES).is_none() {
        let itself = std::env::current_exe().expect("a path");
        let ended = Command::new("sh")
            .args(["-c", "ulimit -n 400 && exec \"$0\" --exact \"$1\""])
            .args([itself.as_os_str(), name.as_ref()])
            .env(FEW_FILES, "1")
            .output()
            .expect("it runs");
        let output = String::from_utf8_lossy(&ended.stdout);
        return assert!(
            ended.status.success() && output.contains("1 passed"),
            "{output}"
        );
    }
    let (address, handle) = serve(Server::builder()).await;
    let mut spare = Some(File::open("/dev/null").expect("a file"));
    let mut crowd = Vec::new();
    // Both ends of each connection are in this process. The last file is for a client's end.
    while spare.is_some() {
        match TcpStream::connect(address) {
            Ok(socket) => crowd.push(socket),
            Err(_) => spare = None,
        }
    }
    crowd.extend(TcpStream::connect(address));
    eventually("it fails", || handle.stats().failed_accepts > 0);
    drop(crowd);
    Client::ddp_connect(&url(address)).0.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn found_106_a_connection_is_never_closed_unannounced_under_a_body() {
    let route = warp::path!("hello").and(warp::get()).map(|| "hi");
    let builder = Server::builder()
        .route("/", warp::service(route))
        .configure(|settings| {
            settings.addresses.unknown_sessions.requests = 10;
            settings.addresses.unknown_sessions.within = PATIENCE;
        });
    let (address, _handle) = serve(builder).await;
    let mut http = Http::connect(&address.to_string());
    for path in [
        "/sockjs/0/unknown/xhr_send",
        "/sockjs/0/0/websocket",
        "/hello",
        "/nowhere",
    ] {
        for _ in 0..20 {
            http.send(&format!(
                "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\n"
            ));
            std::thread::sleep(Duration::from_millis(3));
            http.send("[\"\"]");
            let answer = http.answer();
            assert!(
                [404, 405, 429].contains(&answer.status),
                "{}",
                answer.status
            );
            let is_last = answer.header("connection") == Some("close");
            answer.text();
            // On a very slow machine the body comes too late.
            if is_last {
                http = Http::connect(&address.to_string());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn found_106_who_sends_much_in_vain_gets_to_read_why() {
    let (address, _handle) = serve(Server::builder().configure(|settings| {
        settings.http.body_bytes = 1000;
        settings.http.body_progress_timeout = PATIENCE;
    }))
    .await;
    let mut http = Http::connect(&address.to_string());
    let path = session_path();
    let polled = http.body(&format!("POST {path}/xhr"), "");
    assert_eq!(polled, "o\n");
    let (large, small) = ("x".repeat(4 << 20), "x".repeat(2000));
    for (path, expected) in [
        (format!("{path}/xhr_send"), 413),
        ("/sockjs/0/unknown/xhr_send".to_owned(), 404),
        ("/nowhere".to_owned(), 404),
    ] {
        let mut http = Http::connect(&address.to_string());
        let answer = http.ask(&format!("POST {path}"), &[], &large);
        let told = (answer.status, answer.header("connection"));
        assert_eq!(told, (expected, Some("close")), "{path}");
        answer.text();
    }
    // A little too much is thrown away, and the connection goes on.
    let answer = http.ask(&format!("POST {path}/xhr_send"), &[], &small);
    assert_eq!((answer.status, answer.header("connection")), (413, None));
    answer.text();
    assert_eq!(http.ask("GET /sockjs/info", &[], "").status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn found_106_a_body_that_waits_for_a_word_is_not_asked_for_in_vain() {
    let (address, _handle) = serve(Server::builder()).await;
    let mut http = Http::connect(&address.to_string());
    let path = "/sockjs/0/unknown/xhr_send";
    http.send(&format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n\
         Content-Length: 4\r\n\r\n"
    ));
    let answer = http.answer();
    assert_eq!(
        (answer.status, answer.header("connection")),
        (404, Some("close"))
    );
    answer.text();
    assert!(is_cut(http.tcp()));
}

#[tokio::test(flavor = "multi_thread")]
async fn posts_that_find_no_room_in_their_session_are_503() {
    let never = |_: Call| std::future::pending::<Result<()>>();
    let builder = Server::builder().method("never", never);
    let limit = Duration::from_millis(200);
    let (address, _handle) = serve(builder.configure(|settings| {
        settings.clients.queued_messages = 1;
        settings.clients.queued_bytes = 1000;
        settings.http.post_timeout = limit;
    }))
    .await;
    let mut http = Http::connect(&address.to_string());
    let path = session_path();
    assert_eq!(http.body(&format!("POST {path}/xhr"), ""), "o\n");
    let call =
        |id: usize| format!(r#"{{"msg":"method","method":"never","id":"{id}","params":[]}}"#);
    let messages: Vec<String> = std::iter::once(CONNECT.to_owned())
        .chain((0..10).map(call))
        .collect();
    let body = ejson::to_json(&ejson!(messages));
    let send = format!("POST {path}/xhr_send");
    assert_eq!(http.ask(&send, &[], &body).status, 204);
    let asked = Instant::now();
    assert_eq!(http.ask(&send, &[], &body).status, 503);
    assert!(asked.elapsed() >= limit);
}
