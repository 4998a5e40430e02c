//! WebSocket frames, mostly on the client's side: frames that are read have no mask, frames that are
//! written have one.

use std::io::{Error, Result};

/// Opcodes that are distinguished.
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// The first frame in some bytes.
pub(crate) struct Frame<'a> {
    pub(crate) opcode: u8,
    pub(crate) body: &'a [u8],
    pub(crate) rest: &'a [u8],
}

/// Takes a frame off the front; `None` if it is incomplete.
pub(crate) fn split(bytes: &[u8]) -> Option<Frame<'_>> {
    let (&[first, second], rest) = bytes.split_first_chunk::<2>()?;
    let (length, rest) = match second & 0x7f {
        126 => {
            let (length, rest) = rest.split_first_chunk()?;
            (u16::from_be_bytes(*length).into(), rest)
        }
        127 => {
            let (length, rest) = rest.split_first_chunk()?;
            (usize::try_from(u64::from_be_bytes(*length)).ok()?, rest)
        }
        length => (length.into(), rest),
    };
    let (body, rest) = rest.split_at_checked(length)?;
    let opcode = first & 0x0f;
    Some(Frame { opcode, body, rest })
}

/// Takes a frame of a client off the front, and its mask off the frame; `None` if it is incomplete.
pub(crate) fn take_masked(bytes: &mut [u8]) -> Option<MaskedFrame<'_>> {
    let &[first, second, ..] = &*bytes else {
        return None;
    };
    let (header, length) = match second & 0x7f {
        126 => (
            4,
            u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?).into(),
        ),
        127 => {
            let length = u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?);
            (10, usize::try_from(length).ok()?)
        }
        length => (2, length.into()),
    };
    let (_, bytes) = bytes.split_at_mut_checked(header)?;
    let (mask, bytes) = bytes.split_first_chunk_mut::<4>()?;
    let (body, rest) = bytes.split_at_mut_checked(length)?;
    let mask = u64::from_ne_bytes([*mask; 2].as_flattened().try_into().ok()?);
    let (words, last) = body.as_chunks_mut();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ mask).to_ne_bytes();
    }
    for (byte, mask) in last.iter_mut().zip(mask.to_ne_bytes()) {
        *byte ^= mask;
    }
    let opcode = first & 0x0f;
    Some(MaskedFrame { opcode, body, rest })
}

/// A frame of a client, without its mask.
pub(crate) struct MaskedFrame<'a> {
    pub(crate) opcode: u8,
    pub(crate) body: &'a [u8],
    pub(crate) rest: &'a mut [u8],
}

/// A frame as a client sends it. The mask is no secret here, and zero leaves the body as it is.
pub(crate) fn masked(opcode: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = header(opcode, 0x80, body.len());
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(body);
    frame
}

/// A frame as a server sends it.
pub(crate) fn unmasked(opcode: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = header(opcode, 0, body.len());
    frame.extend_from_slice(body);
    frame
}

fn header(opcode: u8, mask: u8, length: usize) -> Vec<u8> {
    let mut header = vec![0x80 | opcode];
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ 0..126), _) => header.push(mask | length),
        (_, Ok(length)) => {
            header.push(mask | 126);
            header.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            header.push(mask | 127);
            header.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    header
}

/// Takes the answer to the upgrade off the front; `None` if it is incomplete.
pub(crate) fn split_upgrade(bytes: &[u8]) -> Result<Option<&[u8]>> {
    let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
        return Ok(None);
    };
    if bytes.starts_with(b"HTTP/1.1 101") {
        return Ok(bytes.get(end + 4..));
    }
    let line = bytes
        .split(|byte| *byte == b'\r')
        .next()
        .unwrap_or_default();
    Err(Error::other(format!(
        "no WebSocket: {}",
        String::from_utf8_lossy(line)
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_is_taken_off() {
        for length in [0, 7, 125, 126, 65_536] {
            let body = vec![b'x'; length];
            let mut bytes = masked(TEXT, &body);
            let header = bytes.len() - length;
            bytes[header - 4..header].copy_from_slice(b"mask");
            for (at, byte) in bytes[header..].iter_mut().enumerate() {
                *byte ^= b"mask"[at % 4];
            }
            let end = bytes.len() - 1;
            assert!(take_masked(&mut bytes[..end]).is_none());
            bytes.extend_from_slice(b"rest");
            let frame = take_masked(&mut bytes).unwrap();
            assert_eq!((frame.opcode, frame.body), (TEXT, &body[..]));
            assert_eq!(frame.rest, b"rest");
        }
    }

    #[test]
    fn frames_of_every_length_are_read_again() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let body = vec![b'x'; length];
            let mut bytes = unmasked(TEXT, &body);
            assert!(split(&bytes[..bytes.len() - 1]).is_none());
            bytes.extend_from_slice(b"rest");
            let frame = split(&bytes).unwrap();
            assert_eq!((frame.opcode, frame.body.len()), (TEXT, length));
            assert_eq!(frame.rest, b"rest");
        }
    }
}
