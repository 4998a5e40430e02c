//! A JavaScript string. Nearly all are Rust strings. A string with half of a surrogate pair, which
//! JavaScript allows and JSON can express, is kept as WTF-8, so that it is written as it was read.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use compact_str::{CompactString, ToCompactString};
use indexmap::Equivalent;

use super::string::{write_code_points, write_string};

/// An immutable string that may hold lone surrogates.
///
/// It is ordered by its bytes, like `str`.
#[derive(Clone, PartialEq, Eq)]
pub struct Text(TextRepr);

// `Wtf8` is used only for text that `Plain` cannot hold, so derived equality is right, and a plain
// string is never validated again. Keys and other short strings need no allocation.
#[derive(Clone, PartialEq, Eq)]
enum TextRepr {
    Plain(CompactString),
    Wtf8(Box<[u8]>),
}

impl Text {
    /// The text, unless it holds a lone surrogate.
    pub fn to_str(&self) -> Option<&str> {
        match &self.0 {
            TextRepr::Plain(text) => Some(text),
            TextRepr::Wtf8(_) => None,
        }
    }

    /// The text with U+FFFD in place of each lone surrogate.
    pub fn to_string_lossy(&self) -> Cow<'_, str> {
        match &self.0 {
            TextRepr::Plain(text) => Cow::Borrowed(text),
            TextRepr::Wtf8(_) => Cow::Owned(
                self.code_points()
                    .map(|point| char::from_u32(point).unwrap_or('\u{fffd}'))
                    .collect(),
            ),
        }
    }

    /// As [`to_string_lossy`](Self::to_string_lossy), without a copy if there are no lone
    /// surrogates.
    pub fn into_string_lossy(self) -> String {
        match self.0 {
            TextRepr::Plain(text) => text.into_string(),
            TextRepr::Wtf8(_) => self.to_string_lossy().into_owned(),
        }
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }

    /// Appends the JSON string literal; a lone surrogate is written as its escape.
    pub(crate) fn write_literal(&self, out: &mut String) {
        match self.to_str() {
            Some(text) => write_string(text, out),
            None => write_code_points(self.code_points(), out),
        }
    }

    /// The code points, including lone surrogates.
    pub(super) fn code_points(&self) -> CodePoints<'_> {
        CodePoints(self.as_bytes().iter())
    }

    /// The UTF-16 units, in which JavaScript counts.
    pub(super) fn units(&self) -> impl Iterator<Item = u16> {
        self.code_points()
            .flat_map(|point| match char::from_u32(point) {
                Some(character) => {
                    let mut units = [0; 2];
                    let pair = character.encode_utf16(&mut units).len() == 2;
                    let [first, second] = units;
                    [Some(first), pair.then_some(second)]
                }
                None => [u16::try_from(point).ok(), None],
            })
            .flatten()
    }

    /// JavaScript's order of strings, which compares their UTF-16 units.
    pub(super) fn cmp_units(&self, other: &Self) -> Ordering {
        self.units().cmp(other.units())
    }

    /// Bytes allocated for it; a short text needs none.
    pub(super) fn heap_bytes(&self) -> usize {
        match &self.0 {
            TextRepr::Plain(text) if text.is_heap_allocated() => text.capacity(),
            TextRepr::Plain(_) => 0,
            TextRepr::Wtf8(bytes) => bytes.len(),
        }
    }

    fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            TextRepr::Plain(text) => text.as_bytes(),
            TextRepr::Wtf8(bytes) => bytes,
        }
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(TextRepr::Plain(CompactString::new(text)))
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(TextRepr::Plain(text.into()))
    }
}

impl From<&String> for Text {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<char> for Text {
    fn from(character: char) -> Self {
        Self(TextRepr::Plain(character.to_compact_string()))
    }
}

impl From<Cow<'_, str>> for Text {
    fn from(text: Cow<'_, str>) -> Self {
        Self(TextRepr::Plain(text.into()))
    }
}

impl From<&Self> for Text {
    fn from(text: &Self) -> Self {
        text.clone()
    }
}

impl Default for Text {
    fn default() -> Self {
        Self(TextRepr::Plain(CompactString::default()))
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.to_str() == Some(other)
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.to_str() == Some(*other)
    }
}

impl PartialEq<String> for Text {
    fn eq(&self, other: &String) -> bool {
        self.to_str() == Some(other.as_str())
    }
}

// A plain text hashes like its `str`, so that maps can be searched with one.
impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match &self.0 {
            TextRepr::Plain(text) => text.hash(state),
            TextRepr::Wtf8(bytes) => bytes.hash(state),
        }
    }
}

impl Equivalent<Text> for str {
    fn equivalent(&self, key: &Text) -> bool {
        key == self
    }
}

impl Ord for Text {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.to_string_lossy())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_str() {
            Some(text) => fmt::Debug::fmt(text, f),
            None => {
                let mut shown = String::new();
                self.write_literal(&mut shown);
                f.write_str(&shown)
            }
        }
    }
}

