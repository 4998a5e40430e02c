//! The form in which a store of bytes keeps a record: its content behind a checksum.
//!
//! `format: 1 byte, CRC32C of all that follows and of the mark: 4, flags: 1`, then each part that
//! the flags name, as its length (4 bytes) and its bytes, in the order key, compact id, content
//! type, metadata (a name, a text, …; its length counts all pairs), payload. Numbers have their
//! highest byte first. Offset, mark and time are the store's, since it gives them out.

use std::error::Error;
use std::fmt;

use bytes::{Buf, BufMut, Bytes};

use crate::{Content, Mark};

/// A stored record is not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Damaged;

const FORMAT: u8 = 1;

/// The format and the checksum.
const HEAD: usize = 5;

const KEY: u8 = 1;
const COMPACT: u8 = 1 << 1;
const CONTENT_TYPE: u8 = 1 << 2;
const META: u8 = 1 << 3;
const PAYLOAD: u8 = 1 << 4;

impl Content {
    /// The content as bytes, with a checksum of it and of the mark.
    pub fn encode(&self, mark: Mark) -> Bytes {
        let mut out = Vec::with_capacity(self.encoded_size());
        self.encode_to(mark, &mut out);
        out.into()
    }

    /// How many bytes [`encode`](Self::encode) writes.
    pub(crate) fn encoded_size(&self) -> usize {
        let texts = [&self.key, &self.compact, &self.content_type];
        let parts = texts.into_iter().flatten().count();
        let parts = parts.saturating_add(usize::from(self.payload.is_some()));
        let parts = match self.meta.len() {
            0 => parts,
            pairs => parts
                .saturating_add(1)
                .saturating_add(pairs.saturating_mul(2)),
        };
        let lengths = parts.saturating_mul(4);
        self.size().saturating_add(lengths).saturating_add(HEAD + 1)
    }

    /// Writes it behind what is there.
    pub(crate) fn encode_to(&self, mark: Mark, out: &mut Vec<u8>) {
        let head = out.len();
        out.put_u8(FORMAT);
        out.put_u32(0);
        let body = out.len();
        let flag = |is_there: bool, flag: u8| if is_there { flag } else { 0 };
        out.put_u8(
            flag(self.key.is_some(), KEY)
                | flag(self.compact.is_some(), COMPACT)
                | flag(self.content_type.is_some(), CONTENT_TYPE)
                | flag(!self.meta.is_empty(), META)
                | flag(self.payload.is_some(), PAYLOAD),
        );
        for text in [&self.key, &self.compact, &self.content_type]
            .into_iter()
            .flatten()
        {
            put_part(out, text.as_bytes());
        }
        if !self.meta.is_empty() {
            let lengths = self.meta.len().saturating_mul(8);
            put_length(out, self.meta_size().saturating_add(lengths));
            for (name, text) in &self.meta {
                put_part(out, name.as_bytes());
                put_part(out, text.as_bytes());
            }
        }
        if let Some(payload) = &self.payload {
            put_part(out, payload);
        }
        let sum = checksum(out.get(body..).unwrap_or_default(), mark);
        if let Some(place) = out.get_mut(head.saturating_add(1)..body) {
            place.copy_from_slice(&sum.to_be_bytes());
        }
    }

