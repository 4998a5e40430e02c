//! Frames to the client, and the escapes in them: those of JSON, and those for characters that
//! browsers mangle.

use super::words::Word;
use crate::ejson;
use crate::message::{FrameRef, Head};

/// The frame that opens a session.
pub const OPEN: &str = "o";

/// The frame that shows that the server is alive.
pub const HEARTBEAT: &str = "h";

/// The frame that ends a session. A close with 1000 and no reason gets the reason `Normal closure`.
pub fn close(code: u16, reason: &str) -> String {
    let reason = match reason {
        "" if code == 1000 => "Normal closure",
        reason => reason,
    };
    let mut frame = format!("c[{code},");
    ejson::write_string(reason, &mut frame);
    frame.push(']');
    frame
}

const BEGIN: &[u8] = b"a[\"";
const BETWEEN: &[u8] = b"\",\"";
const END: &[u8] = b"\"]";

/// Appends one frame that carries these messages.
pub fn write_messages<'a>(messages: impl IntoIterator<Item = FrameRef<'a>>, out: &mut Vec<u8>) {
    let mut escaper = Escaper::default();
    let mut before = BEGIN;
    for message in messages {
        out.extend_from_slice(before);
        escaper.escape(message).write(out);
        before = BETWEEN;
    }
    out.extend_from_slice(END);
}

/// Escapes the messages of one client. The messages of one write are mostly events of one
/// subscription, so their shared head is escaped once.
#[derive(Debug, Default)]
pub struct Escaper {
    /// The head whose escaped form is in `escaped`, if any.
    head: Option<Head>,
    escaped: Vec<u8>,
    /// The escaped value of an event that only this client gets.
    value: Vec<u8>,
}

/// The escaped parts of a message within a string of a frame.
struct Escaped<'a>([&'a [u8]; 4]);

impl Escaper {
    /// Appends a frame that carries one message. `header` gets the length of the frame and writes
    /// what precedes it.
    pub fn write_message(
        &mut self,
        message: FrameRef<'_>,
        out: &mut Vec<u8>,
        header: impl FnOnce(usize, &mut Vec<u8>),
    ) {
        let escaped = self.escape(message);
        let brackets = BEGIN.len().saturating_add(END.len());
        header(escaped.len().saturating_add(brackets), out);
        out.extend_from_slice(BEGIN);
        escaped.write(out);
        out.extend_from_slice(END);
    }

    fn escape<'a>(&'a mut self, message: FrameRef<'a>) -> Escaped<'a> {
        let value = match message.escaped_value(escape) {
            Some(shared) => shared,
            None => {
                self.value.clear();
                escape(message.value(), &mut self.value);
                &self.value
            }
        };
        let Some(head) = message.head() else {
            return Escaped([&[], &[], value, &[]]);
        };
        if !self.head.as_ref().is_some_and(|last| last.is_same(head)) {
            self.head = Some(head.clone());
            self.escaped.clear();
            escape(head.as_str().as_bytes(), &mut self.escaped);
        }
        // No character of the brackets is escaped.
        let (open, close) = message.brackets();
        Escaped([&self.escaped, open.as_bytes(), value, close.as_bytes()])
    }
}

impl Escaped<'_> {
    fn len(&self) -> usize {
        let len = |sum: usize, part: &&[u8]| sum.saturating_add(part.len());
        self.0.iter().fold(0, len)
    }

    fn write(&self, out: &mut Vec<u8>) {
        for part in self.0 {
            out.extend_from_slice(part);
        }
    }
}

/// Appends the escaped form of `text`, which is UTF-8, within a string of a frame.
pub(super) fn escape(text: &[u8], out: &mut Vec<u8>) {
    // About an eighth of JSON is quotes.
    out.reserve(text.len().saturating_add(text.len() / 4));
    let mut rest = text;
    loop {
        rest = escape_words(rest, out);
        let suspect = rest.iter().position(|byte| is_suspect(*byte));
        let ordinary = suspect.unwrap_or(rest.len());
        let (before, suspect) = rest.split_at_checked(ordinary).unwrap_or((rest, &[]));
        out.extend_from_slice(before);
        rest = match *suspect {
            [] => return,
            [first @ (0xe2 | 0xef), second, third, ref rest @ ..] => {
                match mangled([first, second, third]) {
                    Some(point) => escape_unit(point, out),
                    None => out.extend_from_slice(&[first, second, third]),
                }
                rest
            }
            [byte, ref rest @ ..] => {
                escape_ascii(byte, out);
                rest
            }
        };
    }
}

/// Appends the escaped form of the words at the front, as long as nothing in them but quotes and
/// backslashes is a suspect. Returns what is behind them.
fn escape_words<'a>(text: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let mut rest = text;
    while let Some((mut word, behind)) = Word::split(rest) {
        let begins = word.find(0xe2).or(word.find(0xef));
        if word.has_control() || !begins.is_none() {
            break;
        }
        let mut marks = word.find(b'"').or(word.find(b'\\'));
        while let Some(ordinary) = marks.first() {
            word.take(ordinary, out);
            out.push(b'\\');
            marks = marks.behind(ordinary);
        }
        word.take_all(out);
        rest = behind;
    }
    rest
}

/// Whether a byte is escaped, or begins a character that may be.
fn is_suspect(byte: u8) -> bool {
    matches!(byte, ..0x20 | b'"' | b'\\' | 0xe2 | 0xef)
}

