//! Login tokens: the token that the client has, and the hash of it that is stored. Neither is shown
//! in logs.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use updraft_protocol::ejson::Date;

use crate::base::error::Result;
use crate::base::ids;

/// A login token in clear text, as the client has it. A credential.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Box<str>);

/// The stored form of a token: the base64 of its SHA-256.
///
/// Tokens are looked up only by their hash, so the time of a look-up reveals nothing about an
/// existing token.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HashedToken(Box<str>);

/// A token in a user's document: one element of `services.resume.loginTokens`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoginToken {
    /// The hash of the token.
    pub hashed: HashedToken,
    /// When it was issued; its lifetime begins here.
    pub when: Date,
}

impl LoginToken {
    /// A token that was issued at a time.
    pub fn new(hashed: HashedToken, when: Date) -> Self {
        Self { hashed, when }
    }
}

/// How a token is looked up in a store.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum TokenKey<'a> {
    /// By its hash: the member `hashedToken` of a record.
    Hashed(&'a HashedToken),
    /// In clear text, as very old users have it: the member `token` of a record.
    Clear(&'a Token),
}

impl Token {
    /// A token that a client sent.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into().into())
    }

    /// A new token: 43 characters from the operating system's random source, like Meteor's
    /// `Random.secret()`.
    ///
    /// # Errors
    ///
    /// The operating system cannot provide random bytes.
    pub fn random() -> Result<Self> {
        Ok(Self(ids::secret()?.into()))
    }

    /// Its hash.
    pub fn hashed(&self) -> HashedToken {
        HashedToken(STANDARD.encode(Sha256::digest(self.0.as_bytes())).into())
    }

    /// The text. It is a credential: do not log it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl HashedToken {
    /// A hash that a store contains.
    pub fn from_stored(text: impl Into<String>) -> Self {
        Self(text.into().into())
    }

    /// The text, as it is stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token[hidden]")
    }
}

/// A hash is not a credential, but logged hashes would show who used the same token where.
impl fmt::Debug for HashedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashedToken[hidden]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ddp_172_tokens_are_hashed_as_meteor_does() {
        let hashed = Token::new("tokA").hashed();
        assert_eq!(
            hashed.as_str(),
            "3dgk6p1oqWpm8Uv3KWPdsHak4/SZa0P75V/afq8G4HU="
        );
    }

    #[test]
    fn new_tokens_are_secrets_of_43_characters() {
        let (one, other) = (Token::random().unwrap(), Token::random().unwrap());
        assert_eq!((one.as_str().len(), other.as_str().len()), (43, 43));
        assert_ne!(one, other);
    }

    #[test]
    fn row_069_tokens_hide_themselves() {
        let token = Token::new("secret");
        let record = LoginToken {
            hashed: token.hashed(),
            when: Date::from_millis(0.0),
        };
        let key = TokenKey::Clear(&token);
        let shown = format!("{token:?} {record:?} {key:?}");
        assert!(
            !shown.contains("secret") && !shown.contains(token.hashed().as_str()),
            "{shown}"
        );
    }
}
