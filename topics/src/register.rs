//! The trait of a store of registers: small values that are replaced only by who has seen the
//! latest one. Leases and cursors stand on them.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use crate::random::draw_version;
use crate::{Answer, Item, TopicError};

/// Longest namespace or name of a register, in bytes.
pub const MAX_REGISTER_KEY: usize = 1024;

/// Longest value of a register, in bytes.
pub const MAX_REGISTER_VALUE: usize = 256 * 1024;

/// Registers, each by itself: nothing holds between two of them.
///
/// They survive what the logs of the same store survive.
pub trait Registers: fmt::Debug + Send + Sync + 'static {
    /// The registers of these keys, in this order; `None` for those that are not there.
    ///
    /// # Errors
    ///
    /// That of the store.
    fn get<'a>(&'a self, keys: &'a [RegisterKey]) -> Answer<'a, Vec<Option<Register>>>;

    /// Writes registers, each only if it still has the expected version. One conflict does not keep
    /// the others from being written. The results are in the order given; of two swaps of one key
    /// the first happens first.
    ///
    /// # Errors
    ///
    /// That of the store; then each of the swaps may have happened. Who must know reads the
    /// registers and finds its own values, or others.
    fn swap<'a>(&'a self, swaps: Vec<Swap>) -> Answer<'a, Vec<Swapped>>;

    /// The registers of a namespace whose names begin with `prefix`, in the order of the bytes of
    /// their names: at most `limit` of those behind the name `after`. Registers that are written
    /// meanwhile may be missing.
    ///
    /// # Errors
    ///
    /// That of the store.
    fn scan<'a>(
        &'a self,
        namespace: &'a str,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> Answer<'a, Vec<(RegisterKey, Register)>>;
}

/// What a register is found by: a name in a namespace. Both have 1 to 1,024 bytes without control
/// characters. A store may keep namespaces apart from each other, on other machines too.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegisterKey {
    namespace: Box<str>,
    name: Box<str>,
}

/// The version of a register's value. Each write draws it at random, so that no value has the
/// version of an earlier one, also when the register was removed in between or the store was
/// emptied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Version(u64);

/// A value and its version.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Register {
    /// The version that a swap must expect.
    pub version: Version,
    /// The value.
    pub value: Bytes,
}

/// A register that is to be written.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Swap {
    /// Which register.
    pub key: RegisterKey,
    /// The version that it must have; `None` if it must not be there.
    pub expected: Option<Version>,
    /// Its new value; `None` removes it.
    pub value: Option<Bytes>,
    /// When the store may remove it, counted from this swap by the store's clock. This only tidies:
    /// nothing may rest on its being gone, or still there.
    pub expires: Option<Duration>,
}

/// What became of a swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is no third outcome")]
pub enum Swapped {
    /// The value was written, with this version.
    Written(Version),
    /// The register is not there, as the swap wanted.
    Removed,
    /// The register has not the expected version. Nothing was written.
    Conflict {
        /// The version that it has; `None` if it is not there.
        actual: Option<Version>,
    },
}

impl RegisterKey {
    /// Checks a key.
    ///
    /// # Errors
    ///
    /// [`TopicError::BadRegisterKey`], or [`TopicError::TooLarge`].
    pub fn new(namespace: &str, name: &str) -> Result<Self, TopicError> {
        for text in [namespace, name] {
            if text.is_empty() || text.chars().any(char::is_control) {
                return Err(TopicError::BadRegisterKey {
                    reason: "a part of it is empty or has a control character",
                });
            }
            if text.len() > MAX_REGISTER_KEY {
                return Err(TopicError::TooLarge {
                    item: Item::RegisterKey,
                    index: 0,
                    bytes: text.len(),
                    limit: MAX_REGISTER_KEY,
                });
            }
        }
        Ok(Self {
            namespace: namespace.into(),
            name: name.into(),
        })
    }

    /// The least key of a namespace whose name is not less than `from`.
    pub(crate) fn bound(namespace: &str, from: &str) -> Self {
        Self {
            namespace: namespace.into(),
            name: from.into(),
        }
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The name in the namespace.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Version {
    /// A new version, for a store that writes.
    pub fn draw() -> Self {
        Self(draw_version())
    }

    /// The version of this number, as a store has kept it.
    pub const fn from_u64(number: u64) -> Self {
        Self(number)
    }

    /// Its number, for a store to keep.
    pub const fn to_u64(self) -> u64 {
        self.0
    }
}

impl Register {
    /// A value and its version.
    pub const fn new(version: Version, value: Bytes) -> Self {
        Self { version, value }
    }
}

impl Swap {
    /// Writes a value that stays until it is replaced or removed.
    ///
    /// # Errors
    ///
    /// [`TopicError::TooLarge`].
    pub fn write(
        key: RegisterKey,
        expected: Option<Version>,
        value: impl Into<Bytes>,
    ) -> Result<Self, TopicError> {
        let value = value.into();
        if value.len() > MAX_REGISTER_VALUE {
            return Err(TopicError::TooLarge {
                item: Item::RegisterValue,
                index: 0,
                bytes: value.len(),
                limit: MAX_REGISTER_VALUE,
            });
        }
        Ok(Self {
            key,
            expected,
            value: Some(value),
            expires: None,
        })
    }

    /// Removes the register.
    pub const fn remove(key: RegisterKey, expected: Option<Version>) -> Self {
        Self {
            key,
            expected,
            value: None,
            expires: None,
        }
    }

    /// The same with a time after which the store may remove the register.
    #[must_use]
    pub const fn expires(mut self, after: Duration) -> Self {
        self.expires = Some(after);
        self
    }
}

// Values do not belong in logs.
impl fmt::Debug for Register {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Register")
            .field("version", &self.version)
            .field("bytes", &self.value.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Swap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Swap")
            .field("key", &self.key)
            .field("expected", &self.expected)
            .field("bytes", &self.value.as_ref().map(Bytes::len))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_have_limits() {
        let long = "x".repeat(MAX_REGISTER_KEY);
        let key = RegisterKey::new("a b", &long).unwrap();
        for (namespace, name) in [("", "x"), ("x", ""), ("x", "a\0")] {
            let error = RegisterKey::new(namespace, name).unwrap_err();
            assert_eq!(error.code(), "bad-name");
        }
        let error = RegisterKey::new(&format!("{long}x"), "x").unwrap_err();
        assert_eq!(error.code(), "too-large");
        let value = vec![0; MAX_REGISTER_VALUE];
        assert!(Swap::write(key.clone(), None, value.clone()).is_ok());
        let error = Swap::write(key, None, [value, vec![0]].concat()).unwrap_err();
        assert_eq!(error.code(), "too-large");
    }
}
