//! HTTP that is not this server's, passed to the app.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use updraft::{Builder, Meteor, Server, TrustedProxies};
use updraft_test_support::client::{CONNECT, Client, PATIENCE};
use updraft_test_support::eventually;
use updraft_test_support::http::Http;
use updraft_test_support::process::free_port;
use warp::Filter;

use crate::common::Running;
use crate::web::{App, Peer, hear, say};

/// A server in front of apps at these ports, with what `register` adds.
fn in_front_of(ports: &[u16], register: impl FnOnce(Builder) -> Builder) -> Running {
    Running::start(register(Server::builder().meteor(meteor(ports))))
}

fn meteor(ports: &[u16]) -> Meteor {
    let (first, others) = ports.split_first().unwrap();
    let url = |port: &u16| format!("http://127.0.0.1:{port}");
    let meteor = Meteor::at(url(first)).http(true);
    others
        .iter()
        .fold(meteor, |meteor, port| meteor.and_at(url(port)))
}

fn plain(app: &App) -> Running {
    in_front_of(&[app.port()], |builder| builder)
}

fn http(server: &Running) -> Http {
    Http::connect(&server.address().to_string())
}

/// A connection on which a test writes bytes as they stand.
fn socket(server: &Running) -> TcpStream {
    let socket = TcpStream::connect(server.address()).unwrap();
    socket.set_read_timeout(Some(2 * PATIENCE)).unwrap();
    socket
}

/// Everything that comes back until the connection ends.
fn exchange(server: &Running, request: &str) -> String {
    let mut socket = socket(server);
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    drop(socket.read_to_end(&mut answer));
    String::from_utf8_lossy(&answer).into_owned()
}

/// Something that a thread of the app waits for.
fn gate() -> (SyncSender<()>, Mutex<Receiver<()>>) {
    let (open, gate) = sync_channel(1);
    (open, Mutex::new(gate))
}

fn pass(gate: &Mutex<Receiver<()>>) {
    gate.lock().unwrap().recv_timeout(2 * PATIENCE).unwrap();
}

#[test]
fn gateway_060_a_request_and_its_answer_pass_piece_by_piece() {
    let (open, gate) = gate();
    let app = App::start(move |_, peer| {
        say(
            peer,
            "HTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n",
        );
        pass(&gate);
        say(peer, "3\r\ntwo\r\n0\r\n\r\n")
    });
    let server = plain(&app);
    let mut http = http(&server);
    let mut answer = http.ask("GET /page?q=1", &[], "");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.piece().as_deref(), Some("one"));
    open.send(()).unwrap();
    assert_eq!(answer.piece().as_deref(), Some("two"));
    assert_eq!(answer.piece(), None);
    assert!(app.head().starts_with("GET /page?q=1 HTTP/1.1\r\n"));
    eventually("counted", || server.stats().passed_requests == 1);
}

#[test]
fn gateway_061_where_a_request_goes_is_not_the_clients_to_say() {
    let app = App::saying("HTTP/1.1 200 Fine\r\nContent-Length: 2\r\n\r\nok");
    let elsewhere = App::saying("HTTP/1.1 200 Fine\r\nContent-Length: 4\r\n\r\nevil");
    let server = plain(&app);
    let target = format!(
        "http://127.0.0.1:{}/a%2Fb/../c?x=%00&y=/?",
        elsewhere.port()
    );
    let answer = exchange(
        &server,
        &format!("GET {target} HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n\r\n"),
    );
    assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
    let head = app.head();
    assert!(
        head.starts_with("GET /a%2Fb/../c?x=%00&y=/? HTTP/1.1\r\n"),
        "{head}"
    );
    assert!(head.contains("\r\nhost: app.example\r\n"), "{head}");
    assert_eq!(elsewhere.connections(), 0);
}

#[test]
fn gateway_062_connect_and_trace_are_not_passed() {
    let app = App::saying("HTTP/1.1 200 Fine\r\nContent-Length: 0\r\n\r\n");
    let server = plain(&app);
    for line in ["CONNECT app.example:80", "TRACE /"] {
        let request =
            format!("{line} HTTP/1.1\r\nHost: app.example:80\r\nConnection: close\r\n\r\n");
        let answer = exchange(&server, &request);
        assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
        assert!(answer.contains("allow: GET, HEAD, POST"), "{answer}");
    }
    assert_eq!(app.connections(), 0);
}

