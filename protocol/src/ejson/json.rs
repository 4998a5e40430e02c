//! The grammar of JSON as JavaScript's `JSON.parse` reads it. This is our own reader, because
//! serde_json refuses text that JavaScript sends: lone surrogates and numbers such as 1e400.
//! [`parse`](super::parse()) and [`scan`](super::scan()) share it, so that they cannot disagree.

use super::string::ordinary_bytes;
use super::text::TextBuilder;
use super::{ParseError, ParseErrorKind, Text};

/// Limits on a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JsonLimits {
    /// How deep arrays and objects may be nested: 64 by default. Values above 512 count as 512.
    pub depth: usize,
    /// How many entries one array or object may have, repeated keys included: 10,000 by default.
    pub keys: usize,
}

impl JsonLimits {
    /// Limits of a depth, and of entries.
    pub const fn new(depth: usize, keys: usize) -> Self {
        Self { depth, keys }
    }
}

impl Default for JsonLimits {
    fn default() -> Self {
        Self {
            depth: 64,
            keys: 10_000,
        }
    }
}

/// What is built from the text while it is read.
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
    limits: &JsonLimits,
    build: &mut B,
) -> Result<B::Value, ParseError> {
    let mut reader = JsonReader {
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

/// A string literal without its quotes; its escapes have been checked.
#[derive(Clone, Copy)]
pub(super) struct Raw<'a> {
    text: &'a str,
    escaped: bool,
}

impl<'a> Raw<'a> {
    /// The literal as written.
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

// The reader recurses, so the configured depth must not exceed what every thread's stack can hold.
const MAX_DEPTH: usize = 512;

struct JsonReader<'a> {
    text: &'a str,
    // Never beyond the end; on a character boundary except within a string.
    at: usize,
    keys: usize,
}

impl<'a> JsonReader<'a> {
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
