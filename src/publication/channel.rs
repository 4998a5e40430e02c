//! Channel names: built from parts that a client cannot bend, or given whole by the program.

use std::fmt;

use crate::error::{Error, Result};

/// Longest part of a channel name, in bytes.
const MAX_PART: usize = 128;

/// The name of a channel on the bus.
///
/// Made from parts by [`channel!`](crate::channel) when any of them comes from a client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Channel(Box<str>);

impl Channel {
    /// A name given whole by the program, which vouches for it.
    ///
    /// Meant for names that exist already, such as a redis-oplog collection. What a client sends goes through
    /// [`channel!`](crate::channel).
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into().into())
    }

    /// Joins parts with `::`.
    ///
    /// # Errors
    ///
    /// 400 when a part is not of 1 to 128 bytes, or has `::`, white space, control characters, or one of `*?[]^\`, which
    /// mean something in a Redis pattern.
    pub fn from_parts(parts: impl IntoIterator<Item = impl fmt::Display>) -> Result<Self> {
        let mut name = String::new();
        for (index, part) in parts.into_iter().enumerate() {
            if index > 0 {
                name.push_str("::");
            }
            let part = part.to_string();
            if !is_part(&part) {
                return Err(Error::bad_request("Not a valid part of a channel name"));
            }
            name.push_str(&part);
        }
        Ok(Self(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Joins the parts of a channel name with `::`.
///
/// Evaluates to a `Result`, which `on`, `relay`, `emit` and their like take as it is. A part is 1 to 128 bytes without
/// `::`, white space, control characters or characters of a Redis pattern; what does not fit is 400, so that nothing a
/// client sends can choose another channel.
///
/// ```
/// let thread = "7".to_string();
/// assert_eq!(updraft::channel!["threads", thread, "new_message"].unwrap().as_str(), "threads::7::new_message");
/// assert!(updraft::channel!["threads", "7::8"].is_err());
/// ```
#[macro_export]
macro_rules! channel {
    [$($part:expr),+ $(,)?] => {
        {
            // A statement of its own, so that the parts are not borrowed across an await.
            let channel = $crate::Channel::from_parts([$(&$part as &dyn ::std::fmt::Display),+]);
            channel
        }
    };
}

/// What names one channel: a [`Channel`], the result of [`channel!`](crate::channel), or a string of the program's own.
pub trait IntoChannel {
    /// The channel.
    ///
    /// # Errors
    ///
    /// When the name could not be built.
    fn into_channel(self) -> Result<Channel>;
}

/// What names one channel or several: anything that names one, or an array or a vector of that.
pub trait IntoChannels {
    /// The channels.
    ///
    /// # Errors
    ///
    /// When one of the names could not be built.
    fn into_channels(self) -> Result<Vec<Channel>>;
}

impl IntoChannel for Channel {
    fn into_channel(self) -> Result<Channel> {
        Ok(self)
    }
}

impl IntoChannel for Result<Channel> {
    fn into_channel(self) -> Result<Channel> {
        self
    }
}

impl IntoChannel for &str {
    fn into_channel(self) -> Result<Channel> {
        Ok(Channel::new(self))
    }
}

impl IntoChannel for String {
    fn into_channel(self) -> Result<Channel> {
        Ok(Channel::new(self))
    }
}

macro_rules! one_is_several {
    ($($one:ty),+) => {
        $(impl IntoChannels for $one {
            fn into_channels(self) -> Result<Vec<Channel>> {
                Ok(vec![self.into_channel()?])
            }
        })+
    };
}
one_is_several!(Channel, Result<Channel>, &str, String);

impl<C: IntoChannel, const N: usize> IntoChannels for [C; N] {
    fn into_channels(self) -> Result<Vec<Channel>> {
        self.into_iter().map(C::into_channel).collect()
    }
}

impl<C: IntoChannel> IntoChannels for Vec<C> {
    fn into_channels(self) -> Result<Vec<Channel>> {
        self.into_iter().map(C::into_channel).collect()
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn is_part(part: &str) -> bool {
    let fits = (1..=MAX_PART).contains(&part.len());
    // A part that begins or ends with a colon could join with its neighbour's.
    fits && !part.contains("::")
        && !part.starts_with(':')
        && !part.ends_with(':')
        && !part
            .chars()
            .any(|c| c.is_control() || c.is_whitespace() || r"*?[]^\".contains(c))
}

#[cfg(test)]
mod tests {
    #[test]
    fn row_068_a_part_cannot_choose_another_channel() {
        assert_eq!(channel!["a", 7, "b"].unwrap().as_str(), "a::7::b");
        let long = "x".repeat(129);
        for part in [
            "", "a::b", ":a", "a:", "a b", "a\nb", "a*", "a?", "[a]", "\\", "\u{7f}", &long,
        ] {
            assert!(channel!["threads", part].is_err(), "{part:?}");
        }
        assert!(channel!["t", "__proto__", "x".repeat(128)].is_ok());
    }
}
