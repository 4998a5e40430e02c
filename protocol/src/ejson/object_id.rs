//! MongoDB's document ids: twelve bytes, written as 24 hexadecimal digits.

use std::fmt;
use std::str::FromStr;

use super::ParseError;

/// A MongoDB ObjectID.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectId([u8; 12]);

impl ObjectId {
    /// The id with these bytes.
    pub fn from_bytes(bytes: [u8; 12]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub fn bytes(&self) -> [u8; 12] {
        self.0
    }

    /// Parses exactly 24 hexadecimal digits, in either case.
    pub fn parse(hex: &str) -> Option<Self> {
        let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
        let pairs: &[[u8; 2]; 12] = pairs.try_into().ok()?;
        if !rest.is_empty() {
            return None;
        }
        let mut bytes = [0; 12];
        for (byte, [upper, lower]) in bytes.iter_mut().zip(pairs) {
            let digit = |digit: u8| {
                char::from(digit)
                    .to_digit(16)
                    .and_then(|digit| u8::try_from(digit).ok())
            };
            *byte = (digit(*upper)? << 4) | digit(*lower)?;
        }
        Some(Self(bytes))
    }

    /// 24 lower-case hexadecimal digits.
    pub fn to_hex(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectId({self})")
    }
}

impl FromStr for ObjectId {
    type Err = ParseError;

    fn from_str(hex: &str) -> Result<Self, ParseError> {
        Self::parse(hex).ok_or_else(|| ParseError::ejson("an ObjectID has 24 hexadecimal digits"))
    }
}

impl From<[u8; 12]> for ObjectId {
    fn from(bytes: [u8; 12]) -> Self {
        Self(bytes)
    }
}
