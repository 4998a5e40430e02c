//! Text in words of eight bytes, for what is done to each byte of every SockJS frame. The first byte
//! of a word is its lowest.

/// Bytes of a word.
const BYTES: usize = size_of::<u64>();

const ONES: u64 = u64::from_ne_bytes([0x01; BYTES]);
const LOW: u64 = u64::from_ne_bytes([0x7f; BYTES]);
const HIGH: u64 = u64::from_ne_bytes([0x80; BYTES]);

/// Eight bytes of a text, or what is left of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word {
    bytes: u64,
    left: usize,
}

/// The bytes of a word that are asked for: the high bit of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marks(u64);

impl Word {
    /// The first word of a text, and what is behind it.
    pub(super) fn split(text: &[u8]) -> Option<(Self, &[u8])> {
        let (bytes, behind) = text.split_first_chunk::<BYTES>()?;
        let word = Self {
            bytes: u64::from_le_bytes(*bytes),
            left: BYTES,
        };
        Some((word, behind))
    }

    /// Whether it has a control character.
    pub(super) fn has_control(self) -> bool {
        let limit = ONES.wrapping_mul(0x20);
        self.bytes.wrapping_sub(limit) & !self.bytes & HIGH != 0
    }

    /// Where this byte stands in it.
    pub(super) fn find(self, byte: u8) -> Marks {
        let differs = self.bytes ^ ONES.wrapping_mul(u64::from(byte));
        // The sum does not carry into the next byte, so that each mark is exact.
        Marks(!((differs & LOW).wrapping_add(LOW) | differs) & HIGH)
    }

    /// Moves the first `count` bytes to `out`.
    pub(super) fn take(&mut self, count: usize, out: &mut Vec<u8>) {
        let end = out.len().saturating_add(count.min(self.left));
        // All of it is written and the rest cut off: a copy of a fixed size is one instruction.
        out.extend_from_slice(&self.bytes.to_le_bytes());
        out.truncate(end);
        self.bytes = self.bytes.checked_shr(bits(count)).unwrap_or(0);
        self.left = self.left.saturating_sub(count);
    }

    /// Moves all of its bytes to `out`.
    pub(super) fn take_all(mut self, out: &mut Vec<u8>) {
        self.take(self.left, out);
    }
}

impl Marks {
    pub(super) fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn is_none(self) -> bool {
        self.0 == 0
    }

    /// How many bytes are before the first that is marked, if one is.
    pub(super) fn first(self) -> Option<usize> {
        (self.0 != 0).then(|| self.0.trailing_zeros() as usize / 8)
    }

    /// Those behind the first `count` bytes, without that of the byte which is first then.
    pub(super) fn behind(self, count: usize) -> Self {
        Self(self.0.checked_shr(bits(count)).unwrap_or(0) & !0xff)
    }
}

fn bits(bytes: usize) -> u32 {
    u32::try_from(bytes.saturating_mul(8)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_bytes_that_are_asked_for_are_marked() {
        for byte in 0..=255 {
            let text = [byte; 9];
            let (word, behind) = Word::split(&text).unwrap();
            assert_eq!(behind, [byte]);
            assert_eq!(word.has_control(), byte < 0x20, "{byte}");
            for other in [
                b'"',
                byte.wrapping_add(1),
                byte.wrapping_sub(1),
                byte ^ 0x80,
            ] {
                let marks = word.find(other);
                assert_eq!(marks.is_none(), other != byte, "{byte} {other}");
            }
        }
        let (word, _) = Word::split(b"a\"b!\"\"#c").unwrap();
        let marks = word.find(b'"');
        assert_eq!(marks.first(), Some(1));
        assert_eq!(marks.behind(1).first(), Some(3));
        assert_eq!(marks.behind(1).behind(3).first(), Some(1));
        assert!(marks.behind(1).behind(3).behind(1).is_none());
    }

    #[test]
    fn bytes_are_taken_from_the_front() {
        let (mut word, behind) = Word::split(b"12345678").unwrap();
        assert_eq!(behind, b"");
        let mut out = b"0".to_vec();
        word.take(3, &mut out);
        assert_eq!(out, b"0123");
        word.take(0, &mut out);
        word.take_all(&mut out);
        assert_eq!(out, b"012345678");
        assert!(Word::split(b"1234567").is_none());
    }
}