#[test]
fn gateway_063_hop_by_hop_headers_are_dropped_both_ways() {
    let app = App::saying(
        "HTTP/1.1 200 Fine\r\nContent-Length: 0\r\nConnection: X-Once, Keep-Alive\r\n\
         Keep-Alive: timeout=5\r\nX-Once: 1\r\nProxy-Authenticate: Basic\r\nX-Kept: 1\r\n\r\n",
    );
    let server = plain(&app);
    let mut http = http(&server);
    let sent = [
        ("Connection", "keep-alive, X-Mine"),
        ("Keep-Alive", "timeout=1"),
        ("X-Mine", "1"),
        ("TE", "trailers"),
        ("Proxy-Authorization", "Basic x"),
        ("Proxy-Connection", "keep-alive"),
        ("Upgrade", "h2c"),
        ("X-Kept", "1"),
    ];
    let answer = http.ask("GET /", &sent, "");
    for name in ["x-once", "keep-alive", "proxy-authenticate"] {
        assert_eq!(answer.header(name), None, "{name}");
    }
    assert_eq!(answer.header("x-kept"), Some("1"));
    let head = app.head();
    for name in [
        "connection",
        "keep-alive",
        "x-mine",
        "te",
        "proxy-",
        "upgrade",
    ] {
        assert!(!head.contains(&format!("\r\n{name}")), "{name} in {head}");
    }
    assert!(head.contains("\r\nx-kept: 1\r\n"), "{head}");
}

#[test]
fn gateway_064_a_body_has_one_end_for_the_app_too() {
    let app = App::start(|head, peer| {
        assert!(head.contains("transfer-encoding: chunked"), "{head}");
        assert!(!head.contains("content-length"), "{head}");
        assert_eq!(chunked(peer), "smuggled");
        say(peer, "HTTP/1.1 200 Fine\r\nContent-Length: 0\r\n\r\n")
    });
    let server = plain(&app);
    // A length that would end elsewhere is not passed on, whichever header comes first. What
    // stands behind the body is no request: the connection ends.
    for lines in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 3",
    ] {
        let request = format!(
            "POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n8\r\nsmuggled\r\n0\r\n\r\n\
             GET /second HTTP/1.1\r\nHost: a\r\n\r\n"
        );
        let answer = exchange(&server, &request);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    }
    for line in [
        "Transfer-Encoding: gzip, chunked",
        "Content-Length: 3\r\nContent-Length: 4",
    ] {
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\nabc");
        let answer = exchange(&server, &request);
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
    assert_eq!(app.heads().len(), 2);
}

/// Reads a chunked body.
fn chunked(peer: &mut Peer) -> String {
    let mut body = String::new();
    loop {
        let mut size = String::new();
        peer.read_line(&mut size).unwrap();
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        body.push_str(&hear(peer, size));
        hear(peer, 2);
        if size == 0 {
            return body;
        }
    }
}

const HANDSHAKE: &str = "GET /__meteor__hmr__/websocket HTTP/1.1\r\nHost: a\r\n\
    Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\n\
    Origin: https://other.example\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

const SWITCH: &str = "HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Reads the head of an answer.
fn answer_head(socket: &mut BufReader<TcpStream>) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(socket.read_line(&mut head).unwrap() > 0, "{head}");
    }
    head
}

