//! Login by JSON Web Token, for clients that log in to another service. The token names the user
//! and has an expiry; nothing is stored.

use std::fmt;

use jsonwebtoken::crypto::rust_crypto;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, get_current_timestamp};
use serde_json::{Map, Value as Json};
use updraft_protocol::ejson::Date;

use super::{Authenticator, Login, LoginRequest};
use crate::base::error::{Error, Result};

/// Logins such as `login [{jwt: "…"}]`.
///
/// A token must be signed by one of the keys, with the algorithm of that key; the token's own `alg`
/// chooses nothing. It must have an expiry, `exp`, at which the connection is closed. A client with
/// a newer token logs in again before that. A token is refused if it is not valid yet (`nbf`, with
/// a tolerance of a minute for clocks), or if its audience (`aud`) is not this server's.
///
/// ```
/// use updraft::Server;
/// use updraft::account::{Jwt, JwtKey};
///
/// # fn run() -> updraft::Result<()> {
/// let key = JwtKey::hs256(b"a secret of at least 32 characters")?;
/// let jwt = Jwt::new(key).issuer("https://login.example.org").audience("chat");
/// let builder = Server::builder().authenticator(jwt);
/// # Ok(())
/// # }
/// # run().unwrap();
/// ```
#[derive(Debug)]
pub struct Jwt {
    keys: Vec<JwtKey>,
    user_claim: String,
    issuer: Option<String>,
    audience: Option<String>,
}

/// A key that verifies tokens, and its algorithm.
pub struct JwtKey {
    algorithm: Algorithm,
    key: DecodingKey,
}

/// The tolerated difference between the clocks of two machines, in seconds.
const CLOCK_SKEW: u64 = 60;

impl JwtKey {
    /// A secret shared with the tokens' issuer: HMAC with SHA-256.
    ///
    /// # Errors
    ///
    /// It is shorter than the 32 bytes that RFC 7518 requires.
    pub fn hs256(secret: &[u8]) -> Result<Self> {
        if secret.len() < 32 {
            let text = "a secret for HS256 takes at least 32 bytes";
            return Err(Error::configuration(text));
        }
        Ok(Self::new(
            Algorithm::HS256,
            DecodingKey::from_secret(secret),
        ))
    }

    /// The public key of the tokens' issuer, in PEM: RSA with PKCS #1 and SHA-256.
    ///
    /// # Errors
    ///
    /// It is not such a key.
    pub fn rs256(pem: &[u8]) -> Result<Self> {
        Self::public(Algorithm::RS256, DecodingKey::from_rsa_pem(pem))
    }

    /// The public key of the tokens' issuer, in PEM: ECDSA on the curve P-256 with SHA-256.
    ///
    /// # Errors
    ///
    /// It is not such a key.
    pub fn es256(pem: &[u8]) -> Result<Self> {
        Self::public(Algorithm::ES256, DecodingKey::from_ec_pem(pem))
    }

    /// The public key of the tokens' issuer, in PEM: Ed25519.
    ///
    /// # Errors
    ///
    /// It is not such a key.
    pub fn eddsa(pem: &[u8]) -> Result<Self> {
        Self::public(Algorithm::EdDSA, DecodingKey::from_ed_pem(pem))
    }

    fn public(
        algorithm: Algorithm,
        key: jsonwebtoken::errors::Result<DecodingKey>,
    ) -> Result<Self> {
        let not_a_key = |error| {
            let text = format!("not a public key in PEM for {algorithm:?}: {error}");
            Error::configuration(text)
        };
        Ok(Self::new(algorithm, key.map_err(not_a_key)?))
    }

    fn new(algorithm: Algorithm, key: DecodingKey) -> Self {
        // The provider is global to the process. If the program has installed another, that one is
        // kept.
        rust_crypto::DEFAULT_PROVIDER.install_default().ok();
        Self { algorithm, key }
    }
}

impl Jwt {
    /// Accepts tokens that this key has signed. Their claim `sub` is the user's id.
    pub fn new(key: JwtKey) -> Self {
        Self {
            keys: vec![key],
            user_claim: "sub".into(),
            issuer: None,
            audience: None,
        }
    }

    /// Adds another key, so that keys can be replaced: tokens of any of the keys are accepted.
    #[must_use]
    pub fn or(mut self, key: JwtKey) -> Self {
        self.keys.push(key);
        self
    }

    /// The claim with the user's id, a non-empty text; `sub` by default.
    #[must_use]
    pub fn user_claim(mut self, name: impl Into<String>) -> Self {
        self.user_claim = name.into();
        self
    }

    /// Accepts only tokens of this issuer (`iss`).
    #[must_use]
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = Some(issuer.into());
        self
    }

    /// Accepts only tokens for this audience (`aud`). Without it, only tokens without an audience.
    #[must_use]
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    fn check(&self, token: &str) -> Result<Login> {
        let claims = self.claims(token).map_err(refused)?;
        let user = claims.get(&self.user_claim).and_then(Json::as_str);
        let user = user.filter(|user| !user.is_empty());
        let user = user.ok_or_else(|| refused(ErrorKind::InvalidToken.into()))?;
        // The tolerance is for tokens that become valid, not for those that expire: their
        // connection would be closed at once.
        let expires = claims.get("exp").and_then(Json::as_f64).unwrap_or(0.0);
        if expires <= get_current_timestamp() as f64 {
            return Err(refused(ErrorKind::ExpiredSignature.into()));
        }
        let expires = Date::from_millis(expires * 1000.0);
        if expires.millis().is_none() {
            return Err(refused(ErrorKind::InvalidToken.into()));
        }
        Ok(Login::new(user, "jwt").expires(expires))
    }

    /// The claims of a token, if one of the keys has signed it; otherwise the last key's error.
    fn claims(&self, token: &str) -> jsonwebtoken::errors::Result<Map<String, Json>> {
        let mut outcome = Err(ErrorKind::InvalidSignature.into());
        for key in &self.keys {
            outcome = decode(token, &key.key, &self.validation(key.algorithm));
            match &outcome {
                Err(error) if is_of_another_key(error.kind()) => {}
                _ => break,
            }
        }
        Ok(outcome?.claims)
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.leeway = CLOCK_SKEW;
        validation.validate_nbf = true;
        let mut required = vec!["exp"];
        if let Some(issuer) = &self.issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        if let Some(audience) = &self.audience {
            validation.set_audience(&[audience]);
            required.push("aud");
        }
        validation.set_required_spec_claims(&required);
        validation
    }
}

impl Authenticator for Jwt {
    async fn login(&self, request: &LoginRequest) -> Result<Option<Login>> {
        let Some(token) = request.options().get("jwt") else {
            return Ok(None);
        };
        let token = token.as_str().ok_or_else(Error::match_failed)?;
        self.check(token).map(Some)
    }
}

/// Without the key.
impl fmt::Debug for JwtKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtKey")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

fn is_of_another_key(kind: &ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::InvalidSignature | ErrorKind::InvalidAlgorithm
    )
}

/// The error for the client: that its token has expired, in Meteor's words, or only that it is not
/// valid.
fn refused(error: jsonwebtoken::errors::Error) -> Error {
    let reason = match error.kind() {
        ErrorKind::ExpiredSignature => "Your session has expired. Please log in again.",
        _ => "Not a valid token",
    };
    Error::forbidden(reason).because(error)
}

#[cfg(test)]
mod tests;
