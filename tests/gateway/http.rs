//! HTTP that is not this server's, passed to the app.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use updraft::{Builder, Meteor, Server, TrustedProxies};
use updraft_test_support::client::PATIENCE;
use updraft_test_support::eventually;
use updraft_test_support::http::Http;

use crate::app::{App, hear, say};
use crate::common::Running;

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
