//! WebSocket frames: the reader gives the same in pieces, however small, as in one, and nothing over its limits.
//! The first byte of the input chooses the limit, the second the pieces.

#![no_main]

#[allow(dead_code, reason = "frames out are not looked at")]
#[path = "../../src/transport/websocket/frame.rs"]
mod frame;
#[path = "../../src/transport/websocket/reader.rs"]
mod reader;

use libfuzzer_sys::fuzz_target;
use reader::{Incoming, Limits, Protocol, Reader};

/// What came out of a reader, and how it ended.
type Seen = (Vec<String>, Result<(), Protocol>);

fuzz_target!(|input: &[u8]| {
    let [limit, pieces, bytes @ ..] = input else {
        return;
    };
    let limits = Limits {
        message: usize::from(*limit) * 8,
    };
    let whole = read(bytes, limits, std::iter::once(bytes.len()));
    // The sizes of the pieces repeat, so that a piece may end anywhere.
    let size = usize::from(*pieces);
    let uneven = [size % 16 + 1, size / 16 + 1, 1].into_iter().cycle();
    assert_eq!(whole, read(bytes, limits, uneven));
    assert_eq!(whole, read(bytes, limits, std::iter::repeat(1)));
});

fn read(mut bytes: &[u8], limits: Limits, sizes: impl Iterator<Item = usize>) -> Seen {
    let mut reader = Reader::default();
    let mut seen = Vec::new();
    for size in sizes {
        let (piece, rest) = bytes.split_at(size.min(bytes.len()));
        let outcome = reader.read(&mut piece.to_vec(), limits, &mut |incoming| {
            match incoming {
                Incoming::Message(text) => assert!(text.len() <= limits.message),
                Incoming::Ping(payload) => assert!(payload.len() <= frame::MAX_CONTROL),
                Incoming::Close(code) => assert!((1000..5000).contains(&code)),
            }
            seen.push(format!("{incoming:?}"));
        });
        bytes = rest;
        if outcome.is_err() || bytes.is_empty() {
            return (seen, outcome);
        }
    }
    (seen, Ok(()))
}
