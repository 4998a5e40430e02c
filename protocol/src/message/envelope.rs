//! The members of a message, found without building a tree: enough to see who a message is for. It
//! works without recursion and keeps nothing, however deep and long the message is.

use std::borrow::Cow;

/// The top level of a message. It yields each member: its key, and the text of its value.
///
/// Values are delimited, not checked: a message that is not JSON inside a value is passed on to
/// somebody who reads it.
#[derive(Clone, Debug)]
pub(crate) struct Members<'a> {
    text: &'a str,
    /// Where the next member begins.
    at: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Behind the opening bracket.
    First,
    /// Behind a value.
    Next,
    /// The object is closed, and nothing follows it.
    Complete,
    Broken,
}

/// A member of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member<'a> {
    pub(crate) key: Cow<'a, str>,
    /// The value's text.
    pub(crate) value: &'a str,
}

impl<'a> Members<'a> {
    /// The members of the object that the text is. `None` if it is no object.
    pub(crate) fn of(text: &'a str) -> Option<Self> {
        let at = skip_blanks(text.as_bytes(), 0);
        let is_object = text.as_bytes().get(at) == Some(&b'{');
        is_object.then(|| Self {
            text,
            at: at.saturating_add(1),
            state: State::First,
        })
    }

    /// Whether the object was read to its end, and nothing follows it.
    pub(crate) fn is_complete(&self) -> bool {
        self.state == State::Complete
    }

    /// The next member; an error where the text is not JSON.
    fn read(&mut self) -> Result<Option<Member<'a>>, NotJson> {
        let bytes = self.text.as_bytes();
        let mut at = skip_blanks(bytes, self.at);
        match (self.state, bytes.get(at)) {
            (State::Complete | State::Broken, _) => return Ok(None),
            (State::First | State::Next, Some(b'}')) => {
                at = skip_blanks(bytes, at.saturating_add(1));
                if at < bytes.len() {
                    return Err(NotJson);
                }
                self.state = State::Complete;
                return Ok(None);
            }
            (State::Next, Some(b',')) => at = skip_blanks(bytes, at.saturating_add(1)),
            (State::First, _) => {}
            (State::Next, _) => return Err(NotJson),
        }
        let end = end_of_string(bytes, at)?;
        let key = self.text.get(at..end).ok_or(NotJson)?;
        let key = string(key).ok_or(NotJson)?;
        at = skip_blanks(bytes, end);
        if bytes.get(at) != Some(&b':') {
            return Err(NotJson);
        }
        at = skip_blanks(bytes, at.saturating_add(1));
        let end = end_of_value(bytes, at)?;
        let value = self.text.get(at..end).ok_or(NotJson)?;
        self.at = end;
        self.state = State::Next;
        Ok(Some(Member { key, value }))
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = Member<'a>;

    fn next(&mut self) -> Option<Member<'a>> {
        self.read().unwrap_or_else(|NotJson| {
            self.state = State::Broken;
            None
        })
    }
}

/// The string that the text of a value is, if it is one and holds no lone surrogate.
pub(crate) fn string(value: &str) -> Option<Cow<'_, str>> {
    let inner = value.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        return serde_json::from_str(value).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(inner))
}

/// Whether the text of a value is one that JavaScript takes for false.
pub(crate) fn is_falsy(value: &str) -> bool {
    match value.as_bytes() {
        [b'-' | b'0'..=b'9', ..] => value.parse::<f64>().is_ok_and(|number| number == 0.0),
        value => matches!(value, b"\"\"" | b"false" | b"null"),
    }
}

/// The strings of the array that the text of a value is; its other elements are left out.
pub(crate) fn strings(value: &str) -> Vec<Cow<'_, str>> {
    let bytes = value.as_bytes();
    let mut strings = Vec::new();
    let mut at: usize = 1;
    while bytes.first() == Some(&b'[') {
        at = skip_blanks(bytes, at);
        let Ok(end) = end_of_value(bytes, at) else {
            break;
        };
        strings.extend(value.get(at..end).and_then(string));
        at = skip_blanks(bytes, end);
        if bytes.get(at) != Some(&b',') {
            break;
        }
        at = at.saturating_add(1);
    }
    strings
}

struct NotJson;

fn skip_blanks(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    let blanks = rest
        .iter()
        .take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
    at.saturating_add(blanks.count())
}