fn escape_ascii(byte: u8, out: &mut Vec<u8>) {
    match byte {
        0x08 => out.extend_from_slice(b"\\b"),
        b'\t' => out.extend_from_slice(b"\\t"),
        b'\n' => out.extend_from_slice(b"\\n"),
        0x0c => out.extend_from_slice(b"\\f"),
        b'\r' => out.extend_from_slice(b"\\r"),
        ..0x20 => escape_unit(u16::from(byte), out),
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
        // The beginning of a truncated character, which valid UTF-8 does not have.
        byte => out.push(byte),
    }
}

/// The code point of three bytes of UTF-8, if some browsers or transports mangle that character.
fn mangled([first, second, third]: [u8; 3]) -> Option<u16> {
    let unit = |bits: u8| u16::from(bits & 0x3f);
    let point = (u16::from(first & 0x0f) << 12) | (unit(second) << 6) | unit(third);
    let is_mangled =
        matches!(point, 0x200c..=0x200f | 0x2028..=0x202f | 0x2060..=0x206f | 0xfff0..);
    is_mangled.then_some(point)
}

fn escape_unit(unit: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Frame;
    use crate::vent::Encoding;

    fn escaped(text: &str) -> String {
        let mut out = Vec::new();
        escape(text.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_character_is_escaped_alike_wherever_it_stands() {
        let parts = [
            "a", "\"", "\\", "\n", "\u{1}", "\u{7f}", "é", "…", "\u{200c}", "\u{fff0}", "😀",
        ];
        for (first, second) in parts.iter().flat_map(|a| parts.iter().map(move |b| (a, b))) {
            for before in 0..17 {
                let parts = [
                    "x".repeat(before),
                    first.repeat(3),
                    "y".repeat(9),
                    second.repeat(9),
                ];
                let alone = parts
                    .concat()
                    .chars()
                    .map(|it| escaped(&it.to_string()))
                    .collect::<String>();
                assert_eq!(escaped(&parts.concat()), alone);
            }
        }
    }

    #[test]
    fn deviation_032_exactly_what_sockjs_node_escapes_but_for_surrogate_pairs() {
        for point in 0..=0x10_ffff {
            let Some(character) = char::from_u32(point) else {
                continue;
            };
            let text = format!("a{character}b");
            let expected = match point {
                0x08 => "a\\bb".to_owned(),
                0x09 => "a\\tb".to_owned(),
                0x0a => "a\\nb".to_owned(),
                0x0c => "a\\fb".to_owned(),
                0x0d => "a\\rb".to_owned(),
                0x22 => "a\\\"b".to_owned(),
                0x5c => "a\\\\b".to_owned(),
                0..0x20 | 0x200c..=0x200f | 0x2028..=0x202f | 0x2060..=0x206f | 0xfff0..=0xffff => {
                    format!("a\\u{point:04x}b")
                }
                _ => text.clone(),
            };
            assert_eq!(escaped(&text), expected);
        }
    }

    #[test]
    fn close_frames() {
        assert_eq!(close(1000, ""), r#"c[1000,"Normal closure"]"#);
        assert_eq!(close(1013, ""), r#"c[1013,""]"#);
        assert_eq!(close(3000, "Go \"away\"!"), r#"c[3000,"Go \"away\"!"]"#);
    }

    #[test]
    fn ddp_204_a_head_that_is_escaped_once_stands_before_each_of_its_events() {
        let head = |text: &str| Head::from(format!(r#"{{"c":"{text}","e":"#));
        let (one, other) = (head("one"), head("other"));
        let own = |head: &Head, value: &str| Frame::Event {
            head: head.clone(),
            tail: Encoding::Vent.own_tail(value.into(), false),
        };
        let event = |head: &Head, value: &'static str| Frame::Event {
            head: head.clone(),
            tail: Encoding::Vent.tail(value, false),
        };
        let messages = [
            event(&one, r#""a""#),
            event(&one, "1"),
            event(&other, "2"),
            Frame::Text(r#"{"msg":"ready"}"#.into()),
            event(&other, "3"),
            own(&one, "\"4\""),
            event(&one, "4"),
            own(&other, "5"),
        ];
        let mut escaper = Escaper::default();
        for message in &messages {
            let (mut frame, mut announced) = (Vec::new(), 0);
            escaper.write_message(message.into(), &mut frame, |len, _| announced = len);
            let expected = format!(r#"a["{}"]"#, escaped(&message.to_text()));
            assert_eq!(String::from_utf8_lossy(&frame), expected);
            assert_eq!(announced, expected.len());
        }
    }

    #[test]
    fn ddp_204_messages_are_json_within_a_string() {
        let text = |text: &str| Frame::Text(text.into());
        let written = |messages: &[Frame]| {
            let mut out = Vec::new();
            write_messages(messages.iter().map(FrameRef::from), &mut out);
            String::from_utf8(out).unwrap()
        };
        let one = text(r#"{"msg":"pong"}"#);
        assert_eq!(
            written(std::slice::from_ref(&one)),
            r#"a["{\"msg\":\"pong\"}"]"#
        );
        assert_eq!(
            written(&[one, text("\n")]),
            r#"a["{\"msg\":\"pong\"}","\n"]"#
        );
    }
}
