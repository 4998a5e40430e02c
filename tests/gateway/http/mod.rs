//! HTTP that is not this server's, passed to the app.

mod bodies;
mod ends;
mod headers;
mod limits;
mod origins;
mod requests;
mod servers;
mod tunnels;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use updraft::{Builder, Meteor, Server};
use updraft_test_support::client::PATIENCE;
use updraft_test_support::http::Http;

use crate::common::Running;
use crate::web::{App, Peer, hear, say};

const HANDSHAKE: &str = "GET /__meteor__hmr__/websocket HTTP/1.1\r\nHost: a\r\n\
    Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\n\
    Origin: https://other.example\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

const SWITCH: &str = "HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

const PIECE: usize = 64 * 1024;
const PIECES: usize = 256;

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

fn exchange_open(server: &Running, request: &str) -> TcpStream {
    let mut socket = socket(server);
    socket.write_all(request.as_bytes()).unwrap();
    socket
}

/// Reads the head of an answer.
fn answer_head(socket: &mut BufReader<TcpStream>) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(socket.read_line(&mut head).unwrap() > 0, "{head}");
    }
    head
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

/// Something that a thread of the app waits for.
fn gate() -> (SyncSender<()>, Mutex<Receiver<()>>) {
    let (open, gate) = sync_channel(1);
    (open, Mutex::new(gate))
}

fn pass(gate: &Mutex<Receiver<()>>) {
    gate.lock().unwrap().recv_timeout(2 * PATIENCE).unwrap();
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
