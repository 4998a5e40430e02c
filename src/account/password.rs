//! Login by password, as accounts-password has stored it: the bcrypt of the SHA-256 that clients
//! send. Hashing is slow on purpose, so it runs on threads of its own, few at a time. It takes as
//! long for an unknown user as for a known one.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::available_parallelism;

use bcrypt::HashParts;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use updraft_protocol::ejson::{Object, Value};
use updraft_protocol::message::WireError;

use super::{Authenticator, Login, LoginRequest, UserSelector, Users};
use crate::base::error::{Error, ErrorKind, Result};

/// Logins such as `login [{user: {username: "ada"}, password: {digest: "…", algorithm:
/// "sha-256"}}]`.
///
/// `user` has one of `id`, `username` and `email`. The password may also be in clear text, as
/// Meteor allows. A login that is granted stores a new token, with which the client resumes from
/// then on. An unknown user and a wrong password give the same error, 403 with the same reason,
/// after the same work.
///
/// The Meteor app creates users, and sets and resets passwords. Its other checks stay there too: a
/// user with a second factor, or with a password hashed by argon2, is refused here.
///
/// ```
/// use updraft::Server;
/// use updraft::account::Password;
///
/// let builder = Server::builder().authenticator(Password::new());
/// ```
#[derive(Debug)]
pub struct Password {
    rounds: u32,
    most_rounds: u32,
    /// Permits for logins that are hashed or wait. Taken by each login, released at its end.
    places: Arc<Semaphore>,
    /// Permits for logins that are hashed. Taken by each login in its turn, released when the work
    /// is done.
    turns: Arc<Semaphore>,
}

/// The length of a `sha-256` digest, and of a clear-text password in Meteor's limit.
const DIGEST_LENGTH: usize = 64;
const PASSWORD_LENGTH: usize = 256;
/// No user has a longer name or address.
const NAME_LENGTH: usize = 256;

impl Password {
    /// Passwords with Meteor's default cost.
    pub fn new() -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        let (places, turns) = semaphores(cores.div_ceil(2), 256);
        Self {
            rounds: 10,
            most_rounds: 14,
            places,
            turns,
        }
    }

    /// The cost of the app's hashes, its `Accounts.config({bcryptRounds})`; 10 by default, from 4
    /// to 31. A login as an unknown user takes as long as a hash of this cost.
    #[must_use]
    pub fn rounds(mut self, rounds: u32) -> Self {
        self.rounds = rounds.clamp(4, 31);
        self.most_rounds = self.most_rounds.max(self.rounds);
        self
    }

    /// The highest cost of a stored hash that is computed; 14 by default, which takes about a
    /// second. A user with a more costly hash is refused.
    #[must_use]
    pub fn most_rounds(mut self, rounds: u32) -> Self {
        self.most_rounds = rounds.max(self.rounds);
        self
    }

    /// How many passwords are hashed at the same time, each on a thread of its own, and how many
    /// more logins may wait for their turn; by default half the number of cores, and 256. A further
    /// login is refused: 503 `Too many logins at once`.
    #[must_use]
    pub fn at_once(mut self, hashed: NonZeroUsize, waiting: usize) -> Self {
        (self.places, self.turns) = semaphores(hashed.get(), waiting);
        self
    }

    async fn check(&self, attempt: &PasswordLogin, request: &LoginRequest) -> Result<Login> {
        let Ok(_place) = self.places.try_acquire() else {
            let refused = WireError::new(503, "Too many logins at once");
            return Err(Error::with(ErrorKind::Unavailable, refused));
        };
        let user = request.users().find_password(&attempt.user).await;
        let user = user.map_err(Error::of_users)?;
        let (user, stored) = match user {
            Some(record) => (Some(record.user), record.bcrypt),
            None => (None, None),
        };
        let stored = stored.filter(|stored| self.is_usable(stored));
        let granted = user.filter(|_| stored.is_some());
        let hash = stored.unwrap_or_else(|| dummy_hash(self.rounds));
        let digest = attempt.digest.clone();
        let turn = Arc::clone(&self.turns).acquire_owned().await?;
        let matches = spawn_blocking(move || {
            // Held until the work is done, whether or not anybody still waits for it.
            let _turn = turn;
            bcrypt::verify(digest, &hash)
        });
        match (granted, matches.await??) {
            (Some(user), true) => Ok(Login::new(user, "password").issue_token()),
            _ => Err(Error::forbidden(
                "Something went wrong. Please check your credentials.",
            )),
        }
    }

    /// Whether a stored text is a bcrypt hash, and not too costly.
    fn is_usable(&self, stored: &str) -> bool {
        let parts = stored.parse::<HashParts>();
        let usable = parts.is_ok_and(|it| (4..=self.most_rounds).contains(&it.get_cost()));
        if !usable {
            tracing::warn!("A stored password is not a bcrypt hash, or its cost is too high.");
        }
        usable
    }
}

