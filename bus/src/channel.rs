//! Names of channels. A program builds them from parts, in a way that clients cannot abuse, or
//! gives them whole. A name is checked once, when it is made. The server's own channels have names
//! that no program can use.

use std::error::Error;
use std::fmt;

/// Longest name, in bytes.
const MAX_NAME: usize = 1024;

/// Longest part of a name, in bytes.
const MAX_PART: usize = 128;

/// Beginnings of names that programs may not use. They belong to the server's own channels, and to
/// those on which Redis itself reports changed keys, invalidated client caches and its sentinels'
/// state.
const RESERVED: [&str; 5] = [
    "updraft:",
    "__keyspace@",
    "__keyevent@",
    "__redis__:",
    "__sentinel__:",
];

/// The name of a channel on the bus.
///
/// [`channel!`](crate::channel) makes one from parts, which may come from a client. No program can
/// use names that begin with `updraft:`, `__keyspace@`, `__keyevent@`, `__redis__:` or
/// `__sentinel__:`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Channel(Box<str>);

/// A channel of the server's own. No [`Channel`] has its name, and programs cannot name one, so a
/// client cannot make a program emit to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InternalChannel {
    /// Orders about a user, for every process.
    Orders,
    /// Names of durable topics that have something new to read.
    Topics,
}

/// A text that cannot be the name of a channel, or a part of one. The error does not repeat the
/// text.
///
/// If a handler returns it with `?`, the client gets it as an error 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidChannel {
    reason: &'static str,
    /// The invalid part, counted from 1, and what is wrong with it.
    part: Option<(usize, &'static str)>,
}

impl Channel {
    /// A whole name for which the program vouches: for example one from its configuration, or one
    /// that exists already, such as a redis-oplog collection's.
    ///
    /// For texts from a client use [`channel!`](crate::channel). A `String` becomes a channel only
    /// through this function. So a client's text does not become one by accident, and every place
    /// where a program vouches for a name can be found.
    ///
    /// # Errors
    ///
    /// The name is empty, longer than 1,024 bytes, has control characters, or is reserved.
    pub fn trusted(name: impl Into<String>) -> Result<Self, InvalidChannel> {
        let name = name.into();
        if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
            return Err(InvalidChannel::new(
                "The channel name is empty, too long, or has control characters",
            ));
        }
        if RESERVED.iter().any(|reserved| name.starts_with(reserved)) {
            return Err(InvalidChannel::new("The channel name is reserved"));
        }
        Ok(Self(name.into()))
    }

    /// Joins parts with `::`.
    ///
    /// # Errors
    ///
    /// A part is not of 1 to 128 bytes, or has a colon, white space, control characters, or one of
    /// `*?[]^\`, which are special in a Redis pattern; or the name is too long or reserved.
    pub fn from_parts(
        parts: impl IntoIterator<Item = impl fmt::Display>,
    ) -> Result<Self, InvalidChannel> {
        let mut name = String::new();
        for (index, part) in parts.into_iter().enumerate() {
            if index > 0 {
                name.push_str("::");
            }
            let part = part.to_string();
            if let Some(mistake) = mistake_of_part(&part) {
                return Err(InvalidChannel {
                    reason: "Not a valid part of a channel name",
                    part: Some((index.saturating_add(1), mistake)),
                });
            }
            name.push_str(&part);
        }
        Self::trusted(name)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl InternalChannel {
    pub(crate) const ALL: [Self; 2] = [Self::Orders, Self::Topics];

    /// Its name on the bus.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Orders => "updraft:orders",
            Self::Topics => "updraft:topics",
        }
    }
}

/// Joins the parts of a channel name with `::`.
///
/// Evaluates to a `Result`, which `on`, `relay`, `emit` and similar functions accept directly.
///
/// A part is anything that implements [`Display`](fmt::Display): a text, a number, a `UserId`. It
/// may hold 1 to 128 bytes of any characters but colons, white space, control characters and those
/// that are special in a Redis pattern, `*?[]^\`. Anything else is an error 400, so no text of a
/// client can choose another channel.
///
/// ```
/// # extern crate updraft_bus as updraft;
/// use updraft::channel;
///
/// let thread = "7".to_string();
/// let channel = channel!["threads", thread, "new_message"];
/// assert_eq!(channel.unwrap().as_str(), "threads::7::new_message");
/// assert_eq!(channel!["scores", 2026].unwrap().as_str(), "scores::2026");
/// assert!(channel!["threads", "7::8"].is_err());
/// ```
#[macro_export]
macro_rules! channel {
    [$($part:expr),+ $(,)?] => {
        {
            // A separate statement, so that the parts are not borrowed across an await.
            let channel = $crate::Channel::from_parts([$(&$part as &dyn ::std::fmt::Display),+]);
            channel
        }
    };
}

