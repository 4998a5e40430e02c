//! Frame headers, written and read.

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;

/// The longest payload of a control frame, in bytes.
pub(super) const MAX_CONTROL: usize = 125;

/// Bytes of the longest header, its mask included.
const LONGEST_HEADER: usize = 14;

/// The type of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

/// Who has sent a frame. A client masks its frames, a server does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    Client,
    Server,
}

/// The header of a frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) is_final: bool,
    pub(super) opcode: Opcode,
    /// `None` if a server has sent it.
    pub(super) mask: Option<[u8; 4]>,
    /// The length of the header itself.
    pub(super) len: usize,
    pub(super) payload: usize,
}

/// A header that its sender may not send.
#[derive(Debug)]
pub(super) struct Violation;

impl Header {
    /// Reads the header at the start of `bytes`; `None` when more bytes are needed.
    pub(super) fn parse(bytes: &[u8], sender: Sender) -> Result<Option<Self>, Violation> {
        let &[first, second, ref rest @ ..] = bytes else {
            return Ok(None);
        };
        let opcode = match first & 0x0f {
            0 => Opcode::Continuation,
            1 => Opcode::Text,
            2 => Opcode::Binary,
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            _ => return Err(Violation),
        };
        let is_final = first & FIN != 0;
        let is_masked = second & MASKED != 0;
        if first & RESERVED != 0 || is_masked != (sender == Sender::Client) {
            return Err(Violation);
        }
        let short = usize::from(second & 0x7f);
        if opcode.is_control() && (!is_final || short > MAX_CONTROL) {
            return Err(Violation);
        }
        let (payload, rest) = match short {
            126 => match rest {
                &[a, b, ref rest @ ..] => (u64::from(u16::from_be_bytes([a, b])), rest),
                _ => return Ok(None),
            },
            127 => match rest.split_first_chunk::<8>() {
                Some((length, rest)) => (u64::from_be_bytes(*length), rest),
                None => return Ok(None),
            },
            short => (short as u64, rest),
        };
        let (mask, rest) = match rest.split_first_chunk::<4>() {
            _ if !is_masked => (None, rest),
            Some((mask, rest)) => (Some(*mask), rest),
            None => return Ok(None),
        };
        let Ok(payload) = usize::try_from(payload) else {
            return Err(Violation);
        };
        let len = bytes.len().saturating_sub(rest.len());
        Ok(Some(Self {
            is_final,
            opcode,
            mask,
            len,
            payload,
        }))
    }
}

impl Opcode {
    pub(super) fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// Removes a client's mask, or puts it on. `offset` is the position of `bytes` in the payload.
pub(super) fn unmask(bytes: &mut [u8], mask: [u8; 4], offset: usize) {
    let mut mask = mask;
    mask.rotate_left(offset % 4);
    // Four bytes at a time, which the compiler turns into wide instructions.
    let mut chunks = bytes.chunks_exact_mut(4);
    for chunk in &mut chunks {
        for (byte, key) in chunk.iter_mut().zip(mask) {
            *byte ^= key;
        }
    }
    for (byte, key) in chunks.into_remainder().iter_mut().zip(mask) {
        *byte ^= key;
    }
}

/// Appends the header of a text frame of `len` bytes.
pub(crate) fn write_text_header(len: usize, out: &mut Vec<u8>) {
    write_header(1, len, out);
}

/// A text frame.
pub(crate) fn text(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    write_text_header(text.len(), &mut out);
    out.extend_from_slice(text.as_bytes());
    out
}

/// A close frame.
pub(crate) fn close(code: u16, reason: &str) -> Vec<u8> {
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(reason.as_bytes());
    control(8, &payload)
}

/// A ping, to check whether the peer is alive.
pub(crate) fn ping() -> Vec<u8> {
    control(9, &[])
}

/// The answer to a ping.
pub(crate) fn pong(payload: &[u8]) -> Vec<u8> {
    control(10, payload)
}

/// Appends a client's text frame, under this mask.
pub(crate) fn write_masked_text(text: &str, mask: [u8; 4], out: &mut Vec<u8>) {
    write_masked(1, text.as_bytes(), mask, out);
}

/// Appends a client's close frame without a reason.
pub(crate) fn write_masked_close(code: u16, mask: [u8; 4], out: &mut Vec<u8>) {
    write_masked(8, &code.to_be_bytes(), mask, out);
}

/// Appends a client's answer to a ping.
pub(crate) fn write_masked_pong(payload: &[u8], mask: [u8; 4], out: &mut Vec<u8>) {
    write_masked(10, payload, mask, out);
}

fn write_masked(opcode: u8, payload: &[u8], mask: [u8; 4], out: &mut Vec<u8>) {
    let second = out.len().saturating_add(1);
    out.reserve(payload.len().saturating_add(LONGEST_HEADER));
    write_header(opcode, payload.len(), out);
    if let Some(second) = out.get_mut(second) {
        *second |= MASKED;
    }
    out.extend_from_slice(&mask);
    let begin = out.len();
    out.extend_from_slice(payload);
    unmask(out.get_mut(begin..).unwrap_or_default(), mask, 0);
}

fn control(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(2 + payload.len());
    write_header(opcode, payload.len(), &mut out);
    out.extend_from_slice(payload);
    out
}

fn write_header(opcode: u8, len: usize, out: &mut Vec<u8>) {
    out.push(FIN | opcode);
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(short @ 0..=125), _) => out.push(short),
        (_, Ok(medium)) => {
            out.push(126);
            out.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
}