impl Authenticator for Password {
    async fn login(&self, request: &LoginRequest) -> Result<Option<Login>> {
        match PasswordLogin::read(request.options())? {
            Some(attempt) => self.check(&attempt, request).await.map(Some),
            None => Ok(None),
        }
    }
}

impl Default for Password {
    fn default() -> Self {
        Self::new()
    }
}

/// Permits for all logins, and for those that are hashed.
fn semaphores(hashed: usize, waiting: usize) -> (Arc<Semaphore>, Arc<Semaphore>) {
    let semaphore = |permits: usize| Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS)));
    (semaphore(hashed.saturating_add(waiting)), semaphore(hashed))
}

/// A hash that belongs to no user. It takes as long as any other hash of its cost.
fn dummy_hash(rounds: u32) -> String {
    const SALT_AND_HASH: &str = "N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy";
    format!("$2b${rounds:02}${SALT_AND_HASH}")
}

/// A login by password, as a client asks for it.
#[derive(PartialEq)]
struct PasswordLogin {
    user: UserSelector,
    /// The hex SHA-256 of the password, which is hashed further.
    digest: String,
}

impl PasswordLogin {
    /// `None` for a login of another kind. Users must be given as text, so that only text reaches a
    /// query.
    fn read(options: &Object) -> Result<Option<Self>> {
        let Some(password) = options.get("password").filter(|it| !it.is_falsy()) else {
            return Ok(None);
        };
        let members = ["user", "password", "code"];
        let is_known = options.keys().all(|key| members.iter().any(|it| key == it));
        let code = options.get("code").filter(|code| !code.is_undefined());
        let is_code = code.is_none_or(|code| code.as_str().is_some_and(|it| !it.is_empty()));
        let user = options.get("user").and_then(user);
        match (user, digest(password)) {
            (Some(user), Some(digest)) if is_known && is_code => Ok(Some(Self { user, digest })),
            _ => Err(Error::match_failed()),
        }
    }
}

/// `{id}`, `{username}` or `{email}`.
fn user(user: &Value) -> Option<UserSelector> {
    let user = user.as_object().filter(|user| user.len() == 1)?;
    let text = |name| {
        let text = user.get(name).and_then(Value::as_str);
        text.filter(|text| (1..=NAME_LENGTH).contains(&text.len()))
            .map(str::to_owned)
    };
    let by_id = text("id").map(UserSelector::Id);
    by_id
        .or_else(|| text("username").map(UserSelector::Username))
        .or_else(|| text("email").map(UserSelector::Email))
}

