//! Clients over TLS: the same conversations, the same bounds, and what only TLS has: handshakes and
//! certificates.

#![allow(
    clippy::disallowed_methods,
    reason = "a test measures how long a handshake has"
)]

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use rustls::version::TLS12;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, StreamOwned};
use socket2::{Domain, Socket, Type};
use updraft::prelude::*;
use updraft::{AddressSource, Builder, SockJs, Tls, TrustedProxies};
use updraft_test_support::client::{CONNECT, Client, PATIENCE};
use updraft_test_support::eventually;
use updraft_test_support::process::{Process, free_port};
use updraft_test_support::redis::RedisServer;
use updraft_test_support::stream::{certificate, config, config_with};
use updraft_test_support::transcript::Received;
use updraft_test_support::transport::{Transport, Way};

use crate::common::Running;

/// How long something may take that is a lot of work.
const LONG: Duration = Duration::from_secs(30);

fn tls() -> Tls {
    Tls::from_pem_files(certificate("valid.pem"), certificate("key.pem")).unwrap()
}

async fn echo(_: Call, text: String) -> Result<String> {
    Ok(text)
}

/// A server with a publication that relays the channel it is told, and a method that answers with
/// its argument.
fn builder() -> Builder {
    let relay = |vent: Vent, channel: String| async move { vent.relay(channel![channel]).await };
    let shards = NonZero::new(2).unwrap();
    let builder = Server::builder()
        .configure(|settings| settings.shards = Some(shards))
        .tls(tls());
    // Polling clients leave without a word.
    let sockjs = SockJs::meteor().disconnect_delay(Duration::from_secs(1));
    let builder = builder.sockjs(sockjs);
    builder.vent("relay", relay).method("echo", echo)
}

fn start(builder: Builder) -> Running {
    Running::start(builder)
}

fn url(server: &Running) -> String {
    server.url().replace("ws:", "wss:")
}

/// Such as `127.0.0.1:3000`.
fn host(server: &Running) -> String {
    let url = server.url().strip_prefix("ws://").unwrap();
    url.strip_suffix("/websocket").unwrap().to_owned()
}

fn text(client: &mut dyn Transport) -> String {
    match client.receive(LONG) {
        Some(Received::Text(text)) => text,
        other => panic!("no message, but {other:?}"),
    }
}