/// The index behind the string that begins at this one.
fn end_of_string(bytes: &[u8], at: usize) -> Result<usize, NotJson> {
    let Some([b'"', rest @ ..]) = bytes.get(at..) else {
        return Err(NotJson);
    };
    let mut rest = rest;
    loop {
        let special = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'));
        let special = special.ok_or(NotJson)?;
        match rest.get(special..) {
            Some([b'"', rest @ ..]) => return Ok(bytes.len().saturating_sub(rest.len())),
            Some([_, _, behind @ ..]) => rest = behind,
            _ => return Err(NotJson),
        }
    }
}

/// The index behind the value that begins at this one.
fn end_of_value(bytes: &[u8], start: usize) -> Result<usize, NotJson> {
    let mut at = start;
    let mut depth: usize = 0;
    loop {
        match bytes.get(at) {
            Some(b'"') => at = end_of_string(bytes, at)?,
            Some(b'{' | b'[') => {
                depth = depth.saturating_add(1);
                at = at.saturating_add(1);
            }
            Some(b'}' | b']') if depth > 0 => {
                depth = depth.saturating_sub(1);
                at = at.saturating_add(1);
            }
            Some(b',' | b':' | b' ' | b'\t' | b'\n' | b'\r') if depth > 0 => {
                at = at.saturating_add(1);
                continue;
            }
            Some(b'-' | b'+' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z') => {
                let rest = bytes.get(at..).unwrap_or_default();
                let word = rest
                    .iter()
                    .take_while(|it| it.is_ascii_alphanumeric() || b"+-.".contains(it));
                at = at.saturating_add(word.count());
            }
            _ => return Err(NotJson),
        }
        if depth == 0 {
            return if at > start { Ok(at) } else { Err(NotJson) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(text: &str) -> Option<Vec<(String, &str)>> {
        let mut members = Members::of(text)?;
        let all = members.by_ref();
        let all = all.map(|it| (it.key.into_owned(), it.value)).collect();
        members.is_complete().then_some(all)
    }

    fn owned<'a>(all: &[(&str, &'a str)]) -> Option<Vec<(String, &'a str)>> {
        let all = all.iter().map(|(key, value)| ((*key).to_owned(), *value));
        Some(all.collect())
    }

    #[test]
    fn each_member_is_found_with_the_text_of_its_value() {
        let text = " {\"msg\":\"added\", \"a\\\"\\u0062\" : {\"x\":[1,\"}\\\"\"]} ,\"n\":-1.5e+3,\"t\":true} \n";
        let expected = [
            ("msg", "\"added\""),
            ("a\"b", "{\"x\":[1,\"}\\\"\"]}"),
            ("n", "-1.5e+3"),
            ("t", "true"),
        ];
        assert_eq!(members(text), owned(&expected));
        assert_eq!(members("{}"), owned(&[]));
    }

    #[test]
    fn what_is_no_object_or_is_cut_is_not_complete() {
        for text in [
            "",
            " ",
            "5",
            "\"x\"",
            "null",
            "[]",
            "{bad",
            "{",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":1",
            "{\"a\":\"x",
            "{\"a\":[1}",
            "{\"a\":1} x",
            "{\"a\":1}{",
            "{\"a\" 1}",
            "{a:1}",
            "{\"a\":}",
            "{\"a\":1 \"b\":2}",
            "\u{feff}{}",
            "{\"a\":\"\\",
            "{,}",
        ] {
            assert_eq!(members(text), None, "{text}");
        }
    }

    #[test]
    fn depth_and_length_cost_no_stack() {
        let deep = "[".repeat(1_000_000) + &"]".repeat(1_000_000);
        let text = format!("{{\"a\":{deep}}}");
        assert_eq!(members(&text), owned(&[("a", &deep)]));
    }

    #[test]
    fn values_are_read_as_what_routing_needs() {
        assert_eq!(string("\"a\\u00e9\"").as_deref(), Some("aé"));
        assert_eq!(string("\"\\ud800\""), None);
        assert_eq!(string("5"), None);
        assert_eq!(strings("[\"a\", \"b\\n\" ,3]"), ["a", "b\n"]);
        assert_eq!(strings("{}"), [""; 0]);
        for falsy in ["0", "-0", "0.0", "\"\"", "null", "false"] {
            assert!(is_falsy(falsy), "{falsy}");
        }
        for truthy in ["1", "\"0\"", "true", "{}", "[]"] {
            assert!(!is_falsy(truthy), "{truthy}");
        }
    }
}
