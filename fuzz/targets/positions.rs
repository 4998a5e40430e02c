//! Positions and names of topics: no text is a position but those that are printed, and none is
//! altered by being read.

#![no_main]

use libfuzzer_sys::fuzz_target;
use updraft_topics::{Epoch, Place, Position, TopicName};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = str::from_utf8(bytes) {
        check_position(text);
        check_name(text);
    }
    check_printed(bytes);
});

fn check_position(text: &str) {
    let Ok(position) = text.parse::<Position>() else {
        return;
    };
    assert_eq!(position.to_string(), text);
    let place = position.place();
    assert_eq!(place.offset, position.offset());
    let topic = topic();
    if position.check(&topic).is_ok() {
        assert_eq!(Position::at(&topic, place), position);
        assert_eq!(Position::parse(text, &topic), Ok(position));
    }
    let json = serde_json::to_string(&position).unwrap();
    assert_eq!(serde_json::from_str::<Position>(&json).unwrap(), position);
}

fn check_name(text: &str) {
    if let Ok(name) = TopicName::new(text) {
        assert_eq!(name.as_str(), text);
    }
}

/// Two places are made of the bytes. Their tokens are read back, and sort as they do.
fn check_printed(bytes: &[u8]) {
    let Some((epoch, rest)) = bytes.split_first_chunk() else {
        return;
    };
    let epoch = Epoch::from_u64(u64::from_be_bytes(*epoch));
    let (Some(first), Some(second)) = (
        place(epoch, rest),
        place(epoch, rest.get(12..).unwrap_or(&[])),
    ) else {
        return;
    };
    let topic = topic();
    let tokens = [first, second].map(|place| {
        let position = Position::at(&topic, place);
        let token = position.to_string();
        assert_eq!(Position::parse(&token, &topic), Ok(position));
        assert_eq!(position.place(), place);
        token
    });
    if first.offset != second.offset {
        assert_eq!(tokens[0] < tokens[1], first.offset < second.offset);
    }
}

fn place(epoch: Epoch, bytes: &[u8]) -> Option<Place> {
    let (offset, rest) = bytes.split_first_chunk()?;
    let (mark, _) = rest.split_first_chunk()?;
    let place = match (u64::from_be_bytes(*offset), u32::from_be_bytes(*mark)) {
        (0, _) => Place::start(epoch),
        (offset, 0) => Place::unmarked(epoch, offset),
        (offset, mark) => Place::new(epoch, offset, mark),
    };
    Some(place)
}

fn topic() -> TopicName {
    TopicName::new("a").unwrap()
}
