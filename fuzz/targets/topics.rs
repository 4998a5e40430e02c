//! Topics: no text is a position but those that are printed, and no bytes are a stored record but
//! those that one is written as, whatever their checksum says.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use updraft_topics::{Content, Position, TopicName};

const MARK: u32 = 7;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = str::from_utf8(bytes) {
        check_position(text);
        if let Ok(name) = TopicName::new(text) {
            assert_eq!(name.as_str(), text);
        }
    }
    check_stored(Bytes::copy_from_slice(bytes));
    check_stored(with_checksum(bytes));
});

fn check_position(text: &str) {
    let Ok(position) = text.parse::<Position>() else {
        return;
    };
    assert_eq!(position.to_string(), text);
    let place = position.place();
    assert_eq!(place.offset, position.offset());
    let topic = TopicName::new("a").unwrap();
    if position.check(&topic).is_ok() {
        assert_eq!(Position::at(&topic, place), position);
    }
}

fn check_stored(stored: Bytes) {
    let Ok(content) = Content::decode(stored, MARK) else {
        return;
    };
    let again = Content::decode(content.encode(MARK), MARK);
    assert_eq!(again.unwrap(), content);
}

/// The bytes behind a format and a checksum that are right.
fn with_checksum(body: &[u8]) -> Bytes {
    let sum = crc32c::crc32c_append(crc32c::crc32c(&MARK.to_be_bytes()), body);
    [&[1][..], &sum.to_be_bytes(), body].concat().into()
}
