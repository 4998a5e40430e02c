//! A record as a line of JSON, as a topic has it, a member of a group, or the dead letters.

use std::borrow::Cow;

use updraft::ejson::{self, JsonLimits};
use updraft::topics::{DeadLetter, Delivery, Message};

use super::time::iso;

/// As deep as a value of a topic may be.
const LIMITS: JsonLimits = JsonLimits::new(64, usize::MAX);

/// Appends the line of a record, without its end: `position`, `offset`, `time`; `key`, `compact`,
/// `meta` and `contentType` if the record has them; and `payload`, or `"tombstone":true`.
///
/// # Errors
///
/// The payload is not EJSON, and has no content type.
pub(super) fn write_record(message: &Message, line: &mut String) -> Result<(), String> {
    line.push('{');
    write_place(message, line);
    write_names(message, line);
    write_payload(message, line)?;
    line.push('}');
    Ok(())
}

/// As [`write_record`], with `topic`, `deliveries` and `generation` behind the time.
///
/// # Errors
///
/// As there.
pub(super) fn write_delivery(delivery: &Delivery, line: &mut String) -> Result<(), String> {
    let message = delivery.message();
    line.push('{');
    write_place(message, line);
    write_text("topic", Some(delivery.topic().as_str()), line);
    line.push_str(&format!(
        r#","deliveries":{},"generation":{}"#,
        delivery.deliveries(),
        delivery.generation()
    ));
    write_names(message, line);
    write_payload(message, line)?;
    line.push('}');
    Ok(())
}

/// Appends the line of a dead letter, without its end: `id`, `topic`, `offset`, `time`, `parked`,
/// `deliveries`, `member` if one had it, `reason`, and what a record has. A payload that is not
/// EJSON is there as bytes; there is none if the record could not be read, or is a tombstone.
pub(super) fn write_letter(letter: &DeadLetter, line: &mut String) {
    line.push_str(&format!(r#"{{"id":{}"#, letter.id));
    write_text("topic", Some(letter.topic.as_str()), line);
    line.push_str(&format!(
        r#","offset":{},"time":"{}","parked":"{}","deliveries":{}"#,
        letter.offset,
        iso(letter.time),
        iso(letter.parked),
        letter.deliveries
    ));
    write_text("member", letter.member.as_deref(), line);
    write_text("reason", Some(&letter.reason), line);
    let message = &letter.message;
    write_names(message, line);
    if let Some(payload) = message.payload()
        && write_payload(message, line).is_err()
    {
        write_bytes(payload, line);
    }
    line.push('}');
}

fn write_place(message: &Message, line: &mut String) {
    // A token has no character that JSON escapes.
    line.push_str(&format!(
        r#""position":"{}","offset":{},"time":"{}""#,
        message.position(),
        message.offset(),
        iso(message.time())
    ));
}

fn write_names(message: &Message, line: &mut String) {
    write_text("key", message.key(), line);
    write_text("compact", message.compact(), line);
    write_text("contentType", message.content_type(), line);
    if !message.meta().is_empty() {
        let mut before = r#","meta":{"#;
        for (name, text) in message.meta() {
            line.push_str(before);
            ejson::write_string(name, line);
            line.push(':');
            ejson::write_string(text, line);
            before = ",";
        }
        line.push('}');
    }
}

/// Nothing is appended if there is an error.
fn write_payload(message: &Message, line: &mut String) -> Result<(), String> {
    match (message.payload(), message.content_type()) {
        (None, _) => line.push_str(r#","tombstone":true"#),
        (Some(payload), None) => {
            let payload = one_line(payload)?;
            line.push_str(r#","payload":"#);
            line.push_str(&payload);
        }
        (Some(payload), Some(_)) => write_bytes(payload, line),
    }
    Ok(())
}

fn write_bytes(payload: &[u8], line: &mut String) {
    line.push_str(r#","payload":"#);
    let bytes = ejson::Binary::from(payload.to_vec());
    line.push_str(&ejson::to_ejson(&bytes.into()));
}

/// A member whose name needs no escapes, if there is one.
fn write_text(name: &str, text: Option<&str>, line: &mut String) {
    if let Some(text) = text {
        line.push_str(&format!(r#","{name}":"#));
        ejson::write_string(text, line);
    }
}

/// The text of a value as it was stored, on one line.
fn one_line(payload: &[u8]) -> Result<Cow<'_, str>, String> {
    ejson::scan(payload, &LIMITS).map_err(|error| error.to_string())?;
    let text = str::from_utf8(payload).map_err(|error| error.to_string())?;
    if text.contains(['\n', '\r']) {
        // In JSON they can only stand between values.
        return Ok(text.replace(['\n', '\r'], " ").into());
    }
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_one_line_whoever_wrote_it() {
        assert_eq!(one_line(b"{\"a\":1}").unwrap(), "{\"a\":1}");
        assert_eq!(
            one_line(b"{\r\n\"a\":\"\\n\"\n}").unwrap(),
            "{  \"a\":\"\\n\" }"
        );
        for payload in [&b""[..], b"{", b"\"\xff\"", b"\"\n\""] {
            assert!(one_line(payload).is_err());
        }
    }
}
