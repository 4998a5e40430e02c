//! The WebSocket edge over real sockets: bytes that no client library would send, and what comes
//! back.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use updraft::prelude::*;
use updraft::{Builder, Handle, SockJs, SockJsConnection, Stats};
use updraft_test_support::client::{CONNECT, Client, PATIENCE};
use updraft_test_support::eventually;

use crate::common::serve;

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;
const TEXT_BEGINS: u8 = 0x01;
const CONTINUES: u8 = 0x00;
const ENDS: u8 = 0x80;

/// A connection on which any bytes can be sent.
struct Raw {
    socket: TcpStream,
    /// What has come and was not looked at.
    input: Vec<u8>,
}

/// A frame of the server: its first byte, and its payload as text.
type Frame = (u8, String);

impl Raw {
    fn open(address: SocketAddr) -> Self {
        Self::open_at(address, "/websocket")
    }

    fn open_at(address: SocketAddr, path: &str) -> Self {
        let mut socket = TcpStream::connect(address).expect("listens");
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
        socket.set_nodelay(true).expect("a socket");
        let headers = "Host: localhost\r\nConnection: Upgrade\r\n\
            Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        let request = format!("GET {path} HTTP/1.1\r\n{headers}");
        socket.write_all(request.as_bytes()).expect("writes");
        let mut raw = Self {
            socket,
            input: Vec::new(),
        };
        let end = |input: &[u8]| input.windows(4).position(|four| four == b"\r\n\r\n");
        while end(&raw.input).is_none() {
            assert!(raw.more(), "no answer to the handshake");
        }
        let head = end(&raw.input).expect("just found") + 4;
        assert!(raw.input.starts_with(b"HTTP/1.1 101 "), "refused");
        raw.input.drain(..head);
        raw
    }

    fn connected(address: SocketAddr) -> Self {
        let mut raw = Self::open(address);
        raw.send(&frame(TEXT, CONNECT));
        let (_, answer) = raw.frame().expect("an answer");
        assert!(answer.starts_with(r#"{"msg":"connected""#), "{answer}");
        raw
    }

    fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).expect("writes");
    }

    /// Reads on; `false` at the end of the connection, a reset included.
    fn more(&mut self) -> bool {
        let mut buffer = [0; 65536];
        match self.socket.read(&mut buffer) {
            Ok(0) => false,
            Ok(count) => {
                self.input.extend_from_slice(&buffer[..count]);
                true
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("nothing came: {error}"),
        }
    }

    /// The next frame, or the end.
    fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some((frame, len)) = parse(&self.input) {
                self.input.drain(..len);
                return Some(frame);
            }
            if !self.more() {
                assert!(self.input.is_empty(), "it ended inside a frame");
                return None;
            }
        }
    }

    #[track_caller]
    fn expect(&mut self, first: u8, payload: &str) {
        assert_eq!(self.frame(), Some((first, payload.to_owned())));
    }

    /// The server must close with this code, and then let go.
    #[track_caller]
    fn expect_close(&mut self, code: u16) {
        let (first, payload) = self.frame().expect("a close frame");
        assert_eq!(
            (first, payload.get(..4)),
            (CLOSE, Some(&*format!("{code}"))),
            "{payload}"
        );
        assert_eq!(self.frame(), None, "after the close frame");
        // Fails when the server has let go already.
        drop(self.socket.shutdown(Shutdown::Both));
    }
}

/// The frame at the start of `bytes`, and its whole length. The code of a close frame is shown as a
/// number.
fn parse(bytes: &[u8]) -> Option<(Frame, usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    assert_eq!(second & 0x80, 0, "a server masks nothing");
    let (len, head) = match second {
        126 => (
            usize::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?)),
            4,
        ),
        127 => (
            u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?)
                .try_into()
                .ok()?,
            10,
        ),
        short => (usize::from(short), 2),
    };
    let payload = bytes.get(head..head + len)?;
    let shown = match (first, payload) {
        (CLOSE, [high, low, reason @ ..]) => {
            let code = u16::from_be_bytes([*high, *low]);
            format!("{code} {}", String::from_utf8_lossy(reason))
        }
        _ => String::from_utf8(payload.to_vec()).expect("text"),
    };
    Some(((first, shown), head + len))
}

