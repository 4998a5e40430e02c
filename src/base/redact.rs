//! Makes text safe to log that may contain a peer's input: escaped, shortened, and without the
//! values of names that suggest a secret. The text of an error quotes clients more often than its
//! author knows.

use std::fmt;

/// The maximum length of a logged text, in characters.
const MAX_CHARS: usize = 1000;

/// Replaces a secret.
const HIDDEN: &str = "[hidden]";

/// A name suggests a secret if it contains one of these, ignoring case, `-` and `_`.
const SECRETS: [&str; 20] = [
    "accesskey",
    "apikey",
    "assertion",
    "authorization",
    "bearer",
    "cookie",
    "credential",
    "digest",
    "jwt",
    "passcode",
    "passphrase",
    "passwd",
    "password",
    "privatekey",
    "pwd",
    "resume",
    "secret",
    "session",
    "token",
    "verifier",
];

/// A name also suggests a secret if it equals one of these.
const SHORT_SECRETS: [&str; 5] = ["auth", "otp", "pass", "pin", "sid"];

/// The schemes of `Authorization`. What follows is a secret if it looks like one.
const SCHEMES: [&str; 2] = ["basic", "bearer"];

/// Displays a text so that it cannot forge a line of the log, move the terminal's cursor, or fill
/// the disk.
pub(crate) struct Redacted<'a>(pub(crate) &'a str);

impl fmt::Display for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Shortened first, so that a long text costs no more than a short one. A secret that is cut
        // off is hidden all the same.
        let end = self.0.char_indices().nth(MAX_CHARS).map(|(end, _)| end);
        let text = end.and_then(|end| self.0.get(..end)).unwrap_or(self.0);
        for c in without_secrets(text).chars() {
            // Quotes and backslashes are harmless, and frequent in texts.
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

/// A text about what a client has sent, without the quoted parts.
pub(crate) fn without_quotes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, quoted)) = rest.find(QUOTES).and_then(|at| rest.split_at_checked(at)) {
        let quote = quoted.chars().next().unwrap_or_default();
        let opens = !before.ends_with(char::is_alphanumeric);
        let inner = quoted.get(quote.len_utf8()..).unwrap_or_default();
        out.push_str(before);
        match inner.rfind(quote) {
            // The quoted text may contain the same quote, so only what follows the last one is
            // shown.
            Some(end) if opens => {
                out.push_str(HIDDEN);
                rest = inner
                    .get(end..)
                    .and_then(|it| it.get(quote.len_utf8()..))
                    .unwrap_or_default();
            }
            None if opens => {
                out.push_str(HIDDEN);
                return out;
            }
            _ => {
                out.push(quote);
                rest = inner;
            }
        }
    }
    out.push_str(rest);
    out
}

const QUOTES: [char; 3] = ['"', '\'', '`'];

/// The text with each secret hidden.
fn without_secrets(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((secret, length)) = next_secret(rest) {
        let before = rest.len().saturating_sub(secret.len());
        out.push_str(rest.get(..before).unwrap_or_default());
        out.push_str(HIDDEN);
        rest = secret.get(length..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

/// The text from its next secret on, and the length of that secret in bytes.
fn next_secret(text: &str) -> Option<(&str, usize)> {
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(|c| !is_of_word(c));
        let word = prefix_of(rest, is_of_word);
        if word.is_empty() {
            return None;
        }
        let behind = rest.get(word.len()..)?;
        if let Some(found) = secret_of(word, rest, behind) {
            return Some(found);
        }
        rest = behind;
    }
}

/// The secret that a word is or announces: a JSON Web Token, the user in a URL, what follows
/// `Bearer`, or the value of a name that suggests a secret. `text` begins with the word, `behind`
/// follows it.
fn secret_of<'a>(word: &str, text: &'a str, behind: &'a str) -> Option<(&'a str, usize)> {
    if word.starts_with("eyJ") {
        let token = prefix_of(text, |c| is_of_word(c) || c == '.');
        return (token.len() >= 20).then_some((text, token.len()));
    }
    if let Some(authority) = behind.strip_prefix("://") {
        return Some((authority, user_length(authority)?));
    }
    let letters = word.chars().filter(|c| !matches!(c, '-' | '_'));
    let name = letters.collect::<String>().to_lowercase();
    if SCHEMES.contains(&&*name)
        && let Some(value) = behind.strip_prefix(' ')
        && let Some(length) = credential_length(value)
    {
        return Some((value, length));
    }
    let is_secret = SECRETS.iter().any(|secret| name.contains(secret));
    if !is_secret && !SHORT_SECRETS.contains(&&*name) {
        return None;
    }
    let value = value_behind(behind)?;
    Some((value, secret_length(&name, value)))
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '-' | '_')
}

