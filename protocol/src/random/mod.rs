//! Meteor's random ids, secrets and seeded streams. Nothing here is random by itself: the caller
//! passes a seed or random bytes.

mod alea;
mod stream;

pub use alea::Alea;
pub use stream::RandomStream;

/// The characters of Meteor's ids, without those that are easily mistaken for others.
pub const UNMISTAKABLE: &str = "23456789ABCDEFGHJKLMNPQRSTWXYZabcdefghijkmnopqrstuvwxyz";

/// The characters of Meteor's secrets.
pub const SECRET: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";

/// The length of an id.
pub const ID_LENGTH: usize = 17;

/// The default length of a secret, such as a login token.
pub const SECRET_LENGTH: usize = 43;

/// Whether `text` looks like an id that Meteor made: exactly 17 characters of its id
/// alphabet, the letters and digits that are not easily taken for others.
pub fn is_meteor_id(text: &str) -> bool {
    text.len() == ID_LENGTH
        && text
            .chars()
            .all(|character| UNMISTAKABLE.contains(character))
}

/// An id from random bytes; every id is equally likely. `None` if there are too few bytes.
///
/// It takes 20 bytes on average: one in seven is skipped, because 256 is no multiple of the 55
/// characters. 64 random bytes suffice for all but one in 10²¹ ids.
pub fn id_from_bytes(random: impl IntoIterator<Item = u8>) -> Option<String> {
    from_bytes(UNMISTAKABLE, ID_LENGTH, random)
}

/// A secret of 43 characters from random bytes; every secret is equally likely. `None` if there are
/// fewer bytes.
pub fn secret_from_bytes(random: impl IntoIterator<Item = u8>) -> Option<String> {
    from_bytes(SECRET, SECRET_LENGTH, random)
}

fn from_bytes(
    alphabet: &str,
    length: usize,
    random: impl IntoIterator<Item = u8>,
) -> Option<String> {
    // The largest multiple of the alphabet's length that fits a byte keeps every character equally
    // likely.
    let fair = 256 - 256 % alphabet.len();
    let places = random
        .into_iter()
        .map(usize::from)
        .filter(|byte| *byte < fair)
        .map(|byte| byte % alphabet.len());
    let text: String = places
        .filter_map(|place| alphabet.chars().nth(place))
        .take(length)
        .collect();
    (text.len() == length).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_recognised() {
        assert!(is_meteor_id("phtRHPzRKuyQiqu8M"));
        for other in [
            "",
            "phtRHPzRKuyQiqu8",
            "phtRHPzRKuyQiqu8MM",
            "phtRHPzRKuyQiqu80",
            "phtRHPzRKuyQiqué",
            "vent.phtRHPzRKuyQ",
        ] {
            assert!(!is_meteor_id(other), "{other}");
        }
    }

    #[test]
    fn bytes_become_ids_without_bias() {
        assert_eq!(id_from_bytes(0..=255).unwrap(), "23456789ABCDEFGHJ");
        assert_eq!(id_from_bytes([255; 64]), None);
        assert_eq!(id_from_bytes([0; 16]), None);
        assert!(is_meteor_id(&id_from_bytes((0..=255).rev()).unwrap()));
        assert_eq!(secret_from_bytes(0..=255).unwrap().len(), 43);
        assert_eq!(secret_from_bytes([0; 42]), None);
        for place in 0..55 {
            let makers = (0..=255).filter(|byte| {
                id_from_bytes([*byte; 17])
                    .is_some_and(|id| id.chars().next() == UNMISTAKABLE.chars().nth(place))
            });
            assert_eq!(makers.count(), 4);
        }
    }
}