fn header(first: u8, len: usize) -> Vec<u8> {
    let mut out = vec![first];
    if let Ok(short @ 0..=125) = u8::try_from(len) {
        out.push(0x80 | short);
    } else if let Ok(medium) = u16::try_from(len) {
        out.push(0xfe);
        out.extend_from_slice(&medium.to_be_bytes());
    } else {
        out.push(0xff);
        out.extend_from_slice(&(len as u64).to_be_bytes());
    }
    // A mask of zeroes is one.
    out.extend_from_slice(&[0; 4]);
    out
}

fn frame(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let mut out = header(first, payload.as_ref().len());
    out.extend_from_slice(payload.as_ref());
    out
}

fn ping_of(id: &str) -> String {
    format!(r#"{{"msg":"ping","id":"{id}"}}"#)
}

fn pong_of(id: &str) -> String {
    format!(r#"{{"msg":"pong","id":"{id}"}}"#)
}

fn nothing_is_left(handle: &Handle) {
    eventually("nothing is left", || {
        let stats = handle.stats();
        (
            stats.connections,
            stats.sessions,
            stats.tasks,
            stats.queued_bytes,
        ) == (0, 0, 0, 0)
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn autobahn_1_5_10_messages_are_echoed_however_they_are_framed() {
    let (address, handle) =
        serve(Server::builder().configure(|settings| settings.sessions.bounds.name = 1 << 20))
            .await;
    let mut raw = Raw::connected(address);
    for len in [0, 1, 125, 126, 127, 128, 65535, 65536] {
        let id = "*".repeat(len);
        for first in [TEXT, BINARY] {
            raw.send(&frame(first, ping_of(&id)));
            raw.expect(TEXT, &pong_of(&id));
        }
        // Chopped writes, and fragments of 1300 bytes with pings between.
        let whole = frame(TEXT, ping_of(&id));
        whole.chunks(997).for_each(|chunk| raw.send(chunk));
        raw.expect(TEXT, &pong_of(&id));
        raw.send(&frame(TEXT_BEGINS, ""));
        for piece in ping_of(&id).as_bytes().chunks(1300) {
            raw.send(&frame(CONTINUES, piece));
        }
        raw.send(&frame(PING, "between"));
        raw.expect(PONG, "between");
        raw.send(&frame(ENDS, ""));
        raw.expect(TEXT, &pong_of(&id));
    }
    raw.send(&frame(CLOSE, 1000_u16.to_be_bytes()));
    raw.expect_close(1000);
    nothing_is_left(&handle);
}

#[tokio::test(flavor = "multi_thread")]
async fn autobahn_2_row_026_027_pings_are_answered_in_order() {
    let (address, handle) = serve(Server::builder()).await;
    let mut raw = Raw::connected(address);
    let ten: Vec<String> = (0..10).map(|n| format!("payload-{n}")).collect();
    let bytes: Vec<u8> = ten
        .iter()
        .flat_map(|payload| frame(PING, payload))
        .collect();
    raw.send(&frame(PONG, "unasked"));
    raw.send(&bytes);
    ten.iter().for_each(|payload| raw.expect(PONG, payload));
    bytes.chunks(3).for_each(|chunk| raw.send(chunk));
    ten.iter().for_each(|payload| raw.expect(PONG, payload));
    let longest = "p".repeat(125);
    raw.send(&frame(PING, &longest));
    raw.expect(PONG, &longest);
    // Of very many at once the latest is answered, but not all.
    let many: Vec<u8> = (0..500).flat_map(|n| frame(PING, n.to_string())).collect();
    raw.send(&many);
    let mut answered = 0;
    loop {
        let (first, payload) = raw.frame().expect("pongs");
        assert_eq!(first, PONG);
        answered += 1;
        if payload == "499" {
            break;
        }
    }
    assert!(answered < 500, "{answered}");
    drop(raw);
    nothing_is_left(&handle);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_025_026_deviation_007_a_flood_of_small_frames_closes_with_1008() {
    let limited = Server::builder().configure(|settings| {
        settings.clients.small_frames.frames = 50;
        settings.clients.small_frames.within = Duration::from_secs(60);
    });
    let (address, handle) = serve(limited).await;
    for first in [PING, PONG] {
        let mut raw = Raw::connected(address);
        raw.send(&frame(first, "").repeat(51));
        while let Some((PONG, _)) = parse(&raw.input).map(|(frame, _)| frame).or_else(|| {
            raw.more();
            parse(&raw.input).map(|(frame, _)| frame)
        }) {
            raw.frame();
        }
        raw.expect_close(1008);
    }
    let mut raw = Raw::connected(address);
    raw.send(&frame(TEXT_BEGINS, "{"));
    raw.send(&frame(CONTINUES, " ").repeat(50));
    raw.expect_close(1008);
    nothing_is_left(&handle);
    // What is allowed by default does no harm.
    let (address, _handle) = serve(Server::builder()).await;
    let mut raw = Raw::connected(address);
    raw.send(&frame(TEXT_BEGINS, ""));
    raw.send(&frame(CONTINUES, " ").repeat(900));
    raw.send(&frame(ENDS, ping_of("x")));
    raw.expect(TEXT, &pong_of("x"));
}

#[tokio::test(flavor = "multi_thread")]
async fn autobahn_3_to_7_row_022_023_028_030_violations_close_and_the_rest_is_kept() {
    let close = |payload: &[u8]| frame(CLOSE, payload);
    let cases: Vec<(Vec<u8>, u16)> = vec![
        (vec![TEXT, 1, b'x'], 1002),
        (frame(TEXT | 0x40, "reserved bit"), 1002),
        (frame(0x83, "reserved opcode"), 1002),
        (frame(0x8b, "reserved control opcode"), 1002),
        (frame(0x09, "fragmented ping"), 1002),
        (frame(PING, "p".repeat(126)), 1002),
        (frame(ENDS, "continues nothing"), 1002),
        ([frame(TEXT_BEGINS, "a"), frame(TEXT, "b")].concat(), 1002),
        (frame(TEXT, b"\xce\xba\xed\xa0\x80"), 1007),
        (
            [frame(TEXT_BEGINS, b"\xce"), frame(ENDS, "x")].concat(),
            1007,
        ),
        (frame(BINARY, b"\xff"), 1003),
        (close(&[]), 1000),
        (close(&[3]), 1002),
        (close(b"\x03\xe9going"), 1001),
        (close(b"\x0f\xa0own"), 4000),
        (close(b"\x03\xe8\xff"), 1007),
        (close(&999_u16.to_be_bytes()), 1002),
        (close(&1005_u16.to_be_bytes()), 1002),
        (close(&1006_u16.to_be_bytes()), 1002),
        (close(&1015_u16.to_be_bytes()), 1002),
    ];
    let (address, handle) = serve(Server::builder()).await;
    for (bytes, code) in cases {
        // What came before it in the same read is still answered.
        let mut raw = Raw::connected(address);
        raw.send(&[frame(TEXT, ping_of("before")), bytes].concat());
        raw.expect(TEXT, &pong_of("before"));
        raw.expect_close(code);
    }
    nothing_is_left(&handle);
}

#[tokio::test(flavor = "multi_thread")]
async fn autobahn_7_row_029_what_follows_a_close_frame_is_ignored() {
    let (address, handle) = serve(Server::builder()).await;
    let mut raw = Raw::connected(address);
    let after = [
        frame(CLOSE, 1000_u16.to_be_bytes()),
        frame(TEXT, ping_of("late")),
        frame(PING, "late"),
        frame(CLOSE, 1001_u16.to_be_bytes()),
        vec![0xff; 100],
    ];
    raw.send(&after.concat());
    raw.expect_close(1000);
    // The server keeps its half only as long as its peer may need to say goodbye.
    drop(raw);
    nothing_is_left(&handle);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_024_deviation_005_a_size_is_judged_by_its_header() {
    let (address, handle) =
        serve(Server::builder().configure(|settings| settings.sessions.bounds.name = 1 << 20))
            .await;
    let mut early = Raw::open(address);
    early.send(&header(TEXT, 64 * 1024 + 1));
    early.expect_close(1009);
    let mut late = Raw::connected(address);
    late.send(&header(TEXT, 4 * 1024 * 1024 + 1));
    late.expect_close(1009);
    // The first message may be followed by a larger one at once.
    let mut eager = Raw::open(address);
    let id = "x".repeat(100_000);
    eager.send(&[frame(TEXT, CONNECT), frame(TEXT, ping_of(&id))].concat());
    assert!(eager.frame().expect("an answer").1.contains("connected"));
    eager.expect(TEXT, &pong_of(&id));
    drop(eager);
    nothing_is_left(&handle);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_031_a_silent_peer_is_pinged_and_then_closed() {
    let beat = Duration::from_millis(200);
    let (address, handle) = serve(Server::builder().configure(|settings| {
        settings.sessions.heartbeat_interval = beat;
        settings.sessions.heartbeat_timeout = beat;
    }))
    .await;
    let mut raw = Raw::connected(address);
    raw.expect(TEXT, r#"{"msg":"ping"}"#);
    raw.send(&frame(TEXT, r#"{"msg":"pong"}"#));
    raw.expect(TEXT, r#"{"msg":"ping"}"#);
    // From here on as if the cable were cut.
    raw.expect_close(1000);
    nothing_is_left(&handle);
}

/// Longer than any test.
const NEVER: Duration = Duration::from_secs(24 * 3600);

/// A time that is over soon.
const SOON: Duration = Duration::from_millis(100);

/// A client of the version that knows no heartbeats, which has subscribed to something.
fn old_client(address: SocketAddr) -> Raw {
    let mut raw = Raw::open(address);
    let connect = r#"{"msg":"connect","version":"pre1","support":["pre1"]}"#;
    raw.send(&frame(TEXT, connect));
    raw.frame().expect("an answer");
    raw.send(&frame(
        TEXT,
        r#"{"msg":"sub","id":"s","name":"silent","params":[]}"#,
    ));
    loop {
        match raw.frame().expect("an answer") {
            (PING, _) => raw.send(&frame(PONG, "")),
            (_, ready) => {
                assert_eq!(ready, r#"{"msg":"ready","subs":["s"]}"#);
                return raw;
            }
        }
    }
}

fn silent() -> Builder {
    Server::builder().publish("silent", async |_: Subscription| Ok(()))
}

#[tokio::test(flavor = "multi_thread")]
async fn found_105_a_client_without_heartbeats_that_has_stopped_is_gone() {
    let (address, handle) = serve(silent().configure(|settings| {
        settings.clients.silence.interval = 5 * SOON;
        settings.clients.silence.timeout = 5 * SOON;
    }))
    .await;
    let mut raw = old_client(address);
    raw.expect(PING, "");
    // As if it were stopped: its machine takes what comes.
    eventually("it is gone", || handle.stats().subscriptions == 0);
    raw.expect_close(1000);
    nothing_is_left(&handle);
}

#[tokio::test(flavor = "multi_thread")]
async fn found_105_a_client_without_heartbeats_that_answers_stays() {
    let (address, handle) = serve(silent().configure(|settings| {
        settings.clients.silence.interval = SOON;
        settings.clients.silence.timeout = NEVER;
    }))
    .await;
    let mut raw = old_client(address);
    // Whatever it says is a sign of life; the next ping comes after one only.
    for sign in [frame(PONG, ""), frame(TEXT, "{}"), frame(PING, "")] {
        raw.expect(PING, "");
        raw.send(&sign);
        match sign.first() {
            Some(&TEXT) => drop(raw.frame().expect("an error")),
            Some(&PING) => raw.expect(PONG, ""),
            _ => {}
        }
    }
    raw.expect(PING, "");
    assert_eq!(handle.stats().subscriptions, 1);
    drop(raw);
    nothing_is_left(&handle);
}

#[tokio::test(flavor = "multi_thread")]
async fn found_105_where_heartbeats_are_off_a_client_that_has_stopped_is_gone() {
    let builder = silent().configure(|settings| {
        settings.sessions.heartbeat_interval = Duration::ZERO;
        settings.sessions.heartbeat_timeout = Duration::ZERO;
    });
    let (address, handle) = serve(builder.configure(|settings| {
        settings.clients.silence.interval = SOON;
        settings.clients.silence.timeout = SOON;
    }))
    .await;
    let mut raw = Raw::connected(address);
    raw.expect(PING, "");
    raw.expect_close(1000);
    nothing_is_left(&handle);
}

#[tokio::test(flavor = "multi_thread")]
async fn found_105_a_client_with_heartbeats_is_not_asked_twice() {
    let builder = silent().configure(|settings| {
        settings.clients.silence.interval = Duration::from_millis(1);
        settings.clients.silence.timeout = NEVER;
    });
    let (address, handle) = serve(builder.configure(|settings| {
        settings.sessions.heartbeat_interval = 2 * SOON;
        settings.sessions.heartbeat_timeout = NEVER;
    }))
    .await;
    let mut raw = Raw::connected(address);
    raw.expect(TEXT, r#"{"msg":"ping"}"#);
    drop(raw);
    nothing_is_left(&handle);
}

#[tokio::test(flavor = "multi_thread")]
async fn found_105_a_stream_whose_client_has_stopped_ends() {
    let echo = async |mut connection: SockJsConnection| while connection.recv().await.is_some() {};
    let builder = Server::builder().sockjs_service(SockJs::at("/echo"), echo);
    let (address, handle) = serve(builder.configure(|settings| {
        settings.clients.silence.interval = SOON;
        settings.clients.silence.timeout = SOON;
    }))
    .await;
    let mut raw = Raw::open_at(address, "/echo/websocket");
    raw.expect(PING, "");
    raw.expect_close(1000);
    nothing_is_left(&handle);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_032_a_client_that_has_finished_sending_gets_its_answers() {
    let (address, handle) =
        serve(Server::builder().configure(|settings| settings.sessions.bounds.name = 1 << 20))
            .await;
    let mut raw = Raw::open(address);
    let id = "x".repeat(50_000);
    let mut bytes = frame(TEXT, CONNECT);
    for _ in 0..15 {
        bytes.extend(frame(TEXT, ping_of(&id)));
    }
    raw.send(&bytes);
    raw.socket.shutdown(Shutdown::Write).expect("a socket");
    assert!(raw.frame().expect("an answer").1.contains("connected"));
    for _ in 0..15 {
        raw.expect(TEXT, &pong_of(&id));
    }
    raw.expect_close(1000);
    nothing_is_left(&handle);
    // With a close frame before it, the answer to that is not lost either.
    let mut raw = Raw::connected(address);
    raw.send(&frame(CLOSE, 1001_u16.to_be_bytes()));
    raw.socket.shutdown(Shutdown::Write).expect("a socket");
    raw.expect_close(1001);
    nothing_is_left(&handle);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_033_a_reset_in_the_middle_of_a_frame_leaves_nothing() {
    let quiet = |subscription: Subscription| async move {
        subscription.hold_ready();
        Ok(())
    };
    let (address, handle) = serve(Server::builder().publish("quiet", quiet)).await;
    for _ in 0..20 {
        let mut raw = Raw::connected(address);
        raw.send(&frame(TEXT, r#"{"msg":"sub","id":"1","name":"quiet"}"#));
        let mut cut = frame(TEXT, ping_of(&"x".repeat(100_000)));
        cut.truncate(70_000);
        raw.send(&cut);
        let here = handle.clone();
        eventually("it has arrived", || here.stats().queued_bytes >= 70_000);
        let socket = socket2::SockRef::from(&raw.socket);
        socket.set_linger(Some(Duration::ZERO)).expect("a socket");
        drop(raw);
        eventually("nothing is left", || handle.stats() == Stats::default());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_036_deviation_009_a_client_that_does_not_connect_is_closed() {
    let timeout = Duration::from_millis(300);
    let (address, handle) =
        serve(Server::builder().configure(|settings| settings.sessions.connect_timeout = timeout))
            .await;
    let mut silent = Raw::open(address);
    let mut chatty = Raw::open(address);
    chatty.send(&frame(TEXT, ping_of("x")));
    let (_, complaint) = chatty.frame().expect("an answer");
    assert!(complaint.contains("Must connect first"), "{complaint}");
    let mut good = Raw::connected(address);
    silent.expect_close(1000);
    chatty.expect_close(1000);
    good.send(&frame(TEXT, ping_of("still here")));
    good.expect(TEXT, &pong_of("still here"));
    drop(good);
    nothing_is_left(&handle);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_never_lets_go_is_reset() {
    let timeout = Duration::from_millis(300);
    let (address, handle) =
        serve(Server::builder().configure(|settings| settings.clients.close_timeout = timeout))
            .await;
    let mut raw = Raw::connected(address);
    raw.send(&frame(CLOSE, ""));
    // It reads the answer, and says nothing more.
    raw.expect(CLOSE, "1000 ");
    assert_eq!(raw.frame(), None);
    nothing_is_left(&handle);
    let mut byte = [0];
    eventually("reset", || raw.socket.write(&[0]).is_err());
    assert!(raw.socket.read(&mut byte).is_ok_and(|count| count == 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_without_end_does_not_hold_up_others() {
    let one = std::num::NonZero::new(1).expect("one");
    let (address, handle) =
        serve(Server::builder().configure(|settings| settings.shards = Some(one))).await;
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut raw = Raw::connected(address);
                let pongs = frame(TEXT, r#"{"msg":"pong"}"#).repeat(5000);
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    raw.send(&pongs);
                }
            });
        }
        let (mut client, _) = Client::ddp_connect(&format!("ws://{address}/websocket"));
        for number in 0..5 {
            client.send_text(&ping_of(&number.to_string()));
            client.expect_text(&pong_of(&number.to_string()));
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        client.close();
    });
    nothing_is_left(&handle);
}
