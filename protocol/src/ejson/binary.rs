//! Bytes, which EJSON writes in base64. Meteor's base64 reader is lenient in its own way.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Bytes: a `Uint8Array` in JavaScript.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(clippy::exhaustive_structs, reason = "a wrapper, to be taken apart")]
pub struct Binary(pub Vec<u8>);

impl Binary {
    /// Standard base64 with padding.
    pub(super) fn write_base64(&self, out: &mut String) {
        STANDARD.encode_string(&self.0, out);
    }

    /// Reads base64 as Meteor does, which handles each character by itself and by its place in a
    /// group of four: see [`lenient`]. `None` if Meteor refuses it.
    pub(super) fn from_base64(text: &str) -> Option<Self> {
        let bytes = STANDARD.decode(text).ok();
        bytes.or_else(|| lenient(text)).map(Self)
    }
}

impl From<Vec<u8>> for Binary {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<&[u8]> for Binary {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl AsRef<[u8]> for Binary {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Decodes groups of four characters, as Meteor does. At the first two places a foreign character
/// counts as 0, and `=` is refused. At the last two places both are skipped, and so is the byte
/// that would end there. The fourth place takes its missing bits from the latest third place that
/// was not skipped. The length of the text, without padding, says how many bytes there are; skipped
/// bytes are replaced by zeros at the end.
fn lenient(text: &str) -> Option<Vec<u8>> {
    let units: Vec<u16> = text.encode_utf16().collect();
    let is_padding = |unit: &u16| *unit == u16::from(b'=');
    let last = units.iter().rev().take(2);
    let padding = last.take_while(|unit| is_padding(unit)).count();
    let length = units.len().saturating_mul(3) / 4;
    let mut bytes = Vec::with_capacity(length);
    let (mut first, mut second, mut third) = (0, 0, 0);
    for (place, unit) in (0..4).cycle().zip(&units) {
        let digit = sextet(*unit);
        match (place, digit) {
            (0 | 1, _) if is_padding(unit) => return None,
            (0, digit) => first = digit.unwrap_or(0) << 2,
            (1, digit) => {
                let digit = digit.unwrap_or(0);
                bytes.push(first | (digit >> 4));
                second = digit << 4;
            }
            (2, Some(digit)) => {
                bytes.push(second | (digit >> 2));
                third = digit << 6;
            }
            (_, Some(digit)) => bytes.push(third | digit),
            (_, None) => {}
        }
    }
    bytes.resize(length.saturating_sub(padding), 0);
    Some(bytes)
}

fn sextet(unit: u16) -> Option<u8> {
    match u8::try_from(unit).ok()? {
        letter @ b'A'..=b'Z' => Some(letter - b'A'),
        letter @ b'a'..=b'z' => Some(letter - b'a' + 26),
        digit @ b'0'..=b'9' => Some(digit - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Vec<u8>> {
        Binary::from_base64(text).map(|bytes| bytes.0)
    }

    // The expected results are Meteor's.
    #[test]
    fn found_501_malformed_base64() {
        for (text, meaning) in [
            ("AQ ID", "AQgA"),
            ("AB CD", "AAIA"),
            ("ABC D", "ABAA"),
            ("AQ==AQ==", "AQEAAA=="),
            ("AADBAA B", "AADBAMEA"),
            ("AAA\u{1f600}", "AAAA"),
            ("\u{e9}B", "AA=="),
            ("AA=", "AA=="),
            ("!!!!", "AAAA"),
        ] {
            assert_eq!(read(text), read(meaning), "{text}");
            assert!(read(text).is_some(), "{text}");
        }
        for text in [
            "A=BC", "====", "=AAA", "=", "==", "A=", "A==", "AAAA=", "AAAAB==",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    /// The same rule in another form: which bytes each group of four gives.
    fn by_groups(text: &str) -> Option<Vec<u8>> {
        const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let characters: Vec<char> = text.chars().collect();
        let digit = |at: usize| characters.get(at).and_then(|&it| DIGITS.find(it));
        let mut bytes = Vec::new();
        for start in (0..characters.len()).step_by(4) {
            let head = characters.iter().skip(start).take(2);
            if head.clone().any(|it| *it == '=') {
                return None;
            }
            let (a, b) = (digit(start).unwrap_or(0), digit(start + 1).unwrap_or(0));
            if head.count() == 2 {
                bytes.push((a * 64 + b) / 16);
            }
            if let Some(c) = digit(start + 2) {
                bytes.push((b * 64 + c) / 4 % 256);
            }
            if let Some(d) = digit(start + 3) {
                let thirds = (2..start + 3).step_by(4);
                let c = thirds.rev().find_map(digit).unwrap_or(0);
                bytes.push((c * 64 + d) % 256);
            }
        }
        let without_padding = ["==", "="].iter().find(|end| text.ends_with(*end));
        let length = characters.len() * 3 / 4 - without_padding.map_or(0, |end| end.len());
        bytes.resize(length, 0);
        Some(
            bytes
                .into_iter()
                .map(|byte| u8::try_from(byte).unwrap())
                .collect(),
        )
    }

    #[test]
    fn found_501_any_text_is_read_by_the_same_rule() {
        let mut texts = vec![String::new()];
        for _ in 0..7 {
            for text in &texts {
                assert_eq!(read(text), by_groups(text), "{text:?}");
            }
            let longer = |text: &String| ['A', 'n', '/', '=', ' '].map(|it| format!("{text}{it}"));
            texts = texts.iter().flat_map(longer).collect();
        }
        for group in texts.iter().step_by(7) {
            let text = format!("{group}QUJD{group}");
            assert_eq!(read(&text), by_groups(&text), "{text:?}");
        }
    }
}
