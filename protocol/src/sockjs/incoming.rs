//! What a client sends: an array of strings, in a WebSocket message, a body or a form. A member
//! that is not a string becomes `null`. That is no DDP message, so it gets a `Bad request`, as in
//! Meteor.

use std::fmt;

use super::form::field;
use super::words::Word;
use crate::ejson::{self, JsonLimits, Value};

/// A WebSocket message that is not JSON. Close the connection with [`Self::CODE`] and
/// [`Self::REASON`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(
    clippy::exhaustive_structs,
    reason = "that it is broken is all there is to say"
)]
pub struct Broken;

impl Broken {
    /// The close code.
    pub const CODE: u16 = 3000;
    /// The close reason.
    pub const REASON: &'static str = "Broken framing.";
}

/// Why a body has no messages. Sent as the body of a 500.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadBody {
    /// It is empty, or not an array.
    Empty,
    /// It is not JSON, or exceeds the limits.
    NotJson,
}

impl fmt::Display for BadBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "Payload expected.",
            Self::NotJson => "Broken JSON encoding.",
        })
    }
}

impl std::error::Error for BadBody {}

/// The messages in a WebSocket message: an array of strings, or a single string. An empty one has
/// none.
///
/// # Errors
///
/// It is not JSON, or exceeds `limits`.
pub fn messages_of_frame(text: &str, limits: &JsonLimits) -> Result<Vec<String>, Broken> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    if let Some(messages) = plain_messages(text.as_bytes()) {
        return Ok(messages);
    }
    match ejson::parse(text, limits) {
        Ok(Value::Array(members)) => Ok(members.into_iter().map(message).collect()),
        Ok(alone) => Ok(vec![message(alone)]),
        Err(_) => Err(Broken),
    }
}

/// The messages of an `xhr_send`.
///
/// # Errors
///
/// The body is not a JSON array within `limits`.
pub fn messages_of_body(body: &str, limits: &JsonLimits) -> Result<Vec<String>, BadBody> {
    if body.is_empty() {
        return Err(BadBody::Empty);
    }
    match ejson::parse(body, limits) {
        Ok(Value::Array(members)) => Ok(members.into_iter().map(message).collect()),
        Ok(_) => Err(BadBody::Empty),
        Err(_) => Err(BadBody::NotJson),
    }
}

/// The messages of a `jsonp_send` whose body is a form.
///
/// # Errors
///
/// As [`messages_of_body`], for the form's field `d`.
pub fn messages_of_form(body: &str, limits: &JsonLimits) -> Result<Vec<String>, BadBody> {
    let payload = field(body, "d").ok_or(BadBody::Empty)?;
    messages_of_body(&payload, limits)
}

/// The messages of an array as clients mostly send it: strings without blanks between them, with
/// no escapes but those of a single character. `None` for any other text, right or wrong.
fn plain_messages(text: &[u8]) -> Option<Vec<String>> {
    let mut rest = text.strip_prefix(b"[\"")?;
    let mut messages = Vec::new();
    let mut message = Vec::with_capacity(text.len());
    loop {
        message.clear();
        rest = unescape(rest, &mut message)?;
        messages.push(str::from_utf8(&message).ok()?.to_owned());
        match rest {
            b"]" => return Some(messages),
            [b',', b'"', behind @ ..] => rest = behind,
            _ => return None,
        }
    }
}

/// Appends what a string literal means, from behind its first quote. Returns what is behind its
/// last. `None` for anything that is less common.
fn unescape<'a>(text: &'a [u8], out: &mut Vec<u8>) -> Option<&'a [u8]> {
    let mut rest = text;
    loop {
        while let Some((mut word, behind)) = Word::split(rest) {
            if word.has_control() {
                return None;
            }
            let Some(ordinary) = word.find(b'"').or(word.find(b'\\')).first() else {
                word.take_all(out);
                rest = behind;
                continue;
            };
            word.take(ordinary, out);
            rest = rest.get(ordinary..)?;
            break;
        }
        rest = match rest {
            [b'"', behind @ ..] => return Some(behind),
            [b'\\', byte, behind @ ..] => {
                out.push(unescaped(*byte)?);
                behind
            }
            [byte @ 0x20..=0xff, behind @ ..] => {
                out.push(*byte);
                behind
            }
            _ => return None,
        };
    }
}

