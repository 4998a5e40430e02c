//! Places in a log, and the token by which a reader names one.

use std::error::Error;
use std::fmt;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::{Serialize, Serializer};

use crate::TopicName;
use crate::random::random;

/// The number of a record in its topic, from 1. 0 is the place before the first record.
pub type Offset = u64;

/// A random number of one record. It tells a record from another one that was given the same
/// offset, after a failover that had lost the first. Offset 0 has mark 0, no record has.
pub type Mark = u32;

/// The life of a topic, as a random number. A new one begins when the topic is created, when it is
/// deleted and created again, and when its store has lost or replaced it. Offsets of different
/// epochs have nothing to do with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(u64);

/// A place in a log: behind the record of this offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Place {
    /// The epoch in which the offset was given.
    pub epoch: Epoch,
    /// The last record that is in front of this place.
    pub offset: Offset,
    /// The mark of that record. `None` if it is not known: then it is not compared.
    pub mark: Option<Mark>,
}

/// What a reader has processed: the record of this position and everything before it. Reading
/// continues after it.
///
/// As text it is an opaque token of 32 characters: letters, digits, `-` and `_`. The tokens of one
/// topic and epoch sort by their bytes as the records do. A token is not secret, and proves
/// nothing: one that was made up is answered like any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    offset: Offset,
    /// 0 if it is not known.
    mark: Mark,
    epoch: Epoch,
    /// 24 bits of a hash of the topic's name.
    topic: u32,
}

/// A token that is malformed, or one of another topic: the code is `bad-position`. The error does
/// not repeat it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidPosition {
    reason: &'static str,
}

/// The characters of a token, each for 6 bits, in the order of their bytes.
const ALPHABET: &[u8; 64] = b"-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz";

/// Characters of a token, and the bytes that they stand for.
const TOKEN: usize = 32;
const BYTES: usize = 24;

/// The last byte of a token.
const FORMAT: u8 = 1;

impl Epoch {
    /// A new epoch.
    pub fn draw() -> Self {
        Self(random())
    }

    /// The epoch of this number, as a store has kept it.
    pub const fn from_u64(number: u64) -> Self {
        Self(number)
    }

    /// Its number, for a store to keep.
    pub const fn to_u64(self) -> u64 {
        self.0
    }
}

impl Place {
    /// The place before the first record of an epoch.
    pub const fn start(epoch: Epoch) -> Self {
        Self {
            epoch,
            offset: 0,
            mark: Some(0),
        }
    }

    /// The place behind a record.
    pub const fn new(epoch: Epoch, offset: Offset, mark: Mark) -> Self {
        Self {
            epoch,
            offset,
            mark: Some(mark),
        }
    }

    /// The place behind an offset whose record is not known.
    pub const fn unmarked(epoch: Epoch, offset: Offset) -> Self {
        Self {
            epoch,
            offset,
            mark: None,
        }
    }
}

impl Position {
    /// The position of a record.
    pub fn new(topic: &TopicName, epoch: Epoch, offset: Offset, mark: Mark) -> Self {
        Self::at(topic, Place::new(epoch, offset, mark))
    }

    /// The position of a place.
    pub fn at(topic: &TopicName, place: Place) -> Self {
        Self {
            offset: place.offset,
            mark: place.mark.unwrap_or_default(),
            epoch: place.epoch,
            topic: topic.hash24(),
        }
    }

    /// Reads a token that is to be one of this topic.
    ///
    /// # Errors
    ///
    /// [`InvalidPosition`] if it is malformed or one of another topic.
    pub fn parse(token: &str, topic: &TopicName) -> Result<Self, InvalidPosition> {
        let position: Self = token.parse()?;
        position.check(topic)?;
        Ok(position)
    }

    /// Checks that the position is one of this topic.
    ///
    /// # Errors
    ///
    /// [`InvalidPosition`].
    pub fn check(&self, topic: &TopicName) -> Result<(), InvalidPosition> {
        if self.topic == topic.hash24() {
            return Ok(());
        }
        Err(InvalidPosition {
            reason: "it is a position of another topic",
        })
    }

    /// The offset of the record.
    pub const fn offset(&self) -> Offset {
        self.offset
    }

    /// The epoch of the record.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The place behind the record.
    pub const fn place(&self) -> Place {
        if self.offset > 0 && self.mark == 0 {
            return Place::unmarked(self.epoch, self.offset);
        }
        Place::new(self.epoch, self.offset, self.mark)
    }