/// The longest prefix of a text that consists of such characters.
fn prefix_of(text: &str, is_of: impl Fn(char) -> bool) -> &str {
    let end = text.find(|c| !is_of(c));
    end.and_then(|end| text.get(..end)).unwrap_or(text)
}

/// Bytes of a URL's user and password, up to the `@`, or up to where the text was cut.
fn user_length(authority: &str) -> Option<usize> {
    let ends = |c: char| c.is_whitespace() || r#"/?#"'\<>`"#.contains(c);
    let whole = prefix_of(authority, |c| !ends(c));
    let is_cut = || {
        let (_, port) = whole.rsplit_once(':')?;
        let is_port = whole.len() < authority.len() || port.chars().all(|c| c.is_ascii_digit());
        (!is_port).then_some(whole.len())
    };
    whole.rfind('@').or_else(is_cut)
}

/// Bytes of what follows `Bearer`, if it looks like a credential rather than a word.
fn credential_length(value: &str) -> Option<usize> {
    let value = prefix_of(value, |c| is_of_word(c) || ".~+/=".contains(c));
    let is_no_word = value.contains(|c: char| c.is_ascii_digit() || c.is_ascii_uppercase());
    (value.len() >= 8 && is_no_word).then_some(value.len())
}

/// The value of a name, if it has one: `name: value`, `"name": value`, `name=value`, `name =>
/// value`, `Name("value")`, `("name", "value")`.
fn value_behind(behind: &str) -> Option<&str> {
    let is_quoted = |text: &str| text.trim_start_matches('\\').starts_with(['"', '\'']);
    if let Some(value) = behind.strip_prefix('(') {
        return (is_quoted(value) || nests(value)).then_some(value);
    }
    let lead = behind.trim_start_matches(['"', '\'', '\\']);
    if lead.len() < behind.len()
        && let Some(value) = lead.strip_prefix(',')
    {
        let value = value.trim_start();
        return is_quoted(value).then_some(value);
    }
    let lead = lead.trim_start();
    let value = lead.trim_start_matches([':', '=']);
    let value = value.strip_prefix('>').unwrap_or(value);
    lead.starts_with([':', '=']).then(|| value.trim_start())
}

/// Bytes of the secret at the start of a text: a quoted string, something in brackets, a line, or a
/// word.
fn secret_length(name: &str, value: &str) -> usize {
    let slashes = prefix_of(value, |c| c == '\\').len();
    let first = value.get(slashes..).and_then(|rest| rest.chars().next());
    let has = |part| name.contains(part);
    let end = match first {
        Some('"' | '\'') if slashes > 0 => closing_escaped_quote(value, slashes),
        Some(quote @ ('"' | '\'')) => closing_quote(value, quote),
        // The end of nested brackets is not known, so all of the rest is hidden.
        _ if nests(value) => None,
        // These have several words.
        _ if has("authorization") || has("cookie") => value.find(['\n', '\r']),
        _ if has("pass") => value.find(|c| ENDS.contains(&c)),
        _ => value.find(|c| ENDS.contains(&c) || matches!(c, ' ' | '"' | '\'')),
    };
    end.unwrap_or(value.len())
}

/// Characters that end any value that is not quoted.
const ENDS: [char; 11] = [',', '{', '[', '(', '}', ')', ']', '&', ';', '\n', '\r'];

/// Whether a value is in brackets, or is a name followed by brackets, as in `String("…")` or
/// `Digest { … }`.
fn nests(value: &str) -> bool {
    let rest = value.trim_start_matches(is_of_word).trim_start();
    rest.starts_with(['{', '[', '('])
}

