//! The binary in front of a Meteor app that is killed and started again, with many clients.

#![expect(
    clippy::disallowed_methods,
    reason = "it measures how long a restart takes"
)]

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use updraft_test_support::client::CONNECT;
use updraft_test_support::example::Example;
use updraft_test_support::process::{Process, free_port};

/// How long the app is away. It is less than the time after which a server in front of it sends new
/// clients away.
const AWAY: Duration = Duration::from_secs(4);
/// Clients that connect in one pass over all of them.
const AT_ONCE: usize = 200;
/// Clients that have the same address.
const SHARE: usize = 1000;
/// Beside two for each client: what a server has open in any case.
const OTHER_FILES: u64 = 64;

/// A client that comes back as soon as its connection has ended.
#[derive(Debug, Default)]
struct Client {
    socket: Option<TcpStream>,
    input: Vec<u8>,
    is_connected: bool,
    /// The codes with which it was closed; 0 for an end without one.
    closed: Vec<u16>,
}

impl Client {
    /// Sends the handshake and `connect` from this address, all in one piece.
    fn open(&mut self, server: SocketAddr, address: Ipv4Addr) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let bound = socket.bind(&SocketAddr::from((address, 0)).into());
        bound.expect("a port of this machine");
        socket.connect(&server.into()).expect("the server listens");
        let handshake = format!(
            "GET /websocket HTTP/1.1\r\nHost: {server}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        );
        let mut socket = TcpStream::from(socket);
        socket.set_nonblocking(true).expect("it can be polled");
        let sent = socket.write_all(&[handshake.as_bytes(), &frame(CONNECT)].concat());
        sent.expect("there is room for a request");
        self.socket = Some(socket);
        self.input.clear();
        self.is_connected = false;
    }

    /// Takes in what has come.
    fn look(&mut self) {
        let Some(socket) = &mut self.socket else {
            return;
        };
        let mut piece = [0; 4096];
        match socket.read(&mut piece) {
            Ok(count) if count > 0 => self.input.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            _ => return self.end(0),
        }
        if self.input.starts_with(b"HTTP/1.1 101") {
            let Some(end) = self.input.windows(4).position(|it| it == b"\r\n\r\n") else {
                return;
            };
            self.input.drain(..end + 4);
        }
        // The messages of this test are short.
        while let [first, length @ 0..=125, ..] = self.input[..]
            && let Some(payload) = self.input.get(2..2 + usize::from(length))
        {
            let payload = payload.to_owned();
            self.input.drain(..2 + usize::from(length));
            match first {
                0x81 => self.take_message(&payload),
                0x88 => return self.end(u16::from_be_bytes([payload[0], payload[1]])),
                other => panic!("a frame {other:#x}"),
            }
        }
    }