    /// Reads what [`encode`](Self::encode) wrote. The payload shares the memory of `stored`.
    ///
    /// # Errors
    ///
    /// The bytes, or the mark, are not those that were written.
    pub fn decode(mut stored: Bytes, mark: Mark) -> Result<Self, Damaged> {
        if stored.try_get_u8() != Ok(FORMAT) {
            return Err(Damaged);
        }
        let sum = stored.try_get_u32().map_err(|_| Damaged)?;
        if sum != checksum(&stored, mark) {
            return Err(Damaged);
        }
        let flags = stored.try_get_u8().map_err(|_| Damaged)?;
        if flags & !(KEY | COMPACT | CONTENT_TYPE | META | PAYLOAD) != 0 {
            return Err(Damaged);
        }
        let mut content = Self::default();
        if flags & KEY != 0 {
            content.key = Some(take_text(&mut stored)?.into());
        }
        if flags & COMPACT != 0 {
            content.compact = Some(take_text(&mut stored)?.into());
        }
        if flags & CONTENT_TYPE != 0 {
            content.content_type = Some(take_text(&mut stored)?.into());
        }
        if flags & META != 0 {
            let mut pairs = take_part(&mut stored)?;
            while !pairs.is_empty() {
                let name = take_text(&mut pairs)?;
                content.meta.insert(name, take_text(&mut pairs)?);
            }
        }
        if flags & PAYLOAD != 0 {
            content.payload = Some(take_part(&mut stored)?);
        }
        if stored.is_empty() {
            Ok(content)
        } else {
            Err(Damaged)
        }
    }
}

fn checksum(body: &[u8], mark: Mark) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&mark.to_be_bytes()), body)
}

fn put_part(out: &mut Vec<u8>, part: &[u8]) {
    put_length(out, part.len());
    out.put_slice(part);
}

/// The engine's limits are far below 4 GiB. A longer part is written with a length that does not
/// fit, so that it is found to be damaged.
fn put_length(out: &mut Vec<u8>, length: usize) {
    out.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
}

fn take_part(stored: &mut Bytes) -> Result<Bytes, Damaged> {
    let length = stored.try_get_u32().map_err(|_| Damaged)?;
    let length = usize::try_from(length).map_err(|_| Damaged)?;
    if length > stored.len() {
        return Err(Damaged);
    }
    Ok(stored.split_to(length))
}

fn take_text(stored: &mut Bytes) -> Result<String, Damaged> {
    let part = take_part(stored)?;
    String::from_utf8(part.into()).map_err(|_| Damaged)
}

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the stored record is damaged")
    }
}

impl Error for Damaged {}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents() -> Vec<Content> {
        let meta = [("payload", "x"), ("", ""), ("ä", "\0")];
        let meta = meta.map(|(name, text)| (name.into(), text.into()));
        vec![
            Content::default(),
            Content::new(""),
            Content::new(vec![0, 255, 10]),
            Content {
                key: Some("".into()),
                compact: Some("id".into()),
                meta: meta.into(),
                content_type: Some("text/plain".into()),
                payload: Some(Bytes::from_static(b"{}")),
            },
        ]
    }

    #[test]
    fn topic_021_022_what_is_stored_is_read_back() {
        for content in contents() {
            let stored = content.encode(7);
            assert_eq!(stored.len(), content.encoded_size());
            assert_eq!(Content::decode(stored, 7), Ok(content));
        }
    }

    #[test]
    fn the_form_of_a_stored_record_does_not_change() {
        let content = Content {
            key: Some("k".into()),
            meta: [("n".into(), "text".into())].into(),
            ..Content::new("{}")
        };
        let body = b"\x19\0\0\0\x01k\0\0\0\x0d\0\0\0\x01n\0\0\0\x04text\0\0\0\x02{}";
        let stored = content.encode(7);
        assert_eq!(stored[0], 1);
        assert_eq!(&stored[HEAD..], body);
    }

    #[test]
    fn topic_087_each_changed_bit_and_each_cut_is_found() {
        for content in contents() {
            let stored = content.encode(7);
            assert_eq!(Content::decode(stored.clone(), 8), Err(Damaged));
            for length in 0..stored.len() {
                assert_eq!(Content::decode(stored.slice(..length), 7), Err(Damaged));
                for bit in 0..8 {
                    let mut flipped = stored.to_vec();
                    flipped[length] ^= 1 << bit;
                    assert_eq!(Content::decode(flipped.into(), 7), Err(Damaged));
                }
            }
        }
    }
}
