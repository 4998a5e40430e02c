//! The errors of this module. Parsing and decoding fail with [`ParseError`], the check of a payload
//! with [`ScanError`], conversions to and from Rust types with [`SerdeError`].

use std::error::Error;
use std::fmt;

use serde::de::{Expected, Unexpected};

use super::number::is_inexact_integer;

/// Text that is not JSON, exceeds a limit, or holds EJSON that cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseError {
    kind: ParseErrorKind,
    why: &'static str,
    offset: Option<usize>,
}

/// The kind of a [`ParseError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseErrorKind {
    /// The text is not JSON.
    Syntax,
    /// The text is nested deeper than [`JsonLimits::depth`](super::JsonLimits::depth).
    Depth,
    /// An object or array has more entries than [`JsonLimits::keys`](super::JsonLimits::keys).
    Keys,
    /// The text is JSON, but an EJSON form in it cannot be decoded.
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

    /// The kind of the error.
    pub fn kind(&self) -> ParseErrorKind {
        self.kind
    }

    /// What is wrong, in a few words that quote nothing of the text.
    pub fn why(&self) -> &'static str {
        self.why
    }

    /// The byte at which the error was noticed, if known.
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
    /// Not JSON, or beyond a limit.
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
///
/// Its text names the member that does not fit, and quotes nothing of the value. Only types with
/// their own `Deserialize` implementation may add other text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SerdeError {
    /// The path from the outermost member to the one that does not fit; empty for the value itself.
    path: String,
    message: String,
}

impl SerdeError {
    pub(super) fn new(message: impl fmt::Display) -> Self {
        Self {
            path: String::new(),
            message: message.to_string(),
        }
    }

    /// The same error, for a value that is a member of another.
    #[must_use]
    pub fn within(mut self, member: impl fmt::Display) -> Self {
        self.path = if self.path.is_empty() {
            member.to_string()
        } else {
            format!("{member}.{}", self.path)
        };
        self
    }
}

impl fmt::Display for SerdeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

impl Error for SerdeError {}

impl serde::ser::Error for SerdeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message)
    }
}

/// In serde's words, but without the value that serde quotes, because a client may have sent it.
impl serde::de::Error for SerdeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message)
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let kind = kind_of(unexpected);
        Self::new(format_args!("invalid type: {kind}, expected {expected}"))
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let kind = kind_of(unexpected);
        Self::new(format_args!("invalid value: {kind}, expected {expected}"))
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        let expected = expected.join(", ");
        Self::new(format_args!("unknown variant, expected one of {expected}"))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let expected = expected.join(", ");
        Self::new(format_args!(
            "unknown field {field}, expected one of {expected}"
        ))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(format_args!("missing field {field}"))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::new(format_args!("duplicate field {field}"))
    }
}

fn kind_of(unexpected: Unexpected<'_>) -> &'static str {
    match unexpected {
        Unexpected::Bool(_) => "boolean",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "integer",
        Unexpected::Float(number) if is_inexact_integer(number) => {
            "integer beyond ±(2^53 − 1), which JavaScript rounds"
        }
        Unexpected::Float(_) => "floating point number",
        Unexpected::Char(_) => "character",
        Unexpected::Str(_) => "string",
        Unexpected::Bytes(_) => "byte array",
        Unexpected::Unit => "null or undefined",
        Unexpected::Option => "Option value",
        Unexpected::NewtypeStruct => "newtype struct",
        Unexpected::Seq => "sequence",
        Unexpected::Map => "map",
        Unexpected::Enum => "enum",
        Unexpected::UnitVariant => "unit variant",
        Unexpected::NewtypeVariant => "newtype variant",
        Unexpected::TupleVariant => "tuple variant",
        Unexpected::StructVariant => "struct variant",
        // A text of the type's own, which may quote the value.
        _ => "another value",
    }
}
