//! What can be wrong with a value. Reading and decoding fail with [`ParseError`], the check of a
//! payload with [`ScanError`], the way into and out of Rust types with [`SerdeError`].

use std::error::Error;
use std::fmt;

/// Text that is not JSON, exceeds a limit, or holds EJSON that cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseError {
    kind: ParseErrorKind,
    why: &'static str,
    offset: Option<usize>,
}

/// The sort of a [`ParseError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseErrorKind {
    /// The text is not JSON.
    Syntax,
    /// It is nested deeper than [`JsonLimits::depth`](super::JsonLimits::depth).
    Depth,
    /// An object or array has more entries than [`JsonLimits::keys`](super::JsonLimits::keys).
    Keys,
    /// It is JSON, but an EJSON form in it does not decode.
    Ejson,
}

impl ParseError {
    pub(super) fn new(kind: ParseErrorKind, why: &'static str, offset: usize) -> Self {
        Self {
            kind,
            why,
            offset: Some(offset),
        }
    }

    pub(super) fn ejson(why: &'static str) -> Self {
        Self {
            kind: ParseErrorKind::Ejson,
            why,
            offset: None,
        }
    }

    /// The sort of fault.
    pub fn kind(&self) -> ParseErrorKind {
        self.kind
    }

    /// What is wrong, in a few words that hold nothing of the text itself.
    pub fn why(&self) -> &'static str {
        self.why
    }

    /// The byte at which it was noticed, where that is known.
    pub fn offset(&self) -> Option<usize> {
        self.offset
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.offset {
            Some(offset) => write!(f, "{} at byte {offset}", self.why),
            None => f.write_str(self.why),
        }
    }
}

impl Error for ParseError {}

/// A payload that is not one JSON value in UTF-8 within the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ScanError {
    /// Not UTF-8 from this byte on.
    Utf8 {
        /// The first byte that does not belong to a character.
        offset: usize,
    },
    /// Not JSON, or over a limit.
    Json(ParseError),
}

impl fmt::Display for ScanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Utf8 { offset } => write!(f, "not UTF-8 at byte {offset}"),
            Self::Json(error) => error.fmt(f),
        }
    }
}

impl Error for ScanError {}

impl From<ParseError> for ScanError {
    fn from(error: ParseError) -> Self {
        Self::Json(error)
    }
}

/// A value that does not fit a Rust type, or a Rust value that EJSON cannot express.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SerdeError(String);

impl SerdeError {
    pub(super) fn new(message: impl fmt::Display) -> Self {
        Self(message.to_string())
    }
}

impl fmt::Display for SerdeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for SerdeError {}

impl serde::ser::Error for SerdeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message)
    }
}

impl serde::de::Error for SerdeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message)
    }
}