/// The code points of UTF-8 or WTF-8 bytes.
#[derive(Clone)]
pub(super) struct CodePoints<'a>(std::slice::Iter<'a, u8>);

impl Iterator for CodePoints<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let first = u32::from(*self.0.next()?);
        let (start, following) = match first {
            0..=0x7f => return Some(first),
            0x80..=0xdf => (first & 0x1f, 1),
            0xe0..=0xef => (first & 0x0f, 2),
            _ => (first & 0x07, 3),
        };
        Some(
            self.0
                .by_ref()
                .take(following)
                .fold(start, |point, byte| (point << 6) | u32::from(byte & 0x3f)),
        )
    }
}

/// Builds a [`Text`] from strings, code points and UTF-16 units.
#[derive(Default)]
pub(super) struct TextBuilder {
    plain: String,
    // Replaces `plain` at the first lone surrogate.
    wtf8: Option<Vec<u8>>,
    // The first half of a pair whose second half may follow.
    high: Option<u16>,
}

impl TextBuilder {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self {
            plain: String::with_capacity(bytes),
            ..Self::default()
        }
    }

    pub(super) fn push_str(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        self.restore_order();
        match &mut self.wtf8 {
            Some(bytes) => bytes.extend_from_slice(text.as_bytes()),
            None => self.plain.push_str(text),
        }
    }

    pub(super) fn push_text(&mut self, text: &Text) {
        match text.to_str() {
            Some(text) => self.push_str(text),
            None => text.units().for_each(|unit| self.push_unit(unit)),
        }
    }

    pub(super) fn push_char(&mut self, character: char) {
        self.push_str(character.encode_utf8(&mut [0; 4]));
    }

    pub(super) fn push_code_point(&mut self, point: u32) {
        match (char::from_u32(point), u16::try_from(point)) {
            (Some(character), _) => self.push_char(character),
            (None, Ok(unit)) => self.push_unit(unit),
            (None, Err(_)) => self.push_char('\u{fffd}'),
        }
    }

    pub(super) fn push_unit(&mut self, unit: u16) {
        match (unit, self.high) {
            (0xd800..=0xdbff, _) => {
                self.restore_order();
                self.high = Some(unit);
            }
            (0xdc00..=0xdfff, Some(high)) => {
                self.high = None;
                self.push_char(
                    char::decode_utf16([high, unit])
                        .next()
                        .and_then(Result::ok)
                        .unwrap_or('\u{fffd}'),
                );
            }
            (0xdc00..=0xdfff, None) => self.push_lone(unit),
            _ => self.push_char(char::from_u32(u32::from(unit)).unwrap_or('\u{fffd}')),
        }
    }

    pub(super) fn finish(mut self) -> Text {
        self.restore_order();
        match self.wtf8 {
            Some(bytes) => Text(TextRepr::Wtf8(bytes.into_boxed_slice())),
            None => Text::from(self.plain),
        }
    }

    fn restore_order(&mut self) {
        if let Some(high) = self.high.take() {
            self.push_lone(high);
        }
    }

    fn push_lone(&mut self, unit: u16) {
        let [upper, lower] = unit.to_be_bytes();
        let bytes = self
            .wtf8
            .get_or_insert_with(|| std::mem::take(&mut self.plain).into_bytes());
        bytes.extend_from_slice(&[
            0xe0 | (upper >> 4),
            0x80 | ((upper & 0x0f) << 2) | (lower >> 6),
            0x80 | (lower & 0x3f),
        ]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_units(units: &[u16]) -> Text {
        let mut builder = TextBuilder::default();
        for unit in units {
            builder.push_unit(*unit);
        }
        builder.finish()
    }

    #[test]
    fn a_pair_joins_and_halves_stay() {
        assert_eq!(from_units(&[0xd83d, 0xde00]), "😀");
        let lone = from_units(&[0x61, 0xd83d, 0x62]);
        assert_eq!(lone.to_str(), None);
        assert_eq!(lone.to_string_lossy(), "a\u{fffd}b");
        assert_eq!(lone.units().collect::<Vec<_>>(), [0x61, 0xd83d, 0x62]);
        assert_eq!(format!("{lone:?}"), r#""a\ud83db""#);
        assert_eq!(
            from_units(&[0xde00, 0xd83d]).units().collect::<Vec<_>>(),
            [0xde00, 0xd83d]
        );
        assert_eq!(
            from_units(&[0xd83d, 0xd83d, 0xde00])
                .units()
                .collect::<Vec<_>>(),
            [0xd83d, 0xd83d, 0xde00]
        );
    }

    #[test]
    fn units_order_differs_from_bytes() {
        let (private, astral) = (Text::from("\u{ffee}"), Text::from("😀"));
        assert_eq!(private.cmp(&astral), Ordering::Less);
        assert_eq!(private.cmp_units(&astral), Ordering::Greater);
    }

    #[test]
    fn every_unit_survives() {
        for unit in 0..=u16::MAX {
            assert_eq!(from_units(&[unit]).units().collect::<Vec<_>>(), [unit]);
        }
    }
}
