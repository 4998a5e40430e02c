//! The mark in each payload: when the message was published, and its number in its channel. It
//! survives any framing of a server, so it is searched for in the bytes of the message.

use std::time::Duration;

use memchr::memmem::Finder;

const MARK: &str = "@@";
const NANOS: usize = 14;
const NUMBER: usize = 9;
const LENGTH: usize = MARK.len() + NANOS + NUMBER;

/// What the stamp of a payload says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) published: Duration,
    /// Counts the messages of a channel from 1.
    pub(crate) number: u64,
}

/// A payload as JSON of `size` bytes, if the stamp leaves enough room.
pub(crate) fn payload(stamp: Stamp, size: usize) -> String {
    let (text, padding) = parts(stamp, size);
    format!(r#"{{"t":"{text}","p":"{padding}"}}"#)
}

/// The two members of a payload.
pub(crate) fn parts(stamp: Stamp, size: usize) -> (String, String) {
    let (nanos, number) = (stamp.published.as_nanos(), stamp.number);
    let around = r#"{"t":"","p":""}"#.len();
    let padding = size.saturating_sub(around + LENGTH);
    let text = format!("{MARK}{nanos:0NANOS$}{number:0NUMBER$}");
    (text, "x".repeat(padding))
}

/// What documents of an app look like: many short members. JSON of `size` bytes, if so many are
/// enough for one.
pub(crate) fn document(size: usize) -> String {
    let row = r#"{"_id":"Xk3bQz7tLw9RmP2aN","n":1250,"name":"Ada King","tags":["new","open"],"at":{"$date":1764453000000}}"#;
    let (before, between, after) = (r#"{"rows":["#, ",", r#"],"p":""}"#);
    let room = size.saturating_sub(before.len() + after.len());
    let rows = vec![row; room / (row.len() + between.len())].join(between);
    let padding = "x".repeat(room.saturating_sub(rows.len()));
    format!(r#"{before}{rows}],"p":"{padding}"}}"#)
}

/// Finds stamps in the messages of one subscriber.
pub(crate) struct Search(Finder<'static>);

impl Search {
    pub(crate) fn new() -> Self {
        Self(Finder::new(MARK))
    }

    /// Calls `found` with each stamp. The possible beginning of a stamp that the next text
    /// completes is kept in `rest`.
    pub(crate) fn each(&self, text: &[u8], rest: &mut Vec<u8>, found: impl FnMut(Stamp)) {
        if rest.is_empty() {
            let kept = self.each_whole(text, found);
            rest.extend_from_slice(kept);
        } else {
            rest.extend_from_slice(text);
            let text = std::mem::take(rest);
            *rest = self.each_whole(&text, found).to_vec();
        }
    }

    fn each_whole<'a>(&self, text: &'a [u8], mut found: impl FnMut(Stamp)) -> &'a [u8] {
        let mut text = text;
        while let Some(at) = self.0.find(text) {
            let (_, from_mark) = text.split_at(at);
            let Some((whole, after)) = from_mark.split_at_checked(LENGTH) else {
                return from_mark;
            };
            if let Some(stamp) = read(whole) {
                found(stamp);
            }
            text = after;
        }
        text.strip_suffix(b"@").map_or(&[], |_| b"@")
    }
}

fn read(text: &[u8]) -> Option<Stamp> {
    let (nanos, number) = text.get(MARK.len()..)?.split_at_checked(NANOS)?;
    Some(Stamp {
        published: Duration::from_nanos(digits(nanos)?),
        number: digits(number)?,
    })
}

fn digits(text: &[u8]) -> Option<u64> {
    text.iter().try_fold(0, |sum: u64, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
        sum.checked_mul(10)?.checked_add(digit.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_has_the_size_that_was_asked_for() {
        for size in [18, 200, 4096] {
            let text = document(size);
            assert_eq!(text.len(), size);
            assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
        }
    }

    #[test]
    fn stamps_are_found_wherever_the_text_is_cut() {
        let stamp = |number| Stamp {
            published: Duration::from_nanos(12_345_678_901),
            number,
        };
        let text = payload(stamp(1), 50) + &payload(stamp(2), 150);
        assert_eq!(text.len(), 200);
        for cut in 0..text.len() {
            let (first, second) = text.as_bytes().split_at(cut);
            let (mut rest, mut numbers) = (Vec::new(), Vec::new());
            for part in [first, second] {
                Search::new().each(part, &mut rest, |found| {
                    assert_eq!(found.published, stamp(1).published);
                    numbers.push(found.number);
                });
            }
            assert_eq!(numbers, [1, 2], "cut at {cut}");
        }
    }
}
