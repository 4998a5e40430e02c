//! Requests and answers over HTTP whose bodies, or what is said of them, are out of order.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use socket2::SockRef;
use updraft::{Meteor, Server};
use updraft_test_support::client::PATIENCE;
use updraft_test_support::eventually;

use crate::common::Running;
use crate::web::{App, say};
use crate::world::url;

fn in_front_of(app: &App) -> Running {
    let meteor = Meteor::at(url(app.port())).http(true);
    Running::start(Server::builder().meteor(meteor))
}

fn send(server: &Running, request: &str) -> TcpStream {
    let mut socket = TcpStream::connect(server.address()).unwrap();
    socket.set_read_timeout(Some(2 * PATIENCE)).unwrap();
    socket.write_all(request.as_bytes()).unwrap();
    socket
}

/// Everything that comes back until the connection ends.
fn exchange(server: &Running, request: &str) -> String {
    let mut answer = Vec::new();
    drop(send(server, request).read_to_end(&mut answer));
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn gateway_103_a_body_that_the_client_breaks_off_is_not_the_apps_failure() {
    let ended = Arc::new(AtomicUsize::new(0));
    let count = ended.clone();
    let app = App::start(move |_, peer| {
        drop(peer.read_to_end(&mut Vec::new()));
        count.fetch_add(1, Ordering::Relaxed);
        false
    });
    let server = in_front_of(&app);
    let answer = exchange(
        &server,
        "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let broken = send(
        &server,
        "POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc",
    );
    let is_passed = || app.heads().iter().any(|head| head.starts_with("POST /b "));
    eventually("it is passed", is_passed);
    drop(broken);
    // Of the first request the app may have got nothing.
    let passed = app.heads().len();
    eventually("it is over", || ended.load(Ordering::Relaxed) == passed);
    assert_eq!(server.stats().failed_requests, 0);
}

#[test]
fn gateway_104_an_answer_that_says_two_lengths_has_that_of_its_chunks() {
    let app = App::saying(
        "HTTP/1.1 200 OK\r\nContent-Length: 50\r\nTransfer-Encoding: chunked\r\n\r\n\
         2\r\nok\r\n0\r\n\r\n",
    );
    let server = in_front_of(&app);
    let request = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    let answer = exchange(&server, request);
    assert!(!answer.contains("content-length"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n2\r\nok\r\n0\r\n\r\n"), "{answer}");
}

#[test]
fn gateway_105_a_client_cannot_keep_its_host_from_the_app() {
    let app = App::saying("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let server = in_front_of(&app);
    let request =
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: close, Host, X-Once\r\nX-Once: 1\r\n\r\n";
    exchange(&server, request);
    let head = app.head();
    assert!(head.contains("\nhost: h\r\n"), "{head}");
    assert!(!head.contains("x-once"), "{head}");
}

#[test]
fn gateway_106_an_answer_to_an_upload_that_the_app_does_not_read_reaches_the_client() {
    let refusal = "HTTP/1.1 413 Too Much\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig";
    let app = App::start(move |_, peer| {
        say(peer, refusal);
        false
    });
    let server = in_front_of(&app);
    let body = vec![0; 4 << 20];
    let head = "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n";
    let head = format!("{head}Content-Length: {}\r\n\r\n", body.len());
    // Whether the app's end is noticed first when it is written to or read from is chance.
    for _ in 0..20 {
        let mut socket = send(&server, &head);
        socket.write_all(&body).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        assert!(answer.ends_with("\r\n\r\nbig"), "{answer}");
    }
    assert_eq!(server.stats().failed_requests, 0);
}

#[test]
fn gateway_107_a_client_can_finish_an_upload_that_was_answered_early() {
    let refusal = "HTTP/1.1 413 Too Much\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig";
    let app = App::start(move |_, peer| {
        say(peer, refusal);
        false
    });
    let server = in_front_of(&app);
    // More than the kernels hold, and not more than is thrown away for a client.
    let body = vec![0; 7 << 20];
    let head = format!(
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    // Whether the client is still sending when the app has closed is chance.
    for _ in 0..30 {
        let mut socket = send(&server, &head);
        let small = SockRef::from(&socket).set_send_buffer_size(64 * 1024);
        small.unwrap();
        socket.write_all(&body).expect("it is not reset");
        let mut answer = [0; 13];
        socket.read_exact(&mut answer).unwrap();
        assert_eq!(answer, *b"HTTP/1.1 413 ");
    }
}
