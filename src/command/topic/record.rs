//! A record as a line of JSON.

use std::borrow::Cow;

use updraft::ejson::{self, JsonLimits};
use updraft::topics::Message;

use super::time::iso;

/// As deep as a value of a topic may be.
const LIMITS: JsonLimits = JsonLimits::new(64, usize::MAX);

/// Appends the line, without its end: `position`, `offset`, `time`; `key`, `compact`, `meta` and
/// `contentType` if the record has them; and `payload`, or `"tombstone":true`.
///
/// # Errors
///
/// The payload is not EJSON, and has no content type.
pub(super) fn write_record(message: &Message, line: &mut String) -> Result<(), String> {
    line.push_str(r#"{"position":"#);
    // A token has no character that JSON escapes.
    line.push_str(&format!(
        r#""{}","offset":{},"time":"{}""#,
        message.position(),
        message.offset(),
        iso(message.time())
    ));
    let mut text = |name: &str, text: Option<&str>| {
        if let Some(text) = text {
            line.push_str(name);
            ejson::write_string(text, line);
        }
    };
    text(r#","key":"#, message.key());
    text(r#","compact":"#, message.compact());
    text(r#","contentType":"#, message.content_type());
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
    match (message.payload(), message.content_type()) {
        (None, _) => line.push_str(r#","tombstone":true"#),
        (Some(payload), None) => {
            line.push_str(r#","payload":"#);
            line.push_str(&one_line(payload)?);
        }
        (Some(payload), Some(_)) => {
            line.push_str(r#","payload":"#);
            let bytes = ejson::Binary::from(payload.to_vec());
            line.push_str(&ejson::to_ejson(&bytes.into()));
        }
    }
    line.push('}');
    Ok(())
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
