//! Bytes, which EJSON writes in base64. Meteor's reader of base64 is lenient in its own way.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Bytes: a `Uint8Array` on the other side.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Binary(pub Vec<u8>);

impl Binary {
    /// Standard base64 with padding.
    pub(super) fn write_base64(&self, out: &mut String) {
        STANDARD.encode_string(&self.0, out);
    }

    /// Reads base64 as Meteor does: padding may be missing, a foreign character counts as 0, a
    /// left-over single character as nothing.
    pub(super) fn from_base64(text: &str) -> Self {
        Self(STANDARD.decode(text).unwrap_or_else(|_| lenient(text)))
    }
}

impl From<Vec<u8>> for Binary {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<&[u8]> for Binary {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl AsRef<[u8]> for Binary {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

fn lenient(text: &str) -> Vec<u8> {
    let units: Vec<u16> = text.encode_utf16().collect();
    let padding = units
        .iter()
        .rev()
        .take(2)
        .take_while(|unit| **unit == u16::from(b'='))
        .count();
    let digits = units.iter().take(units.len().saturating_sub(padding));
    let mut bytes = Vec::with_capacity(units.len());
    // `held` of the low bits are not yet in a byte.
    let (mut bits, mut held) = (0_u32, 0_u32);
    for digit in digits {
        bits = (bits << 6) | sextet(*digit);
        held = (held + 6) % 8;
        if held < 6 {
            bytes.push((bits >> held) as u8);
        }
        bits &= 0xff;
    }
    bytes
}

fn sextet(unit: u16) -> u32 {
    let Ok(character) = u8::try_from(unit) else {
        return 0;
    };
    match character {
        b'A'..=b'Z' => u32::from(character - b'A'),
        b'a'..=b'z' => u32::from(character - b'a') + 26,
        b'0'..=b'9' => u32::from(character - b'0') + 52,
        b'+' => 62,
        b'/' => 63,
        _ => 0,
    }
}
