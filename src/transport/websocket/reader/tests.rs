//! The case groups of the Autobahn suite that a server without compression must pass: 1 to 7 and
//! 10, and the limits.
//! Everything is read in one piece, byte by byte, and in pieces between.

use super::*;

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;
const TEXT_BEGINS: u8 = 0x01;
const CONTINUES: u8 = 0x00;
const ENDS: u8 = 0x80;

/// Keeps what it gets, pings and closes as text.
struct Seen {
    limits: Limits,
    all: Vec<String>,
}

impl Default for Seen {
    fn default() -> Self {
        let small_frames = FrameRate {
            frames: 1000,
            within: Duration::from_secs(10),
        };
        Self {
            limits: Limits {
                message: 100_000,
                small_frames,
            },
            all: Vec::new(),
        }
    }
}

impl Receiver for Seen {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn receive(&mut self, incoming: Incoming<'_>) {
        self.all.push(match incoming {
            Incoming::Message(text) => text.to_owned(),
            Incoming::Ping(payload) => format!("ping {}", String::from_utf8_lossy(payload)),
            Incoming::Pong => return,
            Incoming::Close { code, .. } => format!("close {code}"),
        });
    }
}

fn header(first: u8, len: u64) -> Vec<u8> {
    let mut out = vec![first];
    match len {
        0..=125 => out.push(0x80 | u8::try_from(len).unwrap()),
        126..=0xffff => {
            out.push(0xfe);
            out.extend_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
        }
        _ => {
            out.push(0xff);
            out.extend_from_slice(&len.to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    out
}

fn frame(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let mut payload = payload.as_ref().to_vec();
    let mut out = header(first, payload.len() as u64);
    unmask(&mut payload, MASK, 0);
    out.extend_from_slice(&payload);
    out
}

fn frames<const N: usize>(all: [(u8, &str); N]) -> Vec<u8> {
    all.iter()
        .flat_map(|(first, payload)| frame(*first, payload))
        .collect()
}

fn read_in(bytes: &[u8], size: usize) -> (Vec<String>, Result<(), ProtocolViolation>) {
    let (mut reader, mut seen) = (Reader::default(), Seen::default());
    for chunk in bytes.chunks(size) {
        if let Err(violation) = reader.read(&mut chunk.to_vec(), Duration::ZERO, &mut seen) {
            return (seen.all, Err(violation));
        }
        if seen
            .all
            .last()
            .is_some_and(|last| last.starts_with("close"))
        {
            break;
        }
    }
    assert_eq!(reader.bytes(), 0, "nothing is kept between messages");
    (seen.all, Ok(()))
}

/// Sizes of pieces: bytes, odd ones, and all at once. Long inputs are spared the bytes.
fn sizes(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let all = bytes.len().max(1);
    let small = if all < 5000 { 1..=11 } else { 997..=1000 };
    small.chain([all])
}

#[track_caller]
fn is_read_as(bytes: &[u8], expected: &[&str]) {
    for size in sizes(bytes) {
        let (seen, outcome) = read_in(bytes, size);
        assert_eq!(outcome, Ok(()), "in pieces of {size}");
        assert_eq!(seen, expected, "in pieces of {size}");
    }
}

/// What comes before the violation is seen.
#[track_caller]
fn fails_with(bytes: &[u8], expected: &[&str], code: u16) {
    for size in sizes(bytes) {
        let (seen, outcome) = read_in(bytes, size);
        let got = outcome.map_err(|violation| violation.code);
        assert_eq!(got, Err(code), "in pieces of {size}: {seen:?}");
        assert_eq!(seen, expected, "in pieces of {size}");
    }
}

#[test]
fn autobahn_1_frames_of_every_length() {
    for len in [0, 1, 125, 126, 127, 128, 65535, 65536] {
        let text = "*".repeat(len);
        for first in [TEXT, BINARY] {
            is_read_as(&frame(first, &text), &[&text]);
        }
    }
}

#[test]
fn autobahn_2_row_027_pings_and_pongs() {
    let long = "p".repeat(125);
    is_read_as(&frame(PING, ""), &["ping "]);
    is_read_as(&frame(PING, &long), &[&format!("ping {long}")]);
    is_read_as(
        &frame(PING, [0x00, 0xff, 0xfe]),
        &["ping \0\u{fffd}\u{fffd}"],
    );
    for first in [PING, PONG] {
        fails_with(&frame(first, "p".repeat(126)), &[], 1002);
    }
    is_read_as(
        &frames([(PONG, ""), (PONG, "unasked"), (PING, "x")]),
        &["ping x"],
    );
    let ten: Vec<String> = (0..10).map(|n| format!("ping payload-{n}")).collect();
    let bytes: Vec<u8> = (0..10)
        .flat_map(|n| frame(PING, format!("payload-{n}")))
        .collect();
    is_read_as(&bytes, &ten.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn autobahn_3_row_022_reserved_bits() {
    for bits in 1..8 {
        for first in [TEXT, BINARY, CLOSE, PING, PONG] {
            let bad = frame(first | bits << 4, "Hello");
            fails_with(&[frame(TEXT, "before"), bad].concat(), &["before"], 1002);
        }
    }
}

#[test]
fn autobahn_4_row_022_reserved_opcodes() {
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        for payload in ["", "payload"] {
            let bad = frame(0x80 | opcode, payload);
            let bytes = [frame(TEXT, "before"), bad, frame(PING, "")].concat();
            fails_with(&bytes, &["before"], 1002);
        }
    }
}

#[test]
fn row_022_a_frame_without_a_mask() {
    fails_with(&[TEXT, 1, b'x'], &[], 1002);
    fails_with(&[PING, 0], &[], 1002);
}

#[test]
fn autobahn_5_row_022_fragments() {
    for control in [PING, PONG, CLOSE] {
        // Control frames are never fragmented.
        let bytes = frames([(control & 0x7f, "frag"), (ENDS, "ment")]);
        fails_with(&bytes, &[], 1002);
    }
    is_read_as(&frames([(TEXT_BEGINS, "one"), (ENDS, "two")]), &["onetwo"]);
    is_read_as(
        &frames([
            (TEXT_BEGINS, "one"),
            (CONTINUES, "two"),
            (ENDS, "three"),
            (TEXT, "next"),
        ]),
        &["onetwothree", "next"],
    );
    let between = frames([
        (TEXT_BEGINS, "1"),
        (PING, "a"),
        (CONTINUES, "2"),
        (PONG, "b"),
        (CONTINUES, ""),
        (PING, "c"),
        (ENDS, "3"),
    ]);
    is_read_as(&between, &["ping a", "ping c", "123"]);
    is_read_as(
        &frames([(TEXT_BEGINS, ""), (CONTINUES, ""), (ENDS, "")]),
        &[""],
    );
    is_read_as(&frames([(0x02, "bin"), (ENDS, "ary")]), &["binary"]);
    // A continuation of nothing, and a beginning inside a message.
    for first in [CONTINUES, ENDS] {
        fails_with(&frames([(first, "x"), (TEXT, "y")]), &[], 1002);
        let after = frames([(TEXT_BEGINS, "a"), (ENDS, "b"), (first, "c")]);
        fails_with(&after, &["ab"], 1002);
    }
    for second in [TEXT, BINARY, TEXT_BEGINS, 0x02] {
        fails_with(&frames([(TEXT_BEGINS, "a"), (second, "b")]), &[], 1002);
    }
}

#[test]
fn autobahn_6_row_023_valid_utf_8_however_it_is_cut() {
    let texts = [
        "\u{3ba}\u{1f79}\u{3c3}\u{3bc}\u{3b5}",
        "Hello-\u{b5}@\u{df}\u{f6}\u{e4}\u{fc}\u{e0}\u{e1}-UTF-8!!",
        // The first and the last character of each length, and those around the surrogates.
        "\0\u{7f}\u{80}\u{7ff}\u{800}\u{ffff}\u{10000}\u{10ffff}",
        "\u{d7ff}\u{e000}\u{fffd}\u{fffe}\u{fdd0}\u{1fffe}\u{10fffe}",
    ];
    for text in texts {
        is_read_as(&frame(TEXT, text), &[text]);
        // In two fragments cut anywhere, and in fragments of a byte.
        for cut in 0..=text.len() {
            let (head, tail) = text.as_bytes().split_at(cut);
            let bytes = [frame(TEXT_BEGINS, head), frame(ENDS, tail)].concat();
            is_read_as(&bytes, &[text]);
        }
        let mut bytes = frame(TEXT_BEGINS, "");
        for byte in text.as_bytes() {
            bytes.extend(frame(CONTINUES, [*byte]));
        }
        bytes.extend(frame(ENDS, ""));
        is_read_as(&bytes, &[text]);
    }
}

#[test]
fn autobahn_6_row_023_invalid_utf_8() {
    let invalid: [&[u8]; 22] = [
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
        b"\xf8\x88\x80\x80\x80",
        b"\xfc\x84\x80\x80\x80\x80",
        b"\xf4\x90\x80\x80",
        b"\xf7\xbf\xbf\xbf",
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xed\xa0\x80\xed\xb0\x80",
        b"\x80",
        b"\xbf",
        b"\x80\xbf\x80",
        b"\xc0\x20\xc1\x20",
        b"\xfe",
        b"\xff",
        b"\xc0\xaf",
        b"\xe0\x80\xaf",
        b"\xf0\x80\x80\xaf",
        b"\xc1\xbf",
        b"\xe0\x9f\xbf",
        b"\xf0\x8f\xbf\xbf",
        // Cut short by the end of the message.
        b"\xce\xba\xe1\xbd",
        b"\xf0\x90\x80",
    ];
    for bytes in invalid {
        fails_with(&frame(TEXT, bytes), &[], 1007);
        for cut in 0..=bytes.len() {
            let (head, tail) = bytes.split_at(cut);
            let cut = [frame(TEXT_BEGINS, head), frame(PING, ""), frame(ENDS, tail)];
            let (_, outcome) = read_in(&cut.concat(), 3);
            assert_eq!(outcome.unwrap_err().code, 1007, "{bytes:?}");
        }
        // In binary frames it is not text at all.
        fails_with(&frame(BINARY, bytes), &[], 1003);
    }
}

#[test]
fn autobahn_6_4_a_bad_fragment_is_noticed_before_the_message_ends() {
    let first = "\u{3ba}\u{1f79}\u{3c3}\u{3bc}\u{3b5}";
    for second in [&b"\xf4\x90\x80\x80"[..], b"\xf4\x90"] {
        let bytes = [frame(TEXT_BEGINS, first), frame(CONTINUES, second)].concat();
        fails_with(&bytes, &[], 1007);
    }
}

#[test]
fn autobahn_7_row_029_030_closing() {
    let close = |code: u16, reason: &str| {
        let mut payload = code.to_be_bytes().to_vec();
        payload.extend_from_slice(reason.as_bytes());
        frame(CLOSE, payload)
    };
    is_read_as(&frame(CLOSE, ""), &["close 1000"]);
    is_read_as(&close(1000, "Hello World!"), &["close 1000"]);
    is_read_as(&close(1000, &"*".repeat(123)), &["close 1000"]);
    let allowed = [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000,
        4999,
    ];
    for code in allowed {
        is_read_as(&close(code, ""), &[&format!("close {code}")]);
    }
    for code in [
        0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535,
    ] {
        fails_with(&close(code, ""), &[], 1002);
    }
    fails_with(&frame(CLOSE, [3]), &[], 1002);
    fails_with(&close(1000, &"*".repeat(124)), &[], 1002);
    fails_with(&frame(CLOSE, b"\x03\xe8\xce\xba\xed\xa0\x80"), &[], 1007);
    // Nothing after it is looked at, however broken: messages, pings, a second close, the rest of a
    // message.
    let after = [
        frame(TEXT_BEGINS, "begun"),
        close(1001, ""),
        frame(ENDS, "too late"),
        frame(PING, ""),
        close(1002, ""),
        vec![0xff; 20],
    ];
    is_read_as(&after.concat(), &["close 1001"]);
}

#[test]
fn autobahn_10_a_long_message_in_fragments() {
    let text = "*".repeat(65536);
    let mut bytes = Vec::new();
    let pieces: Vec<&[u8]> = text.as_bytes().chunks(1300).collect();
    for (at, piece) in pieces.iter().enumerate() {
        let first = if at == 0 { TEXT_BEGINS } else { CONTINUES };
        let last = if at + 1 == pieces.len() { ENDS } else { 0 };
        bytes.extend(frame(first | last, piece));
    }
    is_read_as(&bytes, &[&text]);
}

#[test]
fn row_024_size_is_judged_by_the_header() {
    let most = 100_000;
    is_read_as(&frame(TEXT, "x".repeat(most)), &[&"x".repeat(most)]);
    fails_with(&header(TEXT, 100_001), &[], 1009);
    fails_with(&header(BINARY, u64::MAX), &[], 1009);
    // All fragments together.
    let begun = frame(TEXT_BEGINS, "x".repeat(60_000));
    fails_with(&[begun, header(ENDS, 40_001)].concat(), &[], 1009);
}

#[test]
fn row_025_026_small_frames_have_a_rate() {
    let read = |reader: &mut Reader, bytes: &[u8], at: u64| {
        let mut seen = Seen::default();
        seen.limits.small_frames.frames = 10;
        let outcome = reader.read(&mut bytes.to_vec(), Duration::from_secs(at), &mut seen);
        outcome.map_err(|violation| violation.code)
    };
    for small in [PING, PONG, CONTINUES] {
        let mut reader = Reader::default();
        let bytes = frame(TEXT_BEGINS, "x".repeat(SMALL_FRAGMENT));
        assert_eq!(read(&mut reader, &bytes, 0), Ok(()));
        for at in [0, 10, 20] {
            assert_eq!(read(&mut reader, &frame(small, "x").repeat(10), at), Ok(()));
        }
        // Larger fragments and whole messages are free.
        let large = frame(CONTINUES, "x".repeat(SMALL_FRAGMENT)).repeat(20);
        assert_eq!(read(&mut reader, &large, 20), Ok(()));
        assert_eq!(read(&mut reader, &frame(small, "x"), 29), Err(1008));
    }
    let mut reader = Reader::default();
    assert_eq!(read(&mut reader, &frame(TEXT, "x").repeat(100), 0), Ok(()));
}

#[test]
fn a_large_frame_leaves_no_room_behind() {
    let (mut reader, mut seen) = (Reader::default(), Seen::default());
    let mut bytes = frame(TEXT, "x".repeat(90_000));
    bytes.extend(frame(TEXT, "next"));
    let cut = bytes.len() - 3;
    for piece in [&bytes[..1000], &bytes[1000..cut]] {
        let outcome = reader.read(&mut piece.to_vec(), Duration::ZERO, &mut seen);
        assert_eq!(outcome, Ok(()));
    }
    assert_eq!(seen.all.len(), 1);
    assert!(reader.bytes() < 100, "{}", reader.bytes());
}
