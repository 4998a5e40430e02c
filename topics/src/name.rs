//! Names of topics. A name is checked once, when it is made.

use std::borrow::Borrow;
use std::error::Error;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Longest name of a topic, in bytes.
pub const MAX_TOPIC_NAME: usize = 255;

/// The name of a topic: 1 to 255 bytes of UTF-8 without control characters, not beginning with `_`.
///
/// It may have any other character, slashes, dots, braces and stars included. A store must not use
/// it as a path or as a part of a key without escaping it. Names are ordered by their bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Arc<str>);

/// A text that cannot be the name of a topic: the code is `bad-name`. The error does not repeat it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidTopicName {
    reason: &'static str,
}

impl TopicName {
    /// Checks a name.
    ///
    /// # Errors
    ///
    /// [`InvalidTopicName`].
    pub fn new(name: &str) -> Result<Self, InvalidTopicName> {
        let reason = if name.is_empty() {
            "it is empty"
        } else if name.len() > MAX_TOPIC_NAME {
            "it is longer than 255 bytes"
        } else if name.chars().any(char::is_control) {
            "it has a control character"
        } else if name.starts_with('_') {
            "names that begin with `_` belong to stores"
        } else {
            return Ok(Self(name.into()));
        };
        Err(InvalidTopicName { reason })
    }

    /// A name that no program can give a topic, for what is woken as topics are.
    pub(crate) fn internal(name: &str) -> Self {
        Self(name.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// 24 bits of a hash, by which a position of another topic is found out.
    pub(crate) fn hash24(&self) -> u32 {
        crc32c::crc32c(self.0.as_bytes()) & 0x00ff_ffff
    }
}

impl FromStr for TopicName {
    type Err = InvalidTopicName;

    fn from_str(name: &str) -> Result<Self, InvalidTopicName> {
        Self::new(name)
    }
}

impl TryFrom<&str> for TopicName {
    type Error = InvalidTopicName;

    fn try_from(name: &str) -> Result<Self, InvalidTopicName> {
        Self::new(name)
    }
}

impl TryFrom<String> for TopicName {
    type Error = InvalidTopicName;

    fn try_from(name: String) -> Result<Self, InvalidTopicName> {
        Self::new(&name)
    }
}

impl AsRef<str> for TopicName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for InvalidTopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the name of the topic cannot be used: {}; use 1 to 255 bytes without control \
             characters",
            self.reason
        )
    }
}

impl Error for InvalidTopicName {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TopicError;

    #[test]
    fn topic_112_hostile_names_are_refused_or_kept_as_they_are() {
        let long = "x".repeat(256);
        let longest = "x".repeat(255);
        for name in ["", "_topics", "a\0b", "a\nb", "a\u{85}b", &long] {
            let error = TopicError::from(TopicName::new(name).unwrap_err());
            assert_eq!(error.code(), "bad-name");
        }
        for name in ["../../etc/passwd", "a{b}c", "*", "a b", "ä", &longest] {
            assert_eq!(TopicName::new(name).unwrap().as_str(), name);
        }
    }
}