/// Introduces a client, and has it follow the channel `c`.
fn follow(client: &mut dyn Transport) {
    client.send_text(CONNECT).unwrap();
    assert!(text(client).starts_with(r#"{"msg":"connected""#));
    client
        .send_text(r#"{"msg":"sub","id":"s","name":"relay","params":["vent.v","c"]}"#)
        .unwrap();
    assert!(text(client).starts_with(r#"{"msg":"added""#));
    assert_eq!(text(client), r#"{"msg":"ready","subs":["s"]}"#);
}

fn event(value: &str) -> String {
    format!(r#"{{"msg":"changed","collection":"vent.v","id":"id","fields":{{"event":{value}}}}}"#)
}

fn is_well(server: &Running) {
    let (mut client, _) = Client::ddp_connect(&url(server));
    client.send_text(r#"{"msg":"ping","id":"well"}"#);
    client.expect_text(r#"{"msg":"pong","id":"well"}"#);
    client.close();
}

/// Begins TLS as it is told.
fn handshake(server: &Running, config: &Arc<ClientConfig>) -> std::io::Result<Box<TlsClient>> {
    let mut tcp = TcpStream::connect(host(server))?;
    tcp.set_read_timeout(Some(PATIENCE))?;
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let mut connection = ClientConnection::new(config.clone(), name).unwrap();
    while connection.is_handshaking() {
        connection.complete_io(&mut tcp)?;
    }
    Ok(Box::new(StreamOwned::new(connection, tcp)))
}

type TlsClient = StreamOwned<ClientConnection, TcpStream>;

/// A request for a raw WebSocket.
fn request(server: &Running) -> String {
    format!(
        "GET /websocket HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        host(server)
    )
}

/// A message as a client sends it, under a mask of zeros.
fn frame(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).unwrap();
    assert!(length < 126);
    let header = [0x81, 0x80 | length, 0, 0, 0, 0];
    [&header, text.as_bytes()].concat()
}

/// Reads until something has come.
fn read_until(stream: &mut impl Read, wanted: &str) -> String {
    let mut got = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer) {
            Ok(0) => panic!("the end, after {}", String::from_utf8_lossy(&got)),
            Ok(count) => got.extend_from_slice(&buffer[..count]),
            Err(error) => panic!("{error}, after {}", String::from_utf8_lossy(&got)),
        }
        let text = String::from_utf8_lossy(&got);
        if text.contains(wanted) {
            return text.into_owned();
        }
    }
}

/// Whether the server has ended a connection, on which it may have said why.
fn is_closed(tcp: &mut TcpStream) -> bool {
    tcp.set_read_timeout(Some(LONG)).unwrap();
    let mut rest = Vec::new();
    match tcp.read_to_end(&mut rest) {
        Ok(_) => rest.len() < 100,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

#[test]
fn seed_061_every_transport_speaks_over_tls() {
    let server = start(builder());
    for way in Way::ALL {
        let mut client = way.connect(&url(&server)).unwrap();
        follow(&mut *client);
        server.emit("c", "hi");
        assert_eq!(text(&mut *client), event(r#""hi""#), "{}", way.name());
        client.close();
    }
}

#[test]
fn a_large_message_passes_both_ways() {
    let server = start(builder());
    for (way, bytes) in [
        (Way::Raw, 3_500_000),
        (Way::SockJsWebSocket, 3_500_000),
        (Way::XhrPolling, 900_000),
    ] {
        let mut client = way.connect(&url(&server)).unwrap();
        client.send_text(CONNECT).unwrap();
        assert!(text(&mut *client).starts_with(r#"{"msg":"connected""#));
        let large: String = ('a'..='z').cycle().take(bytes).collect();
        let call = format!(r#"{{"msg":"method","id":"1","method":"echo","params":["{large}"]}}"#);
        client.send_text(&call).unwrap();
        let (one, other) = (text(&mut *client), text(&mut *client));
        let result = format!(r#"{{"msg":"result","id":"1","result":"{large}"}}"#);
        let is_there = one == result || other == result;
        assert!(
            is_there,
            "{} of {} and {}",
            way.name(),
            one.len(),
            other.len()
        );
        client.close();
    }
}

#[test]
fn ten_thousand_events_arrive_in_their_order() {
    let server = start(builder());
    let mut clients: Vec<_> = [Way::Raw, Way::SockJsWebSocket, Way::XhrPolling]
        .map(|way| way.connect(&url(&server)).unwrap())
        .into();
    clients.iter_mut().for_each(|it| follow(&mut **it));
    for number in 1..=10_000 {
        server.emit("c", number);
    }
    for mut client in clients {
        for number in 1..=10_000 {
            assert_eq!(text(&mut *client), event(&number.to_string()));
        }
        client.close();
    }
}

#[test]
fn row_034_deviation_028_a_client_that_does_not_read_is_closed_with_1013() {
    let timeout = Duration::from_secs(1);
    let server = start(builder().configure(|settings| {
        settings.listener.send_buffer = 16 * 1024;
        settings.clients.output_timeout = timeout;
    }));
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(8 * 1024).unwrap();
    let address: std::net::SocketAddr = host(&server).parse().unwrap();
    socket.connect(&address.into()).unwrap();
    let mut slow = Client::over(socket.into(), &url(&server)).unwrap();
    let mut healthy = Client::connect(&url(&server));
    follow(&mut slow);
    follow(&mut healthy);
    let event = |number: usize| event(&format!(r#"[{number},"{}"]"#, "x".repeat(50_000)));
    let mut sent = 0;
    while server.stats().slow_clients == 0 {
        server.emit("c", ejson!([sent, "x".repeat(50_000)]));
        assert_eq!(text(&mut healthy), event(sent));
        sent += 1;
        if sent == 15 {
            eventually("what it does not take is counted", || {
                server.stats().queued_bytes > 500_000
            });
        }
    }
    assert!(sent > 20, "only {sent} events of 50 kB filled a MiB");
    let mut next = 0;
    loop {
        match slow.receive(LONG) {
            Some(Received::Text(text)) => {
                assert_eq!(text, event(next));
                next += 1;
            }
            Some(Received::Close { code, reason }) => {
                assert_eq!((code, &*reason), (1013, "Slow consumer"));
                break;
            }
            other => panic!("not closed, but {other:?}"),
        }
    }
    assert!(next + 15 < sent, "the queue was dropped: {next} of {sent}");
    healthy.close();
    drop(slow);
    eventually("nothing is queued", || server.stats().queued_bytes == 0);
}

#[test]
fn a_session_is_resumed_over_tls() {
    let server = Running::start_resumable(builder());
    for _ in 0..8 {
        let (mut client, session) = Client::ddp_connect(&url(&server));
        client.send_text(r#"{"msg":"sub","id":"s","name":"relay","params":["vent.v","c"]}"#);
        client.expect_text(r#"{"msg":"added","collection":"vent.v","id":"id","fields":{}}"#);
        client.expect_text(r#"{"msg":"ready","subs":["s"]}"#);
        client.reset();
        eventually("it waits", || server.stats().parked_sessions == 1);
        server.emit("c", "meanwhile");
        // Its connection comes to either shard, and is moved to that of the session.
        let mut client = Client::connect(&url(&server));
        // It has received `connected`, `added` and `ready`.
        let past = format!(r#","session":"{session}","receivedCount":3}}"#);
        client.send_text(&CONNECT.replace('}', &past));
        client.expect_text(&format!(r#"{{"msg":"connected","session":"{session}"}}"#));
        client.expect_text(&event(r#""meanwhile""#));
        client.send_text(r#"{"msg":"disconnect"}"#);
        client.close();
        eventually("it is gone", || server.stats().sessions == 0);
    }
}

#[test]
fn what_comes_right_behind_the_handshake_is_read() {
    let server = start(builder());
    let mut client = handshake(&server, &Arc::new(config())).unwrap();
    let ping = |id: usize| frame(&format!(r#"{{"msg":"ping","id":"{id}"}}"#));
    let mut hasty = request(&server).into_bytes();
    hasty.extend(frame(CONNECT));
    // Slightly more than HTTP reads at most, and all of it read by TLS: the socket says nothing of
    // the rest.
    hasty.extend((1..550).flat_map(ping));
    client.conn.writer().write_all(&hasty).unwrap();
    // A record of its own.
    client.conn.writer().write_all(&ping(550)).unwrap();
    while client.conn.wants_write() {
        client.conn.write_tls(&mut client.sock).unwrap();
    }
    let got = read_until(&mut *client, r#"{"msg":"pong","id":"550"}"#);
    for id in 1..550 {
        assert!(got.contains(&format!(r#"{{"msg":"pong","id":"{id}"}}"#)));
    }
}

#[test]
fn keys_are_renewed_and_the_end_is_said() {
    let server = start(builder());
    let mut client = handshake(&server, &Arc::new(config())).unwrap();
    client.write_all(request(&server).as_bytes()).unwrap();
    read_until(&mut *client, "\r\n\r\n");
    client.write_all(&frame(CONNECT)).unwrap();
    read_until(&mut *client, "connected");
    for round in 0..3 {
        client.conn.refresh_traffic_keys().unwrap();
        let ping = format!(r#"{{"msg":"ping","id":"{round}"}}"#);
        client.write_all(&frame(&ping)).unwrap();
        read_until(&mut *client, &ping.replace("ping", "pong"));
    }
    // A close frame, without a code.
    client.write_all(&[0x88, 0x80, 0, 0, 0, 0]).unwrap();
    let mut rest = Vec::new();
    let ended = client.read_to_end(&mut rest);
    // Without the farewell of TLS this would be an unexpected end.
    assert_eq!(ended.map_err(|error| error.kind()), Ok(rest.len()));
}

#[test]
fn clients_agree_on_http_1_and_come_back_with_a_ticket() {
    let server = start(builder());
    let mut offers = config();
    offers.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let offers = Arc::new(offers);
    for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let mut client = handshake(&server, &offers).unwrap();
        assert_eq!(client.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
        assert_eq!(client.conn.handshake_kind(), Some(kind));
        // With the answer come tickets.
        client.write_all(request(&server).as_bytes()).unwrap();
        read_until(&mut *client, "101 Switching Protocols");
    }
    let mut other = config();
    other.alpn_protocols = vec![b"h2".to_vec()];
    assert!(handshake(&server, &Arc::new(other)).is_err());
}

#[test]
fn older_clients_speak_tls_1_2() {
    let server = start(builder());
    let older = Arc::new(config_with(&[&TLS12]));
    for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let mut client = handshake(&server, &older).unwrap();
        assert_eq!(
            client.conn.protocol_version(),
            Some(ProtocolVersion::TLSv1_2)
        );
        assert_eq!(client.conn.handshake_kind(), Some(kind));
        client.write_all(request(&server).as_bytes()).unwrap();
        read_until(&mut *client, "101 Switching Protocols");
        client.write_all(&frame(CONNECT)).unwrap();
        read_until(&mut *client, "connected");
    }
}

#[test]
fn row_014_a_handshake_that_does_not_end_is_closed() {
    let timeout = Duration::from_secs(1);
    let server = start(builder().configure(|settings| settings.tls.handshake_timeout = timeout));
    let began = Instant::now();
    let mut silent = TcpStream::connect(host(&server)).unwrap();
    let mut stalled = TcpStream::connect(host(&server)).unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let mut hello = Vec::new();
    let mut connection = ClientConnection::new(Arc::new(config()), name).unwrap();
    connection.write_tls(&mut hello).unwrap();
    // Byte by byte: what counts is the end, not that something moves.
    for byte in hello.iter().take(150) {
        if server.stats().failed_handshakes == 2 || stalled.write_all(&[*byte]).is_err() {
            break;
        }
        std::thread::sleep(timeout / 50);
    }
    assert!(is_closed(&mut silent));
    assert!(is_closed(&mut stalled));
    assert!(began.elapsed() >= timeout);
    eventually("both are counted", || server.stats().failed_handshakes == 2);
    is_well(&server);
}

#[test]
fn row_014_garbage_and_plain_http_are_closed_at_once() {
    let server = start(builder().configure(|settings| settings.tls.handshake_timeout = 10 * LONG));
    let garbage = [0xa5; 1000];
    let hello_of_nothing = [22, 3, 1, 0, 4, 1, 0, 0, 0];
    let plain = request(&server);
    for bytes in [&garbage[..], &hello_of_nothing, plain.as_bytes()] {
        let mut client = TcpStream::connect(host(&server)).unwrap();
        client.write_all(bytes).unwrap();
        assert!(is_closed(&mut client));
    }
    eventually("all are counted", || server.stats().failed_handshakes == 3);
    is_well(&server);
}

#[test]
fn row_014_what_is_no_record_ends_its_connection_only() {
    let server = start(builder());
    let (mut client, _) = Client::ddp_connect(&url(&server));
    let mut other = Client::connect(&url(&server));
    follow(&mut other);
    client.tcp().write_all(&[23, 3, 3, 0, 20, 1, 2, 3]).unwrap();
    client.tcp().write_all(&[0; 100]).unwrap();
    assert!(matches!(client.receive(LONG), Some(Received::Other(_))));
    drop(client);
    server.emit("c", "hi");
    other.expect_text(&event(r#""hi""#));
    other.close();
}

#[test]
fn row_014_a_shutdown_does_not_wait_for_a_handshake() {
    let server = start(builder().configure(|settings| settings.tls.handshake_timeout = 10 * LONG));
    let mut silent = TcpStream::connect(host(&server)).unwrap();
    eventually("it is taken", || server.stats().tasks > 0);
    server.wait(server.begin_shutdown(10 * LONG)).unwrap();
    assert!(is_closed(&mut silent));
}

/// A folder with a certificate and a key that may be replaced.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let this = Self(folder);
        this.put("valid.pem", "key.pem");
        this
    }

    fn put(&self, certificates: &str, key: &str) {
        for (from, to) in [(certificates, "certificates"), (key, "key")] {
            std::fs::copy(certificate(from), self.0.join(to)).unwrap();
        }
    }

    fn tls(&self) -> Result<Tls> {
        Tls::from_pem_files(self.0.join("certificates"), self.0.join("key"))
    }
}

/// Puts something into a folder that is of no use.
type Break = fn(&Folder);

/// Whether a new client is shown this certificate.
fn shows(server: &Running, name: &str) -> bool {
    let client = handshake(server, &Arc::new(config())).unwrap();
    let shown = client.conn.peer_certificates().unwrap();
    let expected = rustls::pki_types::CertificateDer::from_pem_file(certificate(name));
    *shown == [expected.unwrap()]
}

#[test]
fn row_015_a_broken_certificate_does_not_replace_a_good_one() {
    let folder = Folder::new("row_015_reload");
    let tls = folder.tls().unwrap();
    let builder = builder().configure(|settings| settings.tls.watch_interval = Duration::ZERO);
    let server = start(builder.tls(tls.clone()));
    let mut early = Client::connect(&url(&server));
    follow(&mut early);
    assert!(shows(&server, "valid.pem"));

    folder.put("other.pem", "other-key.pem");
    assert!(shows(&server, "valid.pem"));
    tls.reload().unwrap();
    assert!(shows(&server, "other.pem"));

    let broken: [(&str, Break); 4] = [
        ("together", |it| it.put("valid.pem", "other-key.pem")),
        ("no certificate", |it| it.put("key.pem", "key.pem")),
        ("key", |it| it.put("valid.pem", "valid.pem")),
        ("certificates", |it| {
            std::fs::remove_file(it.0.join("certificates")).unwrap()
        }),
    ];
    for (count, (said, break_it)) in (1..).zip(broken) {
        break_it(&folder);
        let error = tls.reload().unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
        assert!(error.contains("row_015_reload"), "{error}");
        assert_eq!(server.stats().failed_certificates, count);
        assert!(shows(&server, "other.pem"));
        assert!(folder.tls().is_err());
    }

    folder.put("valid.pem", "key.pem");
    tls.reload().unwrap();
    assert!(shows(&server, "valid.pem"));
    server.emit("c", "hi");
    early.expect_text(&event(r#""hi""#));
    early.close();
}

#[test]
fn row_015_replaced_files_are_noticed() {
    let folder = Folder::new("row_015_watch");
    let builder =
        builder().configure(|settings| settings.tls.watch_interval = Duration::from_millis(20));
    let server = start(builder.tls(folder.tls().unwrap()));
    folder.put("other.pem", "other-key.pem");
    eventually("the other is shown", || shows(&server, "other.pem"));
    let failed = server.stats().failed_certificates;
    // Each file is cut before it is written, and one is replaced before the other: a look in
    // between finds that.
    assert!(failed <= 3, "{failed}");
    std::fs::write(folder.0.join("certificates"), "broken").unwrap();
    eventually("it is noticed", || {
        server.stats().failed_certificates > failed
    });
    std::thread::sleep(Duration::from_millis(200));
    let again = server.stats().failed_certificates;
    // The file was cut before it was written, which may have been seen; but not at each look.
    assert!(again <= failed + 2, "{again}");
    assert!(shows(&server, "other.pem"));
    folder.put("valid.pem", "key.pem");
    eventually("the first is shown", || shows(&server, "valid.pem"));
}

#[test]
fn the_relay_speaks_tls() {
    let redis = RedisServer::start();
    let relay = |mut command: Command, port: u16, certificate: PathBuf, key: PathBuf| {
        command
            .args(["--redis", &redis.url()])
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .args(["--relay", "news=news"])
            .arg("--tls-cert")
            .arg(certificate)
            .arg("--tls-key")
            .arg(key);
        command
    };
    let port = free_port();
    let command = Command::new(env!("CARGO_BIN_EXE_updraft"));
    let mut command = relay(
        command,
        port,
        certificate("valid.pem"),
        certificate("key.pem"),
    );
    let _relay = Process::start(&mut command, port);
    let (mut client, _) = Client::ddp_connect(&format!("wss://127.0.0.1:{port}/websocket"));
    client.send_text(r#"{"msg":"sub","id":"S1","name":"news","params":["vent.1",{}]}"#);
    client.expect_text(r#"{"msg":"added","collection":"vent.1","id":"id","fields":{}}"#);
    client.expect_text(r#"{"msg":"ready","subs":["S1"]}"#);

    let mut bounded = Command::new("timeout");
    bounded.args(["60", env!("CARGO_BIN_EXE_updraft")]);
    let key = || certificate("key.pem");
    let mut broken = relay(bounded, free_port(), key(), key());
    let ended = broken.output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(!ended.status.success());
    assert!(said.contains("there is no certificate in it"), "{said}");
}

#[test]
fn found_113_the_relay_reads_its_certificate_again_when_it_is_told_to() {
    let redis = RedisServer::start();
    let port = free_port();
    let mut command = Command::new(env!("CARGO_BIN_EXE_updraft"));
    command
        .args(["--redis", &redis.url()])
        .args(["--listen", &format!("127.0.0.1:{port}")])
        .args(["--relay", "news=news"])
        .arg("--tls-cert")
        .arg(certificate("valid.pem"))
        .arg("--tls-key")
        .arg(certificate("key.pem"));
    let relay = Process::start(&mut command, port);
    let url = format!("wss://127.0.0.1:{port}/websocket");
    let (before, _) = Client::ddp_connect(&url);
    relay.signal("HUP");
    // Files that are the same are read again only when that is asked for.
    eventually("the files are read", || {
        relay.output().contains("The certificate was read again.")
    });
    before.close();
    Client::ddp_connect(&url).0.close();
}

#[test]
fn found_318_a_proxy_says_the_address_before_tls_begins() {
    let address = async |call: Call| {
        let address = call.connection().client_address();
        Ok::<_, Error>(address.map(|it| it.to_string()))
    };
    let server = start(builder().method("address", address).configure(|settings| {
        settings.trusted_proxies = TrustedProxies::Hops(1);
        settings.address_source = AddressSource::ProxyProtocol;
    }));
    let mut socket = TcpStream::connect(host(&server)).unwrap();
    socket
        .write_all(b"PROXY TCP6 2001:db8::1 ::1 4711 443\r\n")
        .unwrap();
    let mut client = Client::over(socket, &url(&server)).unwrap();
    client.send_text(CONNECT);
    client.expect_any_text();
    client.send_text(r#"{"msg":"method","id":"1","method":"address"}"#);
    let answers = [(); 2].map(|()| client.expect_any_text());
    let result = r#"{"msg":"result","id":"1","result":"2001:db8::1"}"#.to_owned();
    assert!(answers.contains(&result), "{answers:?}");
    client.close();
    assert!(
        Client::try_connect(&url(&server)).is_err(),
        "it begins with TLS"
    );
}