    fn take_message(&mut self, message: &[u8]) {
        if message.starts_with(br#"{"msg":"connected""#) {
            assert!(!self.is_connected);
            self.is_connected = true;
        } else if message == br#"{"msg":"ping"}"#
            && let Some(socket) = &mut self.socket
        {
            // It fails if the server has closed meanwhile, which will be read.
            drop(socket.write_all(&frame(r#"{"msg":"pong"}"#)));
        }
    }

    fn end(&mut self, code: u16) {
        self.closed.push(code);
        self.socket = None;
        self.is_connected = false;
    }
}

/// A message in a frame, masked with zeros.
fn frame(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).expect("short");
    assert!(length <= 125);
    [&[0x81, 0x80 | length, 0, 0, 0, 0], text.as_bytes()].concat()
}

/// All clients, each with its server.
struct Clients(Vec<(Client, SocketAddr)>);

impl Clients {
    /// Looks after all of them until this holds, which is asked after each pass.
    fn run(&mut self, limit: Duration, mut is_done: impl FnMut(&[(Client, SocketAddr)]) -> bool) {
        let end = Instant::now() + limit;
        while !is_done(&self.0) {
            assert!(Instant::now() < end, "not in time: {}", self.describe());
            let mut opened = 0;
            for (number, (client, server)) in self.0.iter_mut().enumerate() {
                if client.socket.is_none() && opened < AT_ONCE {
                    opened += 1;
                    let host = u8::try_from(2 + number / SHARE).expect("few addresses");
                    client.open(*server, Ipv4Addr::new(127, 0, 0, host));
                }
                client.look();
            }
            sleep(Duration::from_millis(10));
        }
    }

    /// How many are connected, and how often clients were closed with which codes.
    fn describe(&self) -> String {
        let connected = self.0.iter().filter(|(it, _)| it.is_connected).count();
        let mut codes = BTreeMap::<_, usize>::new();
        for (client, _) in &self.0 {
            *codes.entry(&client.closed[..]).or_default() += 1;
        }
        format!("{connected} connected; closed with {codes:?}")
    }
}

fn all_connected(clients: &[(Client, SocketAddr)]) -> bool {
    clients.iter().all(|(client, _)| client.is_connected)
}

/// Kills the app under so many clients and starts it again; how long it took from then on until all
/// of them were back.
fn restart(count: usize) -> Duration {
    // A process has a file for each of its sockets: the clients here, the app's end, and both in
    // the server between them.
    let files = updraft::raise_file_limit().expect("more files may be opened");
    let most = usize::try_from(files.saturating_sub(OTHER_FILES) / 2).unwrap_or(usize::MAX);
    let mut app = Example::start("fixture", &[]);
    let app_port = app.port().to_string();
    let mut servers = Vec::new();
    let mut clients = Clients(Vec::new());
    while clients.0.len() < count {
        let port = free_port();
        let mut command = Command::new(env!("CARGO_BIN_EXE_updraft"));
        command
            .args(["--meteor", &app.http_url()])
            .args(["--listen", &format!("127.0.0.1:{port}")]);
        servers.push(Process::start(&mut command, port));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let here = most.min(count - clients.0.len());
        let here = (0..here).map(|_| (Client::default(), address));
        clients.0.extend(here);
    }
    let limit = Duration::from_secs(300);
    clients.run(limit, all_connected);
    let killed = Instant::now();
    app.process().kill();
    drop(app);
    let back = thread::spawn(move || {
        sleep(AWAY);
        let app = Example::start("fixture", &[("PORT", &app_port)]);
        (app, Instant::now())
    });
    // Meanwhile clients are closed, and come back.
    let was_closed = |(client, _): &(Client, SocketAddr)| !client.closed.is_empty();
    clients.run(limit, |all| all.iter().all(was_closed));
    let told = killed.elapsed();
    clients.run(limit, |_| back.is_finished());
    let (_app, since) = back.join().expect("the app starts");
    let was_closed = |(client, _): &(Client, SocketAddr)| !client.closed.is_empty();
    clients.run(limit, |all| {
        all.iter().all(was_closed) && all_connected(all)
    });
    let took = since.elapsed();
    let is_closed_once = |(client, _): &(Client, SocketAddr)| client.closed == [1012];
    assert!(
        clients.0.iter().all(is_closed_once),
        "{}",
        clients.describe()
    );
    println!(
        "{count} clients of {} servers: all were closed {:.1} s after the app was killed, and back \
         {:.1} s after it listened again",
        servers.len(),
        told.as_secs_f32(),
        took.as_secs_f32()
    );
    took
}

#[test]
fn gateway_052_the_clients_of_the_binary_are_back_after_a_restart_of_the_app() {
    restart(200);
}

#[test]
#[ignore = "10,000 clients: run by cargo xtask soak"]
fn soak_gateway_052_ten_thousand_clients_are_back_a_minute_after_a_restart_of_the_app() {
    let took = restart(10_000);
    assert!(took <= Duration::from_secs(60), "{took:?}");
}
