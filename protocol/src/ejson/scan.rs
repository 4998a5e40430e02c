//! The check of a payload that is passed on unchanged. One pass finds out whether it is JSON within
//! the limits, and what the server must know about it, without building anything.

use super::json::{Build, Raw, read};
use super::number::read_number;
use super::{JsonLimits, ScanError};

/// What [`scan`] finds out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(hidden)]
#[non_exhaustive]
pub struct Scan {
    /// Whether the value is falsy in JavaScript: `0`, `""`, `false` or `null`.
    pub falsy: bool,
    /// Whether the key of some object begins with `$`, or with an escape that may be one: such a
    /// payload must be decoded before use.
    pub special: bool,
    /// Whether the value is an array.
    pub array: bool,
}

/// Checks that `payload` is UTF-8 and holds exactly one JSON value within `limits`.
///
/// # Errors
///
/// If it does not.
pub fn scan(payload: &[u8], limits: &JsonLimits) -> Result<Scan, ScanError> {
    let text = str::from_utf8(payload).map_err(|error| ScanError::Utf8 {
        offset: error.valid_up_to(),
    })?;
    let mut notes = Notes { special: false };
    read(text, limits, &mut notes)?;
    let value = text.trim_matches([' ', '\t', '\n', '\r']);
    let falsy = match value.as_bytes() {
        [b'-' | b'0'..=b'9', ..] => read_number(value) == 0.0,
        value => matches!(value, b"\"\"" | b"false" | b"null"),
    };
    Ok(Scan {
        falsy,
        special: notes.special,
        array: value.starts_with('['),
    })
}

struct Notes {
    special: bool,
}

impl<'a> Build<'a> for Notes {
    type Value = ();
    type Array = ();
    type Object = ();

    fn null(&mut self) {}

    fn bool(&mut self, _: bool) {}

    fn number(&mut self, _: &'a str) {}

    fn string(&mut self, _: Raw<'a>) {}

    fn array(&mut self) {}

    fn item(&mut self, (): &mut (), (): ()) {}

    fn end_array(&mut self, (): ()) {}

    fn object(&mut self) {}

    fn member(&mut self, (): &mut (), key: Raw<'a>, (): ()) {
        self.special |= key.literal().starts_with(['$', '\\']);
    }

    fn end_object(&mut self, (): ()) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scanned(payload: &str) -> Scan {
        scan(payload.as_bytes(), &JsonLimits::default()).unwrap()
    }

    #[test]
    fn falsy_is_javascripts() {
        for falsy in [
            "0",
            "-0",
            " 0.0 ",
            "0e5",
            "0.000e-7",
            "1e-400",
            "\"\"",
            "false",
            "\n null\t",
        ] {
            assert!(scanned(falsy).falsy, "{falsy}");
        }
        for truthy in [
            "1", "-1", "5e-324", "\"0\"", "true", "[]", "{}", "\" \"", "[0]",
        ] {
            assert!(!scanned(truthy).falsy, "{truthy}");
        }
    }

    #[test]
    fn dollar_keys_and_arrays_are_noted() {
        assert!(scanned(r#"[{"a":{"$date":5}}]"#).special);
        assert!(scanned(r#"{"\u0024date":5}"#).special);
        assert!(!scanned(r#"{"a$":"$date","b":["$x"]}"#).special);
        assert!(scanned(" [1]").array && !scanned("{}").array);
    }

    #[test]
    fn what_is_not_one_value_is_refused() {
        let limits = JsonLimits { depth: 64, keys: 4 };
        assert_eq!(
            scan(b"[1,\"\xff\"]", &limits),
            Err(ScanError::Utf8 { offset: 4 })
        );
        assert!(scan(b"\xed\xa0\x80", &limits).is_err());
        for payload in ["", "1 2", "[1", "\u{feff}{}", "{\"a\":tru}", "[1,2,3,4,5]"] {
            assert!(
                matches!(scan(payload.as_bytes(), &limits), Err(ScanError::Json(_))),
                "{payload}"
            );
        }
        assert!(scan("[".repeat(100_000).as_bytes(), &limits).is_err());
        let deep = |depth: usize| {
            scan(
                format!("{}1{}", "[".repeat(depth), "]".repeat(depth)).as_bytes(),
                &limits,
            )
        };
        assert!(deep(64).is_ok() && deep(65).is_err());
    }
}
