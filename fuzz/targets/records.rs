//! Stored records: no bytes are a record but those that one is written as, whatever their checksums
//! say. As any store may keep them, as a row of a file, and as an entry of a stream of Redis.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use updraft_topics::fuzzing::{file_row, redis_page, to_file_row};
use updraft_topics::{Content, Limit, NewRecord};

const MARK: u32 = 7;
const OFFSET: u64 = 3;

fuzz_target!(|bytes: &[u8]| {
    match bytes.split_first() {
        Some((0, row)) => check_row(row),
        Some((1, row)) => check_row(&with_head(row)),
        Some((2, answer)) => check_answer(answer),
        _ => {
            check_content(Bytes::copy_from_slice(bytes));
            check_content(with_checksum(bytes, MARK));
        }
    }
});

fn check_content(stored: Bytes) {
    let Ok(content) = Content::decode(stored, MARK) else {
        return;
    };
    let again = Content::decode(content.encode(MARK), MARK);
    assert_eq!(again.unwrap(), content);
}

fn check_row(row: &[u8]) {
    let Ok(record) = file_row(row, OFFSET) else {
        return;
    };
    assert_eq!(record.offset, OFFSET);
    let new = NewRecord::new(record.mark, record.content.clone());
    let again = file_row(&to_file_row(&new, OFFSET, record.time), OFFSET);
    assert_eq!(again.unwrap(), record);
}

/// An answer of parts that are separated by a byte that is in no number.
fn check_answer(answer: &[u8]) {
    let mut parts: Vec<Vec<u8>> = answer.split(|byte| *byte == 0xff).map(Into::into).collect();
    // Every third part behind the bounds is a content: as it is, and then with its checksum.
    for _ in 0..2 {
        let limit = Limit::new(4, 100);
        if let Ok(page) = redis_page(parts.clone(), limit) {
            assert!(page.next.epoch == page.bounds.epoch);
            for record in &page.records {
                let again = Content::decode(record.content.encode(record.mark), record.mark);
                assert_eq!(again.unwrap(), record.content);
            }
        }
        for index in (9..parts.len()).step_by(3) {
            let mark = str::from_utf8(&parts[index - 2]).ok();
            let mark = mark.and_then(|id| id.split_once('-')?.1.parse().ok());
            parts[index] = with_checksum(&parts[index], mark.unwrap_or_default()).into();
        }
    }
}

/// The bytes behind a format and a checksum that are right.
fn with_checksum(body: &[u8], mark: u32) -> Bytes {
    let sum = crc32c::crc32c_append(crc32c::crc32c(&mark.to_be_bytes()), body);
    [&[1][..], &sum.to_be_bytes(), body].concat().into()
}

/// A row whose checksums are right: time and mark, then what is behind the content's own.
fn with_head(bytes: &[u8]) -> Vec<u8> {
    let Some((head, body)) = bytes.split_first_chunk::<12>() else {
        return Vec::new();
    };
    let sum = crc32c::crc32c_append(crc32c::crc32c(&OFFSET.to_be_bytes()), head);
    let [.., a, b, c, d] = *head;
    let content = with_checksum(body, u32::from_be_bytes([a, b, c, d]));
    [&head[..], &sum.to_be_bytes(), &content].concat()
}