/// Types that name one channel: a [`Channel`], a result of [`channel!`](crate::channel) or of
/// [`Channel::trusted`], or a literal.
///
/// No other string does, alone or in an array:
///
/// ```compile_fail
/// # extern crate updraft_bus as updraft;
/// # fn name(from_a_client: String) -> Result<(), updraft::InvalidChannel> {
/// updraft::IntoChannel::into_channel(from_a_client)?;
/// # Ok(())
/// # }
/// ```
///
/// ```compile_fail
/// # extern crate updraft_bus as updraft;
/// # fn name(from_a_client: String) -> Result<(), updraft::InvalidChannel> {
/// updraft::IntoChannel::into_channel(from_a_client.as_str())?;
/// # Ok(())
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "a `{Self}` does not name a channel",
    note = "`channel![\"threads\", id]` makes a channel of parts, which a client may have sent",
    note = "`Channel::trusted(name)` takes a whole name, which the program vouches for"
)]
pub trait IntoChannel {
    /// The channel.
    ///
    /// # Errors
    ///
    /// The name cannot be that of a channel.
    fn into_channel(self) -> Result<Channel, InvalidChannel>;
}

/// Types that name one or more channels: anything that names one, or an array or a vector of such.
#[diagnostic::on_unimplemented(
    message = "a `{Self}` does not name channels",
    note = "`channel![\"threads\", id]` makes a channel of parts, which a client may have sent",
    note = "`Channel::trusted(name)` takes a whole name, which the program vouches for"
)]
pub trait IntoChannels {
    /// The channels.
    ///
    /// # Errors
    ///
    /// One of the names cannot be that of a channel.
    fn into_channels(self) -> Result<Vec<Channel>, InvalidChannel>;
}

impl IntoChannel for Channel {
    fn into_channel(self) -> Result<Channel, InvalidChannel> {
        Ok(self)
    }
}

impl IntoChannel for Result<Channel, InvalidChannel> {
    fn into_channel(self) -> Result<Channel, InvalidChannel> {
        self
    }
}

/// A literal in the program's own text.
impl IntoChannel for &'static str {
    fn into_channel(self) -> Result<Channel, InvalidChannel> {
        Channel::trusted(self)
    }
}

macro_rules! one_is_several {
    ($($one:ty),+) => {
        $(impl IntoChannels for $one {
            fn into_channels(self) -> Result<Vec<Channel>, InvalidChannel> {
                Ok(vec![self.into_channel()?])
            }
        })+
    };
}
one_is_several!(Channel, Result<Channel, InvalidChannel>, &'static str);

impl<C: IntoChannel, const N: usize> IntoChannels for [C; N] {
    fn into_channels(self) -> Result<Vec<Channel>, InvalidChannel> {
        self.into_iter().map(C::into_channel).collect()
    }
}

impl<C: IntoChannel> IntoChannels for Vec<C> {
    fn into_channels(self) -> Result<Vec<Channel>, InvalidChannel> {
        self.into_iter().map(C::into_channel).collect()
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl InvalidChannel {
    fn new(reason: &'static str) -> Self {
        Self { reason, part: None }
    }

    /// The reason that a client is sent.
    pub fn reason(self) -> &'static str {
        self.reason
    }
}

impl fmt::Display for InvalidChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason)?;
        match self.part {
            Some((number, mistake)) => write!(f, ": part {number} {mistake}"),
            None => Ok(()),
        }
    }
}

impl Error for InvalidChannel {}

/// Whether a prefix and a name after it could together be a reserved name.
pub(crate) fn is_reserved_prefix(prefix: &str) -> bool {
    let meets = |reserved: &&str| reserved.starts_with(prefix) || prefix.starts_with(*reserved);
    !prefix.is_empty() && RESERVED.iter().any(meets)
}