    fn to_bytes(self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        let parts = self
            .offset
            .to_be_bytes()
            .into_iter()
            .chain(self.mark.to_be_bytes())
            .chain(self.epoch.0.to_be_bytes())
            .chain(self.topic.to_be_bytes().into_iter().skip(1))
            .chain([FORMAT]);
        for (place, byte) in bytes.iter_mut().zip(parts) {
            *place = byte;
        }
        bytes
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut token = String::with_capacity(TOKEN);
        for three in self.to_bytes().chunks_exact(3) {
            let bits = three
                .iter()
                .fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
            for shift in [18, 12, 6, 0] {
                let digit = usize::try_from(bits >> shift & 63).unwrap_or_default();
                token.extend(ALPHABET.get(digit).map(|digit| char::from(*digit)));
            }
        }
        f.write_str(&token)
    }
}

impl FromStr for Position {
    type Err = InvalidPosition;

    /// Reads a token of any topic.
    ///
    /// # Errors
    ///
    /// [`InvalidPosition`].
    fn from_str(token: &str) -> Result<Self, InvalidPosition> {
        decode(token).ok_or(InvalidPosition {
            reason: "it is not a token of this server",
        })
    }
}

fn decode(token: &str) -> Option<Position> {
    if token.len() != TOKEN {
        return None;
    }
    // Six bits a character, all in one number of 192 bits, as three of 64.
    let mut words = [0_u64; 3];
    for (index, byte) in token.bytes().enumerate() {
        let digit = ALPHABET.iter().position(|known| *known == byte)?;
        let digit = u64::try_from(digit).ok()?;
        // 64 bits are no whole number of characters: a character may belong to two words.
        let end = index.checked_mul(6)?.checked_add(6)?;
        let word = end.checked_sub(1)? / 64;
        let in_word = end.checked_sub(word.checked_mul(64)?)?;
        *words.get_mut(word)? |= digit << 64_usize.checked_sub(in_word)?;
        if in_word < 6 {
            *words.get_mut(word.checked_sub(1)?)? |= digit >> in_word;
        }
    }
    let [offset, second, third] = words;
    // The second word is the mark and the upper half of the epoch; the third its lower half, the
    // hash and the format.
    if third & 0xff != u64::from(FORMAT) {
        return None;
    }
    let position = Position {
        offset,
        mark: u32::try_from(second >> 32).ok()?,
        epoch: Epoch(second << 32 | third >> 32),
        topic: u32::try_from(third >> 8 & 0x00ff_ffff).ok()?,
    };
    // The place before the first record has no mark.
    (position.offset > 0 || position.mark == 0).then_some(position)
}

impl fmt::Display for InvalidPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the position cannot be used: {}; read from the earliest or the latest record",
            self.reason
        )
    }
}

impl Error for InvalidPosition {}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let token = String::deserialize(deserializer)?;
        token.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TopicError;

    fn topic(name: &str) -> TopicName {
        TopicName::new(name).unwrap()
    }

    #[test]
    fn tokens_sort_as_records_do_and_are_read_back() {
        let orders = topic("orders");
        let epoch = Epoch::draw();
        let offsets = [0, 1, 2, 9, 10, 63, 64, 255, 256, 1 << 32, u64::MAX];
        let mut tokens = Vec::new();
        for offset in offsets {
            let mark = if offset == 0 { 0 } else { 0xdead_beef };
            let position = Position::new(&orders, epoch, offset, mark);
            let token = position.to_string();
            assert_eq!(token.len(), TOKEN);
            assert_eq!(Position::parse(&token, &orders).unwrap(), position);
            tokens.push(token);
        }
        assert!(tokens.is_sorted());
    }

    #[test]
    fn the_form_of_a_token_does_not_change() {
        let position = Position::new(&topic("a"), Epoch::from_u64(9), 5, 7);
        assert_eq!(position.to_string(), "----------J----6----------bFFn-0");
    }

    #[test]
    fn topic_017_033_a_malformed_or_foreign_token_is_a_bad_position() {
        let good = Position::new(&topic("orders"), Epoch::draw(), 7, 9).to_string();
        assert!(Position::parse(&good, &topic("payments")).is_err());
        let mut bad = vec![String::new(), "7".into(), "-1".into(), format!("{good}0")];
        bad.push(good.replace(|c: char| c.is_ascii(), "é"));
        bad.push("-".repeat(TOKEN));
        bad.push(format!("{}*", "0".repeat(TOKEN - 1)));
        // Offset 0 with a mark.
        bad.push(Position::new(&topic("orders"), Epoch::draw(), 0, 9).to_string());
        for token in bad {
            let error = TopicError::from(token.parse::<Position>().unwrap_err());
            assert_eq!(error.code(), "bad-position", "{token}");
        }
    }
}
