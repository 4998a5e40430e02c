//! Ids and seeds from the operating system's random source.

use updraft_protocol::ejson::ObjectId;
use updraft_protocol::random;

/// A session's id: 17 characters that nobody can guess.
///
/// # Errors
///
/// The operating system cannot provide random bytes.
pub(crate) fn session_id() -> std::io::Result<String> {
    // 64 random bytes are not enough for an id in one of 10^21 cases.
    for _ in 0..4 {
        let mut bytes = [0; 64];
        getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
        if let Some(id) = random::id_from_bytes(bytes) {
            return Ok(id);
        }
    }
    Err(std::io::Error::other("the random source is stuck"))
}

/// A seed for a random stream, if the client sent none. Its ids name documents; they are not
/// credentials.
pub(crate) fn random_seed() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// The id of an ObjectID that a client sent without one. `None` if the operating system cannot
/// provide random bytes.
pub(crate) fn object_id() -> Option<ObjectId> {
    let mut bytes = [0; 12];
    getrandom::fill(&mut bytes).ok()?;
    Some(ObjectId::from_bytes(bytes))
}

/// A secret of 43 characters, such as a login token.
///
/// # Errors
///
/// The operating system cannot provide random bytes.
pub(crate) fn secret() -> std::io::Result<String> {
    // Every byte gives a character without bias: 256 is a multiple of the alphabet's 64 characters.
    let mut bytes = [0; random::SECRET_LENGTH];
    getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
    random::secret_from_bytes(bytes)
        .ok_or_else(|| std::io::Error::other("the random source is stuck"))
}