/// The end of a string within a quoted string: the next quote of the same kind, with as many
/// backslashes.
fn closing_escaped_quote(value: &str, slashes: usize) -> Option<usize> {
    let quote = value.get(..slashes.saturating_add(1))?;
    value.match_indices(quote).skip(1).find_map(|(at, _)| {
        let is_longer = value.get(..at)?.ends_with('\\');
        (!is_longer).then(|| at.saturating_add(quote.len()))
    })
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
    fn found_302_what_a_text_quotes_is_hidden() {
        for (text, expected) in [
            (
                "invalid type: integer, expected u32",
                "invalid type: integer, expected u32",
            ),
            ("no colour: \"re\"d\"", "no colour: [hidden]"),
            ("`a` is not b", "[hidden] is not b"),
            ("it isn't one: 'x'y", "it isn't one: [hidden]y"),
            ("never 'ends", "never [hidden]"),
            ("", ""),
        ] {
            assert_eq!(without_quotes(text), expected);
        }
    }

    #[test]
    fn row_069_long_texts_are_cut() {
        let text = shown(&"é".repeat(5000));
        assert_eq!(text.chars().count(), MAX_CHARS + 1);
        assert!(text.ends_with('…'));
        assert_eq!(shown(&"é".repeat(MAX_CHARS)), "é".repeat(MAX_CHARS));
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
        let cut = format!("{}password=secret", "x".repeat(MAX_CHARS - 12));
        assert!(!shown(&cut).contains("se"), "{}", shown(&cut));
    }

    #[test]
    fn found_203_other_names_of_secrets_are_known_too() {
        let secret = "s3cr3t-s3cr3t";
        for text in [
            r#"{"jwt":"§"}"#,
            "?jwt=§&x=1",
            r#"{"digest":"§","algorithm":"sha-256"}"#,
            r#"{"secret":"§"}"#,
            r#"{"oauth":{"credentialToken":"§","credentialSecret":"§"}}"#,
            "client_secret=§",
            r#"{"apiKey":"§"}"#,
            "x-api-key: §",
            "API_KEY=§",
            r#"{"accessKeyId":"§"}"#,
            r#"{"private_key":"§"}"#,
            "code_verifier=§",
            "SAMLassertion=§",
            r#"{"passwordHash":"§"}"#,
            r#"{"tokens":["§","§"]}"#,
            r#"{"msg":"connect","session":"§"}"#,
            "Authorization: Bearer §",
            "authorization: Basic §",
            r#"{"authorization": "Bearer §", "host": "h"}"#,
            "Authorization: Digest username=\"§\", response=\"§\"",
            "no good: Bearer §",
            "curl -H 'Proxy-Authorization: Bearer §'",
            "Cookie: meteor_login_token=§; connect.sid=§",
            "Set-Cookie: a=§; HttpOnly; Path=/",
            r#"[("cookie", "a=§; b=§")]"#,
            "PASSWD=§",
            "pwd: §",
            "pass=§",
            "otp = §",
            "Incorrect password: § and § and §",
            r#"Token("§")"#,
            r#"Login(Password("§"))"#,
            r#"("password", "§")"#,
            r#"'token' => '§'"#,
            "token := §",
            "Password(Some(\"§\"))",
            r#"{\\\"resume\\\":\\\"§\\\"}"#,
            r#"{\"password\":\"§\\\"§\"}"#,
            "redis://user:§@127.0.0.1:6379/0",
            "mongodb://§:§@a.example,b.example/db?x=1",
            "https://§@host/path",
            "redis://user:§",
            "bearer = §",
        ] {
            let shown = shown(&text.replace('§', secret));
            assert!(!shown.contains("s3cr3t"), "{text}: {shown}");
            assert!(shown.contains(HIDDEN), "{text}: {shown}");
        }
        let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl";
        assert_eq!(shown(&format!("invalid: {jwt}!")), "invalid: [hidden]!");
        assert_eq!(
            shown(r#"{"digest":"x","algorithm":"sha-256"}"#),
            r#"{"digest":[hidden],"algorithm":"sha-256"}"#
        );
        assert_eq!(
            shown("redis://u:p@127.0.0.1:6379/0 is away"),
            "redis://[hidden]@127.0.0.1:6379/0 is away"
        );
    }

    #[test]
    fn found_203_what_is_no_secret_is_shown() {
        for text in [
            "assertion `left == right` failed",
            "the bearer of bad news, basic needs",
            "Bearer authentication is wanted",
            "http://127.0.0.1:3000/path?a=b",
            "http://127.0.0.1:3000",
            "the author: somebody; a pinned key: 7; passing: 5",
            "unknown field `x`, expected `password` or `token`",
            "E11000 duplicate key error, code: 11000",
            "token expired at 12:00",
        ] {
            assert_eq!(shown(text), text);
        }
    }
}
