//! Text for logs that a peer may have had a hand in: escaped, cut, and without what follows words that announce a secret.
//! An error's text quotes what a client sent more often than its author knows.

use std::fmt;

/// Longest text in a log, in characters.
const LONGEST: usize = 1000;

/// What stands for a secret.
const HIDDEN: &str = "[hidden]";

/// Words behind which a secret stands.
const SECRETS: [&str; 3] = ["password", "resume", "token"];

/// Displays a text so that it can neither forge a line of the log, nor move the terminal's cursor, nor fill the disk.
pub(crate) struct Redacted<'a>(pub(crate) &'a str);

impl fmt::Display for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Cut first, so that a long text costs no more than a short one; a secret that is cut is hidden all the same.
        let end = self.0.char_indices().nth(LONGEST).map(|(end, _)| end);
        let text = end.and_then(|end| self.0.get(..end)).unwrap_or(self.0);
        for c in without_secrets(text).chars() {
            // Quotes and backslashes are harmless, and texts are full of them.
            if matches!(c, '"' | '\'' | '\\') {
                fmt::Write::write_char(f, c)?;
            } else {
                write!(f, "{}", c.escape_debug())?;
            }
        }
        if end.is_some() {
            f.write_str("…")
        } else {
            Ok(())
        }
    }
}

/// The text with each value hidden that follows one of [`SECRETS`] and a `:` or `=`.
fn without_secrets(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, value)) = split_at_secret(rest) {
        out.push_str(before);
        out.push_str(HIDDEN);
        rest = value.get(secret_length(value)..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

/// What stands before the next secret, and what begins with it.
fn split_at_secret(text: &str) -> Option<(&str, &str)> {
    let lower = text.to_ascii_lowercase();
    let mut from = 0;
    loop {
        let behind = lower.get(from..)?;
        let found = SECRETS
            .iter()
            .filter_map(|word| behind.find(word).map(|at| at + word.len()));
        let word_end = from + found.min()?;
        let lead = text.get(word_end..)?;
        let value = lead.trim_start_matches(['"', '\'', '\\', ' ']);
        if let Some(value) = value.strip_prefix([':', '=']) {
            let value = value.trim_start();
            return Some((text.get(..text.len() - value.len())?, value));
        }
        from = word_end;
    }
}

/// Bytes of the secret with which a text begins: a quoted string, something in brackets, or a word.
fn secret_length(value: &str) -> usize {
    let escaped = value.starts_with("\\\"");
    let end = match value.chars().next() {
        // A quoted string in a quoted string ends where its own kind of quote stands.
        _ if escaped => value.match_indices("\\\"").nth(1).map(|(at, _)| at + 2),
        Some(quote @ ('"' | '\'')) => closing_quote(value, quote),
        // What nests ends nobody knows where.
        Some('{' | '[' | '(') => None,
        _ => word_end(value),
    };
    end.unwrap_or(value.len())
}

/// Where a word ends; nowhere if it is the name of something that nests, as in `String("…")` or `Digest { … }`.
fn word_end(value: &str) -> Option<usize> {
    let ends = [
        ' ', ',', '{', '[', '(', '}', ')', ']', '&', ';', '"', '\'', '\n',
    ];
    let end = value.find(ends)?;
    let rest = value.get(end..)?.trim_start();
    (!rest.starts_with(['{', '[', '('])).then_some(end)
}

fn closing_quote(value: &str, quote: char) -> Option<usize> {
    let mut is_escaped = false;
    value.char_indices().skip(1).find_map(|(at, c)| {
        let ends = c == quote && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        ends.then_some(at + c.len_utf8())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        Redacted(text).to_string()
    }

    #[test]
    fn row_069_control_characters_are_escaped() {
        assert_eq!(
            shown("\u{1b}[31m\r\n\0\u{202e}é\"'\\"),
            "\\u{1b}[31m\\r\\n\\0\\u{202e}é\"'\\"
        );
    }

    #[test]
    fn row_069_long_texts_are_cut() {
        let text = shown(&"é".repeat(5000));
        assert_eq!(text.chars().count(), LONGEST + 1);
        assert!(text.ends_with('…'));
        assert_eq!(shown(&"é".repeat(LONGEST)), "é".repeat(LONGEST));
    }

    #[test]
    fn row_069_secrets_are_hidden() {
        for (text, expected) in [
            (
                r#"{"user":"u","password":"se\"cret","n":1}"#,
                r#"{"user":"u","password":[hidden],"n":1}"#,
            ),
            (
                r#"{"Password":{"digest":"secret"}}"#,
                r#"{"Password":[hidden]"#,
            ),
            (
                r#"{\"resume\":\"secret\",\"n\":1}"#,
                r#"{\"resume\":[hidden],\"n\":1}"#,
            ),
            (
                "Login { password: 'secret', loginToken: secret }",
                "Login { password: [hidden], loginToken: [hidden] }",
            ),
            (
                r#"{"password": String("secret"), "n": 1}"#,
                r#"{"password": [hidden]"#,
            ),
            (
                r#"password: Some(Digest { value: "secret" })"#,
                "password: [hidden]",
            ),
            (
                r#"password: Digest { value: "secret" }"#,
                "password: [hidden]",
            ),
            ("?resume_token=secret&x=1", "?resume_token=[hidden]&x=1"),
            (r#"token: "secret never ends"#, "token: [hidden]"),
            ("no token given", "no token given"),
            ("unexpected token, password", "unexpected token, password"),
            ("token = ", "token = [hidden]"),
        ] {
            assert_eq!(shown(text), expected);
        }
        let cut = format!("{}password=secret", "x".repeat(LONGEST - 12));
        assert!(!shown(&cut).contains("se"), "{}", shown(&cut));
    }
}
