//! The grammar of JSON as JavaScript's `JSON.parse` reads it. There is a reader of our own because
//! serde_json refuses what JavaScript sends: lone surrogates and numbers such as 1e400;
//! [`parse`](super::parse()) and [`scan`](super::scan()) share it, so that they cannot disagree.

use super::text::TextBuilder;
use super::{Limits, ParseError, ParseErrorKind, Text};

/// What is made of the text while it is read.
pub(super) trait Build<'a> {
    type Value;
    type Array;
    type Object;

    fn null(&mut self) -> Self::Value;
    fn bool(&mut self, value: bool) -> Self::Value;
    fn number(&mut self, digits: &'a str) -> Self::Value;
    fn string(&mut self, raw: Raw<'a>) -> Self::Value;
    fn array(&mut self) -> Self::Array;
    fn item(&mut self, array: &mut Self::Array, item: Self::Value);
    fn end_array(&mut self, array: Self::Array) -> Self::Value;
    fn object(&mut self) -> Self::Object;
    fn member(&mut self, object: &mut Self::Object, key: Raw<'a>, value: Self::Value);
    fn end_object(&mut self, object: Self::Object) -> Self::Value;
}

/// Reads the one value that `text` must hold.
pub(super) fn read<'a, B: Build<'a>>(
    text: &'a str,
    limits: &Limits,
    build: &mut B,
) -> Result<B::Value, ParseError> {
    let mut reader = Reader {
        text,
        at: 0,
        keys: limits.keys,
    };
    let value = reader.value(build, limits.depth.min(MAX_DEPTH))?;
    reader.skip_space();
    if reader.peek().is_some() {
        return Err(reader.unexpected());
    }
    Ok(value)
}

/// A string literal without its quotes; its escapes are known to be well formed.
#[derive(Clone, Copy)]
pub(super) struct Raw<'a> {
    text: &'a str,
    escaped: bool,
}

impl<'a> Raw<'a> {
    /// The literal as it stands.
    pub(super) fn literal(self) -> &'a str {
        self.text
    }

    pub(super) fn into_text(self) -> Text {
        if !self.escaped {
            return Text::from(self.text);
        }
        let mut out = TextBuilder::with_capacity(self.text.len());
        let mut rest = self.text;
        while let Some((before, escape)) = rest.split_once('\\') {
            out.push_str(before);
            let mut characters = escape.chars();
            match characters.next() {
                Some('b') => out.push_char('\u{8}'),
                Some('f') => out.push_char('\u{c}'),
                Some('n') => out.push_char('\n'),
                Some('r') => out.push_char('\r'),
                Some('t') => out.push_char('\t'),
                Some('u') => {
                    let digits = escape.get(1..5).unwrap_or_default();
                    out.push_unit(u16::from_str_radix(digits, 16).unwrap_or(0xfffd));
                    characters = escape.get(5..).unwrap_or_default().chars();
                }
                Some(itself) => out.push_char(itself),
                None => {}
            }
            rest = characters.as_str();
        }
        out.push_str(rest);
        out.finish()
    }
}

// The reader recurses, so a configured depth must not exceed what every thread's stack holds.
const MAX_DEPTH: usize = 512;

struct Reader<'a> {
    text: &'a str,
    // Never beyond the end, and between characters except within a string.
    at: usize,
    keys: usize,
}

