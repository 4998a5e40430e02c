//! Queries and forms: the few fields of them that SockJS uses.

use std::fmt;

/// The name of the script function that receives frames. It is safe to write into any page or
/// script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callback(Box<str>);

/// Why a query names no callback. Sent as the body of a 500.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadCallback {
    /// The query has none.
    Missing,
    /// It is not 1 to 32 letters, digits, `-`, `_` and `.`.
    Invalid,
}

/// Longest name of a callback.
const MAX_CALLBACK: usize = 32;

impl Callback {
    /// Reads the callback of a query, in the field `c` or `callback`.
    ///
    /// # Errors
    ///
    /// The query has none, or one that could be something other than a name.
    pub fn of_query(query: &str) -> Result<Self, BadCallback> {
        let name = field(query, "c").or_else(|| field(query, "callback"));
        let name = name.ok_or(BadCallback::Missing)?;
        let fits = (1..=MAX_CALLBACK).contains(&name.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
        if fits {
            Ok(Self(name.into_boxed_str()))
        } else {
            Err(BadCallback::Invalid)
        }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BadCallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "\"callback\" parameter required",
            Self::Invalid => "invalid \"callback\" parameter",
        })
    }
}

impl std::error::Error for BadCallback {}

/// A field of a query or a form; if it cannot be decoded, it is empty.
pub(super) fn field(form: &str, name: &str) -> Option<String> {
    let mut fields = form
        .split('&')
        .map(|it| it.split_once('=').unwrap_or((it, "")));
    let (_, value) = fields.find(|(known, _)| *known == name)?;
    Some(unescape(&value.replace('+', " ")).unwrap_or_default())
}

/// Decodes percent escapes; `None` if one is malformed, or the result is not UTF-8.
pub(super) fn unescape(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut out = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        out.push(u8::from_str_radix(digits, 16).ok().filter(|_| is_hex)?);
        out.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_110_a_callback_is_a_name_and_nothing_else() {
        let name = |query: &str| Callback::of_query(query).map(|it| it.as_str().to_owned());
        assert_eq!(name("c=%63allback"), Ok("callback".to_owned()));
        assert_eq!(name("t=1&callback=_jp.a-1"), Ok("_jp.a-1".to_owned()));
        assert!(name(&format!("c={}", "x".repeat(32))).is_ok());
        for query in [
            "c=%20", "c=*", "c=abc(", "c=abc%28", "c=", "c", "c=%zz", "c=%c3%a4", "c=a+b",
        ] {
            assert_eq!(name(query), Err(BadCallback::Invalid), "{query}");
        }
        let long = format!("c={}", "x".repeat(33));
        assert_eq!(name(&long), Err(BadCallback::Invalid));
        for query in ["", "x=c", "cc=x"] {
            assert_eq!(name(query), Err(BadCallback::Missing), "{query}");
        }
    }

    #[test]
    fn percent_escapes() {
        assert_eq!(unescape("a%20b%C3%a4").as_deref(), Some("a bä"));
        for broken in ["%", "%2", "a%zz", "%+1", "%ff", "%ä"] {
            assert_eq!(unescape(broken), None, "{broken}");
        }
    }
}