/// What is wrong with a part, if anything.
fn mistake_of_part(part: &str) -> Option<&'static str> {
    let has = |is: fn(char) -> bool| part.chars().any(is);
    if part.is_empty() {
        Some("is empty")
    } else if part.len() > MAX_PART {
        Some("is longer than 128 bytes")
    } else if has(|c| c.is_control()) {
        Some("has control characters")
    } else if has(|c| c.is_whitespace()) {
        Some("has white space")
    } else if has(|c| c == ':') {
        Some("has a colon")
    } else if has(|c| r"*?[]^\".contains(c)) {
        Some("has a character of Redis patterns, one of *?[]^\\")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::marker::PhantomData;

    use super::*;

    #[test]
    fn row_068_a_part_cannot_choose_another_channel() {
        assert_eq!(channel!["a", 7, "b"].unwrap().as_str(), "a::7::b");
        let long = "x".repeat(129);
        for part in [
            "", "a::b", ":a", "a:", "a b", "a\nb", "a*", "a?", "[a]", "\\", "\u{7f}", &long,
        ] {
            assert!(channel!["threads", part].is_err(), "{part:?}");
        }
        let error = channel!["threads", "7", "a b"].unwrap_err();
        assert_eq!(
            error.to_string(),
            "Not a valid part of a channel name: part 3 has white space"
        );
        assert!(channel!["t", "__proto__", "x".repeat(128)].is_ok());
    }

    #[test]
    fn vent_040_names_that_are_special_elsewhere_are_channels_like_any_other() {
        for name in [
            "__proto__",
            "constructor",
            "a b",
            "*",
            "тема",
            "a:b",
            "a::b",
        ] {
            assert_eq!(Channel::trusted(name).unwrap().as_str(), name);
        }
        for name in ["", "a\nb", "\0", &"x".repeat(2000)] {
            assert!(Channel::trusted(name).is_err(), "{name:?}");
        }
        let parts = ["x"; 400];
        assert!(Channel::from_parts(parts).is_err(), "1,198 bytes");
    }

    /// Whole names that no program can use.
    const TAKEN: [&str; 8] = [
        InternalChannel::Orders.name(),
        "updraft:",
        "updraft:anything",
        "updraft::probe::1",
        "__keyspace@0__:key",
        "__keyevent@0__:expired",
        "__redis__:invalidate",
        "__sentinel__:hello",
    ];

    #[test]
    fn found_201_reserved_names_are_no_channels() {
        for name in TAKEN {
            assert!(Channel::trusted(name).is_err(), "trusted: {name}");
            assert!(name.into_channel().is_err(), "literal: {name}");
            assert!(["c", name].into_channels().is_err(), "array: {name}");
            assert!(vec!["c", name].into_channels().is_err(), "vector: {name}");
            assert!(channel![name].is_err(), "part: {name}");
            let parts: Vec<&str> = name.split(':').collect();
            assert!(Channel::from_parts(&parts).is_err(), "parts: {name}");
        }
        assert!(channel!["updraft", "orders"].is_err());
        assert!(channel!["__keyspace@0__", "key"].is_err());
        for name in ["updraft", "updraft.orders", "shop.updraft", "__keyspace"] {
            assert!(Channel::trusted(name).is_ok(), "{name}");
            assert!(channel![name].is_ok(), "{name}");
        }
    }

    #[test]
    fn found_201_a_part_has_no_colon() {
        for part in ["updraft:orders", "a:b", ":", "a:b:c"] {
            assert!(channel![part].is_err(), "{part}");
            assert!(channel!["threads", part].is_err(), "{part}");
        }
    }

    #[test]
    fn found_201_a_prefix_cannot_complete_a_reserved_name() {
        for prefix in [
            "u",
            "updraft",
            "updraft:",
            "updraft:x.",
            "_",
            "__keyspace@0",
        ] {
            assert!(is_reserved_prefix(prefix), "{prefix}");
        }
        for prefix in ["", "shop.", "shop:", "updraft.", "x__keyspace@", "__k_"] {
            assert!(!is_reserved_prefix(prefix), "{prefix}");
        }
    }

    /// Asks the compiler whether a type names channels: the compiler prefers an inherent method if
    /// its bound holds.
    struct Asked<T>(PhantomData<T>);

    trait Other {
        fn is_channel(&self) -> bool {
            false
        }

        fn are_channels(&self) -> bool {
            false
        }
    }

    impl<T> Other for Asked<T> {}

    impl<T: IntoChannel> Asked<T> {
        fn is_channel(&self) -> bool {
            true
        }
    }

    impl<T: IntoChannels> Asked<T> {
        fn are_channels(&self) -> bool {
            true
        }
    }

    #[test]
    fn found_201_a_string_is_no_channel() {
        macro_rules! asked {
            ($type:ty) => {{
                let asked = Asked::<$type>(PhantomData);
                (asked.is_channel(), asked.are_channels())
            }};
        }
        assert_eq!(asked!(&'static str), (true, true));
        assert_eq!(asked!(Result<Channel, InvalidChannel>), (true, true));
        assert_eq!(asked!([&'static str; 2]), (false, true));
        assert_eq!(asked!(String), (false, false));
        assert_eq!(asked!(&String), (false, false));
        assert_eq!(asked!(Box<str>), (false, false));
        assert_eq!(asked!(std::sync::Arc<str>), (false, false));
        assert_eq!(asked!(std::borrow::Cow<'static, str>), (false, false));
        assert_eq!(asked!([String; 2]), (false, false));
        assert_eq!(asked!(Vec<String>), (false, false));
        assert_eq!(asked!(updraft_protocol::ejson::Value), (false, false));
    }
}