/// `{digest, algorithm}`, or the password itself.
fn digest(password: &Value) -> Option<String> {
    if let Some(password) = password.as_text() {
        let password = password.to_string_lossy();
        let length = password.encode_utf16().count();
        return (length <= PASSWORD_LENGTH).then(|| hex(&Sha256::digest(password.as_bytes())));
    }
    let password = password.as_object().filter(|it| it.len() == 2)?;
    let algorithm = password.get("algorithm").and_then(Value::as_str);
    let digest = password.get("digest").and_then(Value::as_str)?;
    let is_digest =
        digest.len() == DIGEST_LENGTH && digest.bytes().all(|it| it.is_ascii_hexdigit());
    (algorithm == Some("sha-256") && is_digest).then(|| digest.to_owned())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use updraft_protocol::ejson;

    use super::*;
    use crate::ErrorKind;

    /// SHA-256 of `secret`.
    const DIGEST: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

    fn read(options: Value) -> Result<Option<PasswordLogin>> {
        PasswordLogin::read(options.as_object().unwrap())
    }

    fn hashed() -> Value {
        ejson!({ "digest": DIGEST, "algorithm": "sha-256" })
    }

    #[test]
    fn a_password_comes_as_digest_or_in_clear() {
        for (member, user) in [
            ("id", UserSelector::Id("x".into())),
            ("username", UserSelector::Username("x".into())),
            ("email", UserSelector::Email("x".into())),
        ] {
            for password in [hashed(), "secret".into()] {
                let mut named = Object::new();
                named.insert(member, "x");
                let attempt = read(ejson!({ "user": named, "password": password }));
                let attempt = attempt.unwrap().unwrap();
                assert!(attempt.user == user && attempt.digest == DIGEST);
            }
        }
    }

    #[test]
    fn other_logins_are_left_to_others() {
        for password in [ejson!(null), ejson!(""), ejson!(0), ejson!(false)] {
            let options = ejson!({ "user": { "id": "x" }, "password": password });
            assert!(read(options).unwrap().is_none());
        }
        assert!(read(ejson!({ "resume": "x" })).unwrap().is_none());
    }

    #[test]
    fn row_067_what_has_another_shape_matches_nothing() {
        let users = [
            ejson!({ "username": { "$gt": "" } }),
            ejson!({ "id": { "$ne": null } }),
            ejson!({ "email": ["x"] }),
            ejson!({ "username": "x", "id": "y" }),
            ejson!({ "username": "" }),
            ejson!({ "username": "x".repeat(NAME_LENGTH + 1) }),
            ejson!({ "services.password.bcrypt": "x" }),
            ejson!({}),
            ejson!("x"),
            ejson!(null),
        ];
        for user in users {
            let refused = read(ejson!({ "user": user, "password": hashed() }));
            assert!(refused.is_err_and(|error| error.kind() == ErrorKind::Match));
        }
        let passwords = [
            ejson!({ "digest": DIGEST }),
            ejson!({ "digest": DIGEST, "algorithm": "md5" }),
            ejson!({ "digest": "short", "algorithm": "sha-256" }),
            ejson!({ "digest": { "$gt": "" }, "algorithm": "sha-256" }),
            ejson!({ "digest": "é".repeat(32), "algorithm": "sha-256" }),
            ejson!({ "digest": DIGEST, "algorithm": "sha-256", "more": 1 }),
            ejson!("x".repeat(PASSWORD_LENGTH + 1)),
            ejson!(5),
        ];
        for password in passwords {
            let refused = read(ejson!({ "user": { "id": "x" }, "password": password }));
            assert!(refused.is_err());
        }
        let more = ejson!({ "user": { "id": "x" }, "password": hashed(), "more": 1 });
        assert!(read(more).is_err());
    }

    #[test]
    fn stored_hashes_are_input() {
        let password = Password::new();
        assert!(password.is_usable(&dummy_hash(10)));
        let non_ascii = format!("$2b$10${}", "é".repeat(26));
        let costly = dummy_hash(15);
        let cheap = dummy_hash(3);
        for stored in ["", "$2b$10$", "x", "$2b$99$", &non_ascii, &costly, &cheap] {
            assert!(!password.is_usable(stored), "{stored}");
        }
    }
}