#[test]
fn gateway_065_other_websockets_are_tunnelled_until_either_end_is_done() {
    let app = App::start(|head, peer| {
        assert!(head.contains("\r\nupgrade: websocket\r\n"), "{head}");
        assert!(head.contains("\r\nconnection: Upgrade\r\n"), "{head}");
        assert!(head.contains("\r\nsec-websocket-key: dGhl"), "{head}");
        // Bytes right behind the handshake pass too.
        say(peer, &format!("{SWITCH}early"));
        while hear(peer, 4) != "bye!" {
            say(peer, "echo");
        }
        false
    });
    let server = plain(&app);
    let mut socket = BufReader::new(socket(&server));
    socket.get_mut().write_all(HANDSHAKE.as_bytes()).unwrap();
    let head = answer_head(&mut socket);
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.contains("sec-websocket-accept: s3pPLM"), "{head}");
    let mut early = [0; 5];
    socket.read_exact(&mut early).unwrap();
    assert_eq!(&early, b"early");
    for _ in 0..3 {
        socket.get_mut().write_all(b"ping").unwrap();
        let mut echo = [0; 4];
        socket.read_exact(&mut echo).unwrap();
        assert_eq!(&echo, b"echo");
    }
    assert_eq!(server.stats().tunnels, 1);
    socket.get_mut().write_all(b"bye!").unwrap();
    assert_eq!(socket.read(&mut [0; 1]).unwrap(), 0, "the app has closed");
    eventually("the tunnel ends", || server.stats().tunnels == 0);
    // And from the other end.
    let second = exchange_open(&server, HANDSHAKE);
    eventually("a tunnel", || server.stats().tunnels == 1);
    drop(second);
    eventually("the tunnel ends", || server.stats().tunnels == 0);
    // The origin is the app's to judge: only DDP's paths are judged here.
    assert_eq!(server.stats().refused_origins, 0);
}

fn exchange_open(server: &Running, request: &str) -> TcpStream {
    let mut socket = socket(server);
    socket.write_all(request.as_bytes()).unwrap();
    socket
}

#[test]
fn gateway_066_an_app_may_refuse_a_websocket_and_may_not_switch_unasked() {
    let refusing = App::saying("HTTP/1.1 404 None\r\nContent-Length: 4\r\n\r\nnone");
    let server = plain(&refusing);
    let mut socket = BufReader::new(exchange_open(&server, HANDSHAKE));
    let head = answer_head(&mut socket);
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
    let switching = App::saying(SWITCH);
    let server = plain(&switching);
    let asked = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    let mut socket = BufReader::new(exchange_open(&server, asked));
    let head = answer_head(&mut socket);
    assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
    assert!(!switching.head().contains("upgrade"));
}

const PIECE: usize = 64 * 1024;
const PIECES: usize = 256;

