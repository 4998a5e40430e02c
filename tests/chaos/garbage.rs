//! What a broken or hostile client sends: bytes for the wire, drawn at random from each kind that
//! is known to hurt servers.

use fastrand::Rng;

use crate::socket::{TEXT, frame, header};

/// How far a client behaves before it does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// Not even HTTP was spoken.
    Connecting,
    /// As a WebSocket without `connect`.
    Upgrading,
    /// In a session.
    Introduction,
}

/// Draws something to send, and when.
pub(crate) fn draw(rng: &mut Rng) -> (After, Vec<u8>) {
    let after = [After::Connecting, After::Upgrading, After::Introduction];
    let after = after[rng.usize(..after.len())];
    let kinds: &[fn(&mut Rng) -> Vec<u8>] = match after {
        After::Connecting => &[bytes, half_a_request, large_head],
        After::Upgrading | After::Introduction => &[
            bytes,
            broken_frame,
            length_that_nobody_has,
            fragments,
            pings,
            bad_text,
            bad_json,
            json_that_is_no_message,
            unknown_names,
            bad_parameters,
            mutated,
            large_message,
            close_and_more,
        ],
    };
    (after, kinds[rng.usize(..kinds.len())](rng))
}

fn bytes(rng: &mut Rng) -> Vec<u8> {
    let count = rng.usize(1..4096);
    (0..count).map(|_| rng.u8(..)).collect()
}

fn half_a_request(rng: &mut Rng) -> Vec<u8> {
    let request =
        b"GET /websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    request[..rng.usize(..request.len())].to_vec()
}

fn large_head(rng: &mut Rng) -> Vec<u8> {
    let mut request = b"GET /websocket HTTP/1.1\r\n".to_vec();
    for number in 0..rng.usize(..500) {
        request.extend_from_slice(format!("X-{number}: {}\r\n", "x".repeat(200)).as_bytes());
    }
    request
}

/// Reserved bits, unknown opcodes, control frames that are too long or fragmented, no mask.
fn broken_frame(rng: &mut Rng) -> Vec<u8> {
    match rng.u8(..4) {
        0 => b"\x81\x05hello".to_vec(),
        1 => frame(0x89, &[0; 126]),
        2 => frame(0x09, b"ping"),
        _ => frame(rng.u8(..) | 0x70, b"{}"),
    }
}

fn length_that_nobody_has(rng: &mut Rng) -> Vec<u8> {
    let mut frame = header(TEXT, rng.u64(5_000_000..));
    frame.extend(bytes(rng));
    frame
}

/// A message in pieces of one byte, that does not end.
fn fragments(rng: &mut Rng) -> Vec<u8> {
    let mut frames = frame(0x01, b"{");
    for _ in 0..rng.usize(..5000) {
        frames.extend(frame(0x00, b" "));
    }
    frames
}

fn pings(rng: &mut Rng) -> Vec<u8> {
    repeated(rng.usize(..2000), || frame(0x89, b"ping"))
}

fn bad_text(rng: &mut Rng) -> Vec<u8> {
    frame(TEXT, &bytes(rng))
}

fn bad_json(rng: &mut Rng) -> Vec<u8> {
    let texts = [
        "",
        "{",
        "nonsense",
        "{\"msg\":",
        "[1,",
        "\u{feff}{}",
        "{\"msg\":\"ping\"}x",
    ];
    let text = texts[rng.usize(..texts.len())];
    repeated(rng.usize(..300), || frame(TEXT, text.as_bytes()))
}

fn json_that_is_no_message(rng: &mut Rng) -> Vec<u8> {
    let nested = format!(
        r#"{{"msg":"method","id":"1","method":"x","params":[{}{}]}}"#,
        "[".repeat(20_000),
        "]".repeat(20_000)
    );
    let members: String = (0..20_000)
        .map(|number| format!(r#","k{number}":0"#))
        .collect();
    let wide = format!(r#"{{"msg":"ping"{members}}}"#);
    let texts = [
        "null",
        "1e400",
        "[]",
        "{}",
        r#"{"msg":null}"#,
        r#"{"msg":"constructor"}"#,
        r#"{"msg":"__proto__","id":{"$ne":null}}"#,
        r#"{"msg":"connect","version":"0","support":[]}"#,
        r#"{"msg":"sub","id":1,"name":[]}"#,
        r#"{"msg":"sub","id":"a"}"#,
        r#"{"msg":"unsub"}"#,
        r#"{"msg":"method","method":"\ud800","id":"\u0000","params":{}}"#,
        &nested,
        &wide,
    ];
    let text = texts[rng.usize(..texts.len())];
    repeated(rng.usize(1..10), || frame(TEXT, text.as_bytes()))
}

fn unknown_names(rng: &mut Rng) -> Vec<u8> {
    let mut frames = Vec::new();
    for number in 0..rng.usize(..1000) {
        let message = if rng.bool() {
            format!(r#"{{"msg":"sub","id":"{number}","name":"nothing","params":[]}}"#)
        } else {
            format!(r#"{{"msg":"method","id":"{number}","method":"nothing","params":[]}}"#)
        };
        frames.extend(frame(TEXT, message.as_bytes()));
    }
    frames
}

/// Publications that exist, with parameters that fit or do not, and no waiting for any answer.
fn bad_parameters(rng: &mut Rng) -> Vec<u8> {
    let mut frames = Vec::new();
    for number in 0..rng.usize(..400) {
        let name = ["relayed", "mapped", "shared", "awaited", "stream-rooms"][rng.usize(..5)];
        let vent = [r#""users""#, r#""vent""#, r#"{"$ne":null}"#, r#""""#][rng.usize(..4)];
        let room = [
            r#"{"room":1,"tag":"x"}"#,
            r#"{"room":-1}"#,
            "null",
            r#"{"$date":"x"}"#,
        ];
        let room = room[rng.usize(..room.len())];
        let message = match rng.u8(..3) {
            0 => format!(r#"{{"msg":"unsub","id":"{}"}}"#, rng.usize(..=number)),
            _ => format!(
                r#"{{"msg":"sub","id":"{number}","name":"{name}","params":[{vent},{room}]}}"#
            ),
        };
        frames.extend(frame(TEXT, message.as_bytes()));
    }
    frames
}

/// A message that is right, but for a few bytes.
fn mutated(rng: &mut Rng) -> Vec<u8> {
    let mut message =
        br#"{"msg":"sub","id":"s","name":"relayed","params":["vent",{"room":1,"tag":"s"}]}"#
            .to_vec();
    for _ in 0..rng.usize(1..4) {
        let at = rng.usize(..message.len());
        message[at] = rng.u8(b' '..b'~');
    }
    frame(TEXT, &message)
}

fn large_message(rng: &mut Rng) -> Vec<u8> {
    frame(TEXT, "x".repeat(rng.usize(..2 * 1024 * 1024)).as_bytes())
}

fn close_and_more(rng: &mut Rng) -> Vec<u8> {
    let mut frames = frame(0x88, &rng.u16(..).to_be_bytes());
    frames.extend(mutated(rng));
    frames
}

fn repeated(count: usize, piece: impl FnOnce() -> Vec<u8>) -> Vec<u8> {
    piece().repeat(count)
}