impl<'a> Reader<'a> {
    fn value<B: Build<'a>>(&mut self, build: &mut B, depth: usize) -> Result<B::Value, ParseError> {
        self.skip_space();
        match self.peek() {
            Some(b'"') => Ok(build.string(self.string()?)),
            Some(b'{') => self.object(build, self.deeper(depth)?),
            Some(b'[') => self.array(build, self.deeper(depth)?),
            Some(b'-' | b'0'..=b'9') => Ok(build.number(self.number()?)),
            Some(b't') => self.word("true").map(|()| build.bool(true)),
            Some(b'f') => self.word("false").map(|()| build.bool(false)),
            Some(b'n') => self.word("null").map(|()| build.null()),
            _ => Err(self.unexpected()),
        }
    }

    fn object<B: Build<'a>>(
        &mut self,
        build: &mut B,
        depth: usize,
    ) -> Result<B::Value, ParseError> {
        self.at += 1;
        let mut object = build.object();
        self.skip_space();
        if self.take(b'}') {
            return Ok(build.end_object(object));
        }
        for _ in 0..self.keys {
            self.skip_space();
            let key = self.string()?;
            self.skip_space();
            if !self.take(b':') {
                return Err(self.unexpected());
            }
            let value = self.value(build, depth)?;
            build.member(&mut object, key, value);
            self.skip_space();
            if self.take(b'}') {
                return Ok(build.end_object(object));
            }
            if !self.take(b',') {
                return Err(self.unexpected());
            }
        }
        Err(ParseError::new(
            ParseErrorKind::Keys,
            "too many members in one object",
            self.at,
        ))
    }

    fn array<B: Build<'a>>(&mut self, build: &mut B, depth: usize) -> Result<B::Value, ParseError> {
        self.at += 1;
        let mut array = build.array();
        self.skip_space();
        if self.take(b']') {
            return Ok(build.end_array(array));
        }
        for _ in 0..self.keys {
            let item = self.value(build, depth)?;
            build.item(&mut array, item);
            self.skip_space();
            if self.take(b']') {
                return Ok(build.end_array(array));
            }
            if !self.take(b',') {
                return Err(self.unexpected());
            }
        }
        Err(ParseError::new(
            ParseErrorKind::Keys,
            "too many members in one array",
            self.at,
        ))
    }

    fn string(&mut self) -> Result<Raw<'a>, ParseError> {
        if !self.take(b'"') {
            return Err(self.unexpected());
        }
        let start = self.at;
        let mut escaped = false;
        loop {
            self.at += ordinary_bytes(self.rest());
            match self.rest() {
                [b'"', ..] => {
                    let text = self.text.get(start..self.at).unwrap_or_default();
                    self.at += 1;
                    return Ok(Raw { text, escaped });
                }
                [
                    b'\\',
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't',
                    ..,
                ] => self.at += 2,
                [b'\\', b'u', a, b, c, d, ..]
                    if [a, b, c, d].iter().all(|digit| digit.is_ascii_hexdigit()) =>
                {
                    self.at += 6;
                }
                [b'\\', ..] => return Err(self.error("bad escape")),
                [_, ..] => return Err(self.error("raw control character in a string")),
                [] => return Err(self.error("unfinished string")),
            }
            escaped = true;
        }
    }

    fn number(&mut self) -> Result<&'a str, ParseError> {
        let start = self.at;
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            if !self.take(b'+') {
                self.take(b'-');
            }
            self.digits()?;
        }
        Ok(self.text.get(start..self.at).unwrap_or_default())
    }

    fn digits(&mut self) -> Result<(), ParseError> {
        let digits = self
            .rest()
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        if digits == 0 {
            return Err(self.unexpected());
        }
        self.at += digits;
        Ok(())
    }

    fn word(&mut self, word: &str) -> Result<(), ParseError> {
        if !self.rest().starts_with(word.as_bytes()) {
            return Err(self.unexpected());
        }
        self.at += word.len();
        Ok(())
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    fn deeper(&self, depth: usize) -> Result<usize, ParseError> {
        depth
            .checked_sub(1)
            .ok_or_else(|| ParseError::new(ParseErrorKind::Depth, "nested too deep", self.at))
    }

    fn unexpected(&self) -> ParseError {
        self.error(if self.peek().is_some() {
            "unexpected character"
        } else {
            "unexpected end"
        })
    }

    fn error(&self, why: &'static str) -> ParseError {
        ParseError::new(ParseErrorKind::Syntax, why, self.at)
    }
}

/// How many bytes at the start are neither a quote nor a backslash nor a control character.
pub(super) fn ordinary_bytes(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        // Eight bytes at a time: the subtraction borrows into the high bit of a byte that is too
        // small. A borrow can only mark bytes above one that is really marked, and the lowest is
        // what counts.
        let word = u64::from_le_bytes(*word);
        let below = |word: u64, limit: u64| word.wrapping_sub(ONES.wrapping_mul(limit)) & !word;
        let quote = below(word ^ ONES.wrapping_mul(u64::from(b'"')), 1);
        let backslash = below(word ^ ONES.wrapping_mul(u64::from(b'\\')), 1);
        let marked = (below(word, 0x20) | quote | backslash) & HIGH;
        if marked != 0 {
            return index * 8 + (marked.trailing_zeros() / 8) as usize;
        }
    }
    let ordinary = rest
        .iter()
        .take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20));
    words.len() * 8 + ordinary.count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_find_what_bytes_find() {
        for length in 0..20 {
            for place in 0..length {
                for byte in 0..=255 {
                    for around in [b'a', 0x7f, 0x80, 0xff, b'"' + 1, b'\\' + 1, 0x20] {
                        let mut bytes = vec![around; length];
                        bytes[place] = byte;
                        let slow = bytes
                            .iter()
                            .take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20))
                            .count();
                        assert_eq!(ordinary_bytes(&bytes), slow, "{bytes:?}");
                    }
                }
            }
        }
    }
}