#[test]
fn gateway_067_an_upload_passes_as_the_app_takes_it() {
    let (open, gate) = gate();
    let app = App::start(move |head, peer| {
        assert!(head.contains("content-encoding: gzip"), "{head}");
        if head.contains("content-length") {
            hear(peer, PIECE);
            pass(&gate);
            hear(peer, PIECE * (PIECES - 1));
        } else {
            assert_eq!(chunked(peer), "chunk");
        }
        say(peer, "HTTP/1.1 201 Made\r\nContent-Length: 0\r\n\r\n")
    });
    let server = plain(&app);
    let mut socket = socket(&server);
    socket
        .set_write_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let length = PIECE * PIECES;
    let head = format!(
        "PUT /files HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\n\
         Content-Length: {length}\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).unwrap();
    let piece = vec![b'x'; PIECE];
    // The app takes one piece: the rest does not fit into what lies between.
    let mut sent = 0;
    while let Ok(count) = socket.write(&piece[..PIECE.min(length - sent)]) {
        sent += count;
        assert!(sent < length, "all of it is held somewhere");
    }
    open.send(()).unwrap();
    socket.set_write_timeout(Some(2 * PATIENCE)).unwrap();
    while sent < length {
        sent += socket.write(&piece[..PIECE.min(length - sent)]).unwrap();
    }
    let mut socket = BufReader::new(socket);
    let head = answer_head(&mut socket);
    assert!(head.starts_with("HTTP/1.1 201 "), "{head}");
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\n\
                   Transfer-Encoding: chunked\r\n\r\n5\r\nchunk\r\n0\r\n\r\n";
    socket.get_mut().write_all(chunked.as_bytes()).unwrap();
    let head = answer_head(&mut socket);
    assert!(head.starts_with("HTTP/1.1 201 "), "{head}");
    assert_eq!(app.connections(), 1, "it is used again");
}

/// An app that writes a long answer, and how many pieces of it were written.
fn flood() -> (App, Arc<AtomicUsize>) {
    let written = Arc::<AtomicUsize>::default();
    let count = written.clone();
    let app = App::start(move |_, peer| {
        let length = PIECE * PIECES;
        say(
            peer,
            &format!("HTTP/1.1 200 Fine\r\nContent-Length: {length}\r\n\r\n"),
        );
        let piece = "x".repeat(PIECE);
        (0..PIECES).all(|_| {
            count.fetch_add(1, Ordering::Relaxed);
            say(peer, &piece)
        })
    });
    (app, written)
}

/// Waits until a count does not grow for a while.
fn settles(count: &AtomicUsize) -> usize {
    loop {
        let before = count.load(Ordering::Relaxed);
        thread::sleep(Duration::from_millis(300));
        if before > 0 && count.load(Ordering::Relaxed) == before {
            return before;
        }
    }
}

#[test]
fn gateway_068_an_answer_waits_for_a_slow_client_at_the_app() {
    let (app, written) = flood();
    let server = plain(&app);
    let mut socket = exchange_open(&server, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let pieces = settles(&written);
    assert!(pieces < PIECES, "all of it is held somewhere");
    let mut body = Vec::new();
    socket.set_read_timeout(Some(2 * PATIENCE)).unwrap();
    let mut buffer = vec![0; PIECE];
    while body.len() < PIECE * PIECES {
        let count = socket.read(&mut buffer).unwrap();
        assert!(count > 0, "cut at {}", body.len());
        body.extend_from_slice(&buffer[..count]);
    }
}

#[test]
fn gateway_069_a_body_is_asked_for_when_the_app_asks() {
    let app = App::start(|head, peer| {
        assert!(head.contains("expect: 100-continue"), "{head}");
        if head.starts_with("POST /refused") {
            return say(peer, "HTTP/1.1 413 Large\r\nContent-Length: 0\r\n\r\n");
        }
        say(peer, "HTTP/1.1 100 Continue\r\n\r\n");
        assert_eq!(hear(peer, 4), "body");
        say(peer, "HTTP/1.1 200 Fine\r\nContent-Length: 0\r\n\r\n")
    });
    let server = plain(&app);
    let request = |path: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
        )
    };
    let mut socket = BufReader::new(exchange_open(&server, &request("/taken")));
    let head = answer_head(&mut socket);
    assert!(head.starts_with("HTTP/1.1 100 "), "{head}");
    socket.get_mut().write_all(b"body").unwrap();
    let head = answer_head(&mut socket);
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let answer = exchange(&server, &request("/refused"));
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

fn impatient(builder: Builder) -> Builder {
    builder.configure(|settings| {
        settings.gateway.http.progress_timeout = Duration::from_millis(800);
    })
}

#[test]
fn gateway_070_what_makes_no_progress_is_cut() {
    let app = App::start(|head, peer| {
        if head.starts_with("GET /half") {
            say(peer, "HTTP/1.1 200 Fine\r\nContent-Length: 9\r\n\r\nhalf");
        }
        // Until the other end is gone.
        drop(peer.read_to_end(&mut Vec::new()));
        false
    });
    let server = in_front_of(&[app.port()], impatient);
    let mut silent = http(&server);
    let answer = silent.ask("GET /silent", &[], "");
    assert_eq!(answer.status, 504);
    let page = answer.text();
    assert_eq!(
        page,
        "The app behind this server does not answer (server 1 of 1).\n"
    );
    let half = exchange(&server, "GET /half HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(half.ends_with("\r\n\r\nhalf"), "{half}");
    let mut stuck = BufReader::new(exchange_open(
        &server,
        "POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf",
    ));
    let head = answer_head(&mut stuck);
    assert!(head.starts_with("HTTP/1.1 504 "), "{head}");
    assert_eq!(server.stats().failed_requests, 3);
}

#[test]
fn gateway_071_a_client_that_takes_nothing_is_cut() {
    let (app, written) = flood();
    let server = in_front_of(&[app.port()], impatient);
    let mut socket = exchange_open(&server, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(settles(&written) < PIECES);
    eventually("cut", || server.stats().failed_requests == 1);
    let mut body = Vec::new();
    let ended = socket.read_to_end(&mut body);
    assert!(ended.is_err() || body.len() < PIECE * PIECES);
}

#[test]
fn gateway_072_what_is_passed_may_have_longer_headers() {
    let app = App::start(|_, peer| {
        let long = "y".repeat(24 * 1024);
        say(
            peer,
            &format!("HTTP/1.1 200 Fine\r\nContent-Length: 0\r\nX-Long: {long}\r\n\r\n"),
        )
    });
    let server = plain(&app);
    let status = |path: &str, length: usize| {
        let long = "x".repeat(length);
        let answer = exchange(
            &server,
            &format!(
                "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                 X-Long: {long}\r\n\r\n"
            ),
        );
        answer.get(9..12).unwrap().to_owned()
    };
    assert_eq!(status("/", 24 * 1024), "200");
    assert_eq!(status("/sockjs/info", 8 * 1024), "200");
    assert_eq!(status("/sockjs/info", 24 * 1024), "431");
    assert_eq!(status("/", 40 * 1024), "431");
}

#[test]
fn gateway_073_the_app_sees_who_asks_and_for_what_host() {
    let app = App::saying("HTTP/1.1 200 Fine\r\nContent-Length: 0\r\n\r\n");
    let claims = [("X-Forwarded-For", "1.1.1.1"), ("X-Real-IP", "1.1.1.1")];
    let server = plain(&app);
    http(&server).ask("GET /", &claims, "");
    let trusting = in_front_of(&[app.port()], |builder| {
        builder.configure(|settings| settings.trusted_proxies = TrustedProxies::Hops(1))
    });
    http(&trusting).ask("GET /", &claims, "");
    let heads = app.heads();
    let [untrusted, trusted] = heads.as_slice() else {
        panic!("{heads:?}");
    };
    let host = format!("\r\nhost: {}\r\n", server.address());
    assert!(untrusted.contains(&host), "{untrusted}");
    assert!(
        untrusted.contains("\r\nx-forwarded-for: 127.0.0.1\r\n"),
        "{untrusted}"
    );
    assert!(
        untrusted.contains("\r\nx-forwarded-proto: http\r\n"),
        "{untrusted}"
    );
    assert!(!untrusted.contains("x-real-ip"), "{untrusted}");
    assert!(
        trusted.contains("\r\nx-forwarded-for: 1.1.1.1, 127.0.0.1\r\n"),
        "{trusted}"
    );
    assert!(trusted.contains("\r\nx-real-ip: 1.1.1.1\r\n"), "{trusted}");
}

#[test]
fn gateway_074_cookies_and_cache_headers_are_the_apps() {
    let app = App::start(|head, peer| {
        assert!(head.contains("\r\ncookie: a=1; b=2\r\n"), "{head}");
        match head.split(' ').next() {
            Some("HEAD") => say(peer, "HTTP/1.1 200 Fine\r\nContent-Length: 99\r\n\r\n"),
            _ if head.contains("if-none-match") => say(
                peer,
                "HTTP/1.1 304 Same\r\nETag: \"e\"\r\nCache-Control: max-age=1\r\n\r\n",
            ),
            _ => say(
                peer,
                "HTTP/1.1 200 Fine\r\nContent-Type: text/html\r\nSet-Cookie: c=1; Path=/\r\n\
                 Set-Cookie: d=2\r\nCache-Control: no-cache\r\nVary: X\r\nDate: then\r\n\
                 Content-Length: 2\r\n\r\nok",
            ),
        }
    });
    let server = plain(&app);
    let request = |line: &str| {
        let request = format!("{line}Host: a\r\nCookie: a=1; b=2\r\nConnection: close\r\n\r\n");
        exchange(&server, &request).replace("connection: close\r\n", "")
    };
    assert_eq!(
        request("GET / HTTP/1.1\r\n"),
        "HTTP/1.1 200 Fine\r\ncontent-type: text/html\r\nset-cookie: c=1; Path=/\r\n\
         set-cookie: d=2\r\ncache-control: no-cache\r\nvary: X\r\ndate: then\r\n\
         content-length: 2\r\n\r\nok"
    );
    let same = request("GET / HTTP/1.1\r\nIf-None-Match: \"e\"\r\n");
    assert!(same.starts_with("HTTP/1.1 304 "), "{same}");
    assert!(
        same.contains("\r\netag: \"e\"\r\ncache-control: max-age=1\r\n"),
        "{same}"
    );
    let head = request("HEAD / HTTP/1.1\r\n");
    assert!(head.contains("\r\ncontent-length: 99\r\n"), "{head}");
    assert!(head.ends_with("\r\n\r\n"), "{head}");
}

#[test]
fn gateway_075_a_page_says_which_server_is_not_there_and_no_address() {
    let port = free_port();
    let server = in_front_of(&[port], |builder| builder);
    let mut http = http(&server);
    let answer = http.ask("GET /", &[], "");
    assert_eq!(answer.status, 502);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
    let page = answer.text();
    assert_eq!(
        page,
        "The app behind this server is not there (server 1 of 1).\n"
    );
    let stats = server.stats();
    assert_eq!((stats.failed_requests, stats.meteor_servers_away), (1, 1));
    // One that breaks off, or speaks no HTTP.
    for answer in ["", "SSH-2.0-x\r\n\r\n"] {
        let app = App::start(move |_, peer| {
            say(peer, answer);
            false
        });
        let server = plain(&app);
        let mut http = self::http(&server);
        assert_eq!(http.ask("POST /", &[], "body").status, 502, "{answer:?}");
    }
}

#[test]
fn gateway_077_a_request_is_sent_once_more_when_a_waiting_connection_has_ended() {
    let app = App::start(|head, peer| {
        if head.contains("x-end") {
            return false;
        }
        say(peer, "HTTP/1.1 200 Fine\r\nContent-Length: 0\r\n\r\n")
            && !head.starts_with("GET /last")
    });
    let server = plain(&app);
    let mut http = http(&server);
    let mut status = |head: &str, headers: &[(&str, &str)], body: &str| {
        let answer = http.ask(head, headers, body);
        let status = answer.status;
        drop(answer.text());
        status
    };
    let end = [("X-End", "1")];
    assert_eq!(status("GET /", &[], ""), 200);
    assert_eq!(status("GET /", &[], ""), 200);
    assert_eq!(app.connections(), 1, "it is used again");
    assert_eq!(status("GET /", &end, ""), 502);
    assert_eq!(
        app.connections(),
        2,
        "tried on a fresh one, which ended too"
    );
    assert_eq!(status("GET /", &[], ""), 200);
    assert_eq!(app.connections(), 3);
    assert_eq!(status("POST /", &end, "body"), 502);
    assert_eq!(app.connections(), 3, "it may have been carried out");
    // One that ends while nobody asks is not used.
    assert_eq!(status("GET /last", &[], ""), 200);
    assert_eq!(status("POST /", &[], ""), 200);
    assert_eq!(app.connections(), 5);
    eventually("at rest", || server.is_at_rest());
}

#[test]
fn gateway_078_the_apps_connection_ends_with_its_client() {
    let (gone, ended) = gate();
    let app = App::start(move |head, peer| {
        if head.starts_with("GET /half") {
            say(peer, "HTTP/1.1 200 Fine\r\nContent-Length: 9\r\n\r\nhalf");
        }
        drop(peer.read_to_end(&mut Vec::new()));
        gone.send(()).unwrap();
        false
    });
    let server = plain(&app);
    let waiting = exchange_open(&server, "GET /silent HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("asked", || app.heads().len() == 1);
    drop(waiting);
    pass(&ended);
    let mut half = BufReader::new(exchange_open(
        &server,
        "GET /half HTTP/1.1\r\nHost: a\r\n\r\n",
    ));
    answer_head(&mut half);
    drop(half);
    pass(&ended);
    let upload = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf";
    let upload = exchange_open(&server, upload);
    eventually("asked", || app.heads().len() == 3);
    drop(upload);
    pass(&ended);
}

#[test]
fn gateway_079_an_answer_that_breaks_off_does_not_end_cleanly() {
    let app = App::start(|_, peer| {
        say(
            peer,
            "HTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        );
        false
    });
    let server = plain(&app);
    let chunked = exchange(&server, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(!chunked.contains("0\r\n\r\n"), "{chunked}");
    // HTTP/1.0 knows no other end of an answer than that of the connection: it is reset.
    let mut socket = exchange_open(&server, "GET / HTTP/1.0\r\n\r\n");
    let ended = socket.read_to_end(&mut Vec::new());
    assert!(ended.is_err(), "{ended:?}");
    eventually("counted", || server.stats().failed_requests == 2);
}

#[test]
fn gateway_080_a_server_that_shuts_down_finishes_what_it_passes() {
    let (open, gate) = gate();
    let app = App::start(move |head, peer| {
        if head.starts_with("GET /__meteor__hmr__") {
            say(peer, SWITCH);
            drop(peer.read_to_end(&mut Vec::new()));
            return false;
        }
        assert_eq!(hear(peer, 8), "halfhalf");
        say(peer, "HTTP/1.1 200 Fine\r\nContent-Length: 8\r\n\r\nhalf");
        pass(&gate);
        say(peer, "half")
    });
    let server = plain(&app);
    let mut tunnel = BufReader::new(exchange_open(&server, HANDSHAKE));
    answer_head(&mut tunnel);
    let upload = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nhalf";
    let mut socket = BufReader::new(exchange_open(&server, upload));
    eventually("asked", || app.heads().len() == 2);
    let shutdown = server.begin_shutdown(2 * PATIENCE);
    assert_eq!(
        tunnel.read(&mut [0; 1]).unwrap(),
        0,
        "a tunnel ends at once"
    );
    // Longer than the rest of a request for this server itself is waited for.
    thread::sleep(Duration::from_millis(1500));
    socket.get_mut().write_all(b"half").unwrap();
    let head = answer_head(&mut socket);
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    open.send(()).unwrap();
    let mut body = String::new();
    socket.read_to_string(&mut body).unwrap();
    assert_eq!(body, "halfhalf");
    server.wait(shutdown).unwrap();
}

#[test]
fn gateway_082_pages_of_the_app_and_of_its_phones_may_connect_and_each_other_is_told_once() {
    let app = App::saying("HTTP/1.1 200 Fine\r\nContent-Length: 0\r\n\r\n");
    let server = in_front_of(&[app.port()], |builder| {
        builder.configure(|settings| {
            // As if it listened to everybody.
            settings.trusted_proxies = TrustedProxies::Hops(1);
            settings.origins.allowed = vec!["https://other.example".to_owned()];
        })
    });
    let status = |origin: &str| {
        let request = format!(
            "GET /sockjs/info HTTP/1.1\r\nHost: app.example\r\nOrigin: {origin}\r\n\
             Connection: close\r\n\r\n"
        );
        exchange(&server, &request).get(9..12).unwrap().to_owned()
    };
    for origin in [
        "https://app.example",
        "https://other.example",
        "http://localhost:12000",
        "http://localhost:12345",
        "http://localhost:13000",
    ] {
        assert_eq!(status(origin), "200", "{origin}");
    }
    for origin in [
        "https://evil.example",
        "http://localhost:11999",
        "http://localhost:13001",
        "http://localhost",
        "https://localhost:12345",
        "http://localhost.evil.example:12345",
        "null",
    ] {
        assert_eq!(status(origin), "403", "{origin}");
    }
    // What is passed is the app's to judge.
    let answer = exchange(
        &server,
        "GET / HTTP/1.1\r\nHost: app.example\r\nOrigin: https://evil.example\r\n\
         Connection: close\r\n\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

/// Which of two apps has answered.
fn numbered(number: &'static str) -> App {
    App::start(move |head, peer| {
        if head.starts_with("GET /websocket") {
            return false;
        }
        let kind = match head.starts_with("GET /app.js") {
            true => "application/javascript",
            false => "text/html; charset=utf-8",
        };
        say(
            peer,
            &format!(
                "HTTP/1.1 200 Fine\r\nContent-Type: {kind}\r\nContent-Length: 1\r\n\r\n{number}"
            ),
        )
    })
}

#[test]
fn gateway_090_a_browser_keeps_its_server_over_http_and_ddp() {
    let apps = [numbered("0"), numbered("1")];
    let ports = apps.each_ref().map(App::port);
    let server = in_front_of(&ports, |builder| {
        builder.configure(|settings| settings.trusted_proxies = TrustedProxies::Hops(1))
    });
    let from = |address: &'static str| ("X-Forwarded-For", address);
    let mut http = http(&server);
    // Two addresses that go to different servers.
    let addresses = [
        "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6",
    ];
    let mut first = None;
    let mut other = None;
    for address in addresses {
        let answer = http.ask("GET /", &[from(address)], "");
        let cookie = answer.header("set-cookie").unwrap().to_owned();
        let app = answer.text();
        match &first {
            None => first = Some((address, app, cookie)),
            Some((_, known, _)) if *known != app => other = Some((address, app, cookie)),
            Some(_) => {}
        }
    }
    let ((address, app, cookie), (elsewhere, ..)) = (first.unwrap(), other.unwrap());
    assert!(
        cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax"),
        "{cookie}"
    );
    let pair = cookie.split(';').next().unwrap();
    assert_eq!(
        http.ask("GET /", &[from(address)], "").text(),
        app,
        "by its address"
    );
    let kept = http.ask("GET /", &[from(elsewhere), ("Cookie", pair)], "");
    assert_eq!(kept.header("set-cookie"), None, "it has one");
    assert_eq!(kept.text(), app, "wherever it is");
    let script = http.ask("GET /app.js", &[from(elsewhere)], "");
    assert_eq!(script.header("set-cookie"), None, "scripts set none");
    drop(script.text());
    // DDP goes to the same server.
    let known = apps[usize::from(app == "1")].heads().len();
    let headers = [from(elsewhere), ("Cookie", pair)];
    let mut client = Client::connect_with(server.url(), &headers).unwrap();
    client.send_text(CONNECT);
    eventually("asked", || {
        let heads = apps[usize::from(app == "1")].heads();
        let is_asked = |head: &String| head.starts_with("GET /websocket");
        heads.iter().skip(known).any(is_asked)
    });
}

#[test]
fn gateway_091_a_server_that_refuses_is_passed_over() {
    let app = App::start(|_, peer| {
        assert_eq!(hear(peer, 4), "body");
        say(peer, "HTTP/1.1 200 Fine\r\nContent-Length: 0\r\n\r\n")
    });
    let away = free_port();
    let server = in_front_of(&[away, app.port()], |builder| {
        builder.health_checks(updraft::HealthChecks::new())
    });
    let mut http = http(&server);
    for _ in 0..3 {
        // A body that was not begun to be sent goes to the next one.
        let answer = http.ask("POST /", &[], "body");
        assert_eq!(answer.status, 200);
    }
    assert_eq!(http.ask("GET /readyz", &[], "").text(), "ok\n");
    let stats = server.stats();
    assert!(
        stats.meteor_servers_away <= 1 && stats.failed_requests == 0,
        "{stats:?}"
    );
    let nobody = in_front_of(&[free_port(), free_port()], |builder| {
        builder.health_checks(updraft::HealthChecks::new())
    });
    let mut http = self::http(&nobody);
    let answer = http.ask("GET /", &[], "");
    assert_eq!(answer.status, 502);
    drop(answer.text());
    assert_eq!(nobody.stats().meteor_servers_away, 2);
    let ready = http.ask("GET /readyz", &[], "");
    assert_eq!(ready.status, 503);
    assert_eq!(ready.text(), "Meteor is away\n");
}

#[test]
fn gateway_092_what_is_registered_here_comes_first_and_http_is_passed_only_when_said_so() {
    let app = App::saying("HTTP/1.1 200 Fine\r\nContent-Length: 3\r\n\r\napp");
    let hook = warp::service(warp::any().map(|| "here"));
    let server = in_front_of(&[app.port()], |builder| builder.route("/hook", hook));
    let mut http = http(&server);
    assert_eq!(http.body("GET /hook", ""), "here");
    assert_eq!(http.body("GET /hooks", ""), "app");
    assert!(http.body("GET /sockjs/info", "").contains("websocket"));
    let silent = Meteor::at(format!("http://127.0.0.1:{}", app.port()));
    let server = Running::start(Server::builder().meteor(silent));
    assert_eq!(self::http(&server).ask("GET /", &[], "").status, 404);
}

#[test]
fn gateway_093_many_requests_pass_at_once() {
    let app = App::start(|_, peer| {
        let body = "z".repeat(200_000);
        say(
            peer,
            &format!("HTTP/1.1 200 Fine\r\nContent-Length: 200000\r\n\r\n{body}"),
        )
    });
    let server = plain(&app);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut http = http(&server);
                for _ in 0..20 {
                    assert_eq!(http.ask("GET /", &[], "").text().len(), 200_000);
                }
            });
        }
    });
    assert!(app.connections() <= 40, "{}", app.connections());
    eventually("all are counted", || server.stats().passed_requests == 160);
}
