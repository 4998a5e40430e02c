//! WebSocket frames: the reader returns the same messages from small pieces as from one, and
//! nothing over its limits. The first byte of the input chooses the limit, the second the pieces.

#![no_main]

#[allow(dead_code, reason = "frames out are not looked at")]
#[path = "../../src/transport/websocket"]
mod websocket {
    mod frame;
    pub(crate) mod rate;
    pub(crate) mod reader;
}

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use websocket::rate::FrameRate;
use websocket::reader::{Incoming, Limits, ProtocolViolation, Reader, Receiver};

/// The output of a reader, and how it ended.
type Seen = (Vec<String>, Result<(), ProtocolViolation>);

/// Longest header of a frame, and longest payload of a control frame.
const HEADER: usize = 14;
const MAX_CONTROL: usize = 125;

/// Low enough for an input to exceed.
const SMALL_FRAMES: FrameRate = FrameRate {
    frames: 20,
    within: Duration::MAX,
};

fuzz_target!(|input: &[u8]| {
    let [limit, pieces, bytes @ ..] = input else {
        return;
    };
    let limits = Limits {
        message: usize::from(*limit) * 8,
        small_frames: SMALL_FRAMES,
    };
    let whole = read(bytes, limits, std::iter::once(bytes.len()));
    // The sizes of the pieces repeat, so that a piece may end anywhere.
    let size = usize::from(*pieces);
    let uneven = [size % 16 + 1, size / 16 + 1, 1].into_iter().cycle();
    assert_eq!(whole, read(bytes, limits, uneven));
    assert_eq!(whole, read(bytes, limits, std::iter::repeat(1)));
});

struct Client {
    limits: Limits,
    seen: Vec<String>,
    closed: bool,
}

impl Receiver for Client {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn receive(&mut self, incoming: Incoming<'_>) {
        assert!(!self.closed, "something after the close");
        match incoming {
            Incoming::Message(text) => assert!(text.len() <= self.limits.message),
            Incoming::Ping(payload) => assert!(payload.len() <= MAX_CONTROL),
            Incoming::Pong => {}
            Incoming::Close { code, .. } => {
                assert!((1000..5000).contains(&code));
                self.closed = true;
            }
        }
        self.seen.push(format!("{incoming:?}"));
    }
}

fn read(mut bytes: &[u8], limits: Limits, sizes: impl Iterator<Item = usize>) -> Seen {
    let mut reader = Reader::default();
    let mut client = Client {
        limits,
        seen: Vec::new(),
        closed: false,
    };
    for size in sizes {
        let (piece, rest) = bytes.split_at(size.min(bytes.len()));
        let outcome = reader.read(&mut piece.to_vec(), Duration::ZERO, &mut client);
        // A frame and the fragments before it, each with the spare capacity of a growing vector.
        assert!(outcome.is_err() || reader.bytes() <= 4 * (limits.message + HEADER + MAX_CONTROL));
        bytes = rest;
        if outcome.is_err() || client.closed || bytes.is_empty() {
            return (client.seen, outcome);
        }
    }
    (client.seen, Ok(()))
}