/// What a backslash and this byte mean, unless it takes more bytes to say.
fn unescaped(byte: u8) -> Option<u8> {
    match byte {
        b'"' | b'\\' | b'/' => Some(byte),
        b'b' => Some(0x08),
        b'f' => Some(0x0c),
        b'n' => Some(b'\n'),
        b'r' => Some(b'\r'),
        b't' => Some(b'\t'),
        _ => None,
    }
}

fn message(member: Value) -> String {
    match member {
        // A lone surrogate becomes U+FFFD.
        Value::String(text) => text.into_string_lossy(),
        _ => String::from("null"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(text: &str) -> Result<Vec<String>, Broken> {
        messages_of_frame(text, &JsonLimits::default())
    }

    #[test]
    fn what_is_common_is_read_as_everything_else() {
        let parts = [
            "",
            "a",
            "é",
            "…",
            "😀",
            "\u{7f}",
            "\u{1}",
            "\n",
            r#"\""#,
            r"\\",
            r"\/",
            r"\n",
            r"\t",
            r"\b",
            r"\f",
            r"\r",
            r"\u00e9",
            r"\ud83d\ude00",
            r"\ud83d",
            r"\x",
            r"\",
            "\"",
            "\",\"",
            "\", \"",
            "\",5,\"",
        ];
        for (part, before) in parts
            .iter()
            .flat_map(|part| (0..17).map(move |n| (part, n)))
        {
            for after in 0..17 {
                let text = format!("[\"{}{part}{}\"]", "a".repeat(before), "é".repeat(after));
                // A blank is enough to make it uncommon.
                assert_eq!(frame(&text), frame(&format!(" {text}")), "{text}");
            }
        }
        let is_common = |text: &str| plain_messages(text.as_bytes()).is_some();
        assert!(is_common(r#"["{\"msg\":\"ping\"}","…\n"]"#));
        assert!(!is_common(r#"["a""#) && !is_common(r#"["a" ]"#) && !is_common("[]"));
    }

    #[test]
    fn ddp_205_206_207_208_what_a_websocket_message_holds() {
        assert_eq!(frame(""), Ok(vec![]));
        assert_eq!(frame("[]"), Ok(vec![]));
        assert_eq!(frame(r#""a""#), Ok(vec!["a".to_owned()]));
        let three = ["a", "", "c"].map(str::to_owned).to_vec();
        assert_eq!(frame(r#"["a","","c"]"#), Ok(three));
        let nothing = vec!["null".to_owned(); 3];
        assert_eq!(frame("[5,[\"a\"],{\"msg\":\"ping\"}]"), Ok(nothing));
        for broken in ["[\"a", "x", "[\"a\"]]", "['a']", "[\"\u{1}\"]"] {
            assert_eq!(frame(broken), Err(Broken), "{broken}");
        }
    }

    #[test]
    fn deviation_032_a_lone_surrogate_is_replaced_and_a_pair_is_one_character() {
        let got = frame(r#"["\ud83d\ude00","\ud83d","\ude00x"]"#).unwrap();
        assert_eq!(got, ["😀", "\u{fffd}", "\u{fffd}x"]);
    }

    #[test]
    fn ddp_212_row_109_what_a_body_holds() {
        let body = |text: &str| messages_of_body(text, &JsonLimits::default());
        assert_eq!(body(r#"["a"]"#), Ok(vec!["a".to_owned()]));
        assert_eq!(body("[]"), Ok(vec![]));
        for empty in ["", "\"a\"", "null", "{}"] {
            assert_eq!(body(empty), Err(BadBody::Empty), "{empty}");
        }
        assert_eq!(body("[\"x"), Err(BadBody::NotJson));
        let many = format!("[{}\"\"]", "\"\",".repeat(10_000));
        assert_eq!(body(&many), Err(BadBody::NotJson));
    }

    #[test]
    fn a_form_holds_its_messages_in_a_field() {
        let form = |text: &str| messages_of_form(text, &JsonLimits::default());
        assert_eq!(form("d=%5B%22x%22%5D"), Ok(vec!["x".to_owned()]));
        assert_eq!(form("p=p&d=[%22+%2b%22]"), Ok(vec![" +".to_owned()]));
        for empty in ["", "d=", "p=p", "d=%"] {
            assert_eq!(form(empty), Err(BadBody::Empty), "{empty}");
        }
        assert_eq!(form("d=%5B%22x"), Err(BadBody::NotJson));
    }
}
