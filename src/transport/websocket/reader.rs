//! Reads frames: from the bytes of the socket to whole messages. Every limit is checked before
//! anything is stored. Between messages a connection stores only a count of its frames.

use std::time::Duration;

use super::frame::{Header, MAX_CONTROL, Opcode, Sender, unmask};
use super::rate::{FrameCount, FrameRate};

/// From this payload size in bytes on, a fragment is not counted as small.
const SMALL_FRAGMENT: usize = 1024;

/// Limits for what a client sends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes of one message, all its fragments together.
    pub(crate) message: usize,
    /// How many control frames, and fragments of less than 1 KiB, are allowed.
    pub(crate) small_frames: FrameRate,
}

/// Receives messages and control frames.
pub(crate) trait Receiver {
    /// Who is at the other end.
    const FROM: Sender = Sender::Client;

    /// The limits for the next frame, which may depend on the messages before it.
    fn limits(&self) -> Limits;

    fn receive(&mut self, incoming: Incoming<'_>);
}

/// A message or control frame of the peer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming<'a> {
    /// A message. A binary message is accepted if it is UTF-8.
    Message(&'a str),
    /// A ping. It is answered with the same payload.
    Ping(&'a [u8]),
    /// A pong, whether or not it answers a ping.
    Pong,
    /// The peer closes. The code is that of the answer. Nothing follows.
    Close { code: u16, reason: &'a str },
}

/// A violation for which the connection must be closed, with the close code and reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProtocolViolation {
    pub(crate) code: u16,
    pub(crate) reason: &'static str,
}

/// The part of a connection's next message that has arrived.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    partial: Option<Box<Partial>>,
    small_frames: FrameCount,
}

#[derive(Debug, Default)]
struct Partial {
    /// The start of a frame. Filled by `read` with the end of the buffer, drained by the next
    /// `read`; bounded by the message limit plus a header.
    frame: Vec<u8>,
    /// The fragments of a message whose end has not arrived.
    message: Option<Fragments>,
}

/// The beginning of a message.
#[derive(Debug)]
struct Fragments {
    opcode: Opcode,
    /// Unmasked; bounded by the message limit.
    payload: Vec<u8>,
    /// How many bytes of `payload` are known to be UTF-8, so that each byte is checked only once,
    /// and as soon as it arrives.
    checked: usize,
}

impl Reader {
    /// Reads `bytes`, which it unmasks in place, and hands complete messages and frames to
    /// `receiver`.
    ///
    /// # Errors
    ///
    /// A violation of the protocol or of a limit. The reader must not be used after that, nor after
    /// a close.
    pub(crate) fn read<R: Receiver>(
        &mut self,
        bytes: &mut [u8],
        now: Duration,
        receiver: &mut R,
    ) -> Result<(), ProtocolViolation> {
        match self.partial.as_deref_mut() {
            Some(partial) if !partial.frame.is_empty() => {
                let mut frame = std::mem::take(&mut partial.frame);
                frame.extend_from_slice(bytes);
                match self.frames(&mut frame, now, receiver)? {
                    0 => self.keep(frame),
                    // A copy, so that the memory of a large frame is not kept for the beginning of
                    // a small one.
                    used => self.keep(frame.get(used..).unwrap_or_default().to_vec()),
                }
            }
            _ => {
                let used = self.frames(bytes, now, receiver)?;
                self.keep(bytes.get(used..).unwrap_or_default().to_vec());
            }
        }
        Ok(())
    }

    /// Bytes that wait for the rest of their frame or message.
    pub(crate) fn bytes(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| {
            let message = partial.message.as_ref();
            let message = message.map_or(0, |fragments| fragments.payload.capacity());
            partial.frame.capacity().saturating_add(message)
        })
    }

    fn keep(&mut self, frame: Vec<u8>) {
        if !frame.is_empty() {
            self.partial.get_or_insert_default().frame = frame;
        } else if self.fragments().is_none() {
            self.partial = None;
        }
    }

    fn fragments(&mut self) -> Option<&mut Fragments> {
        self.partial.as_mut()?.message.as_mut()
    }

    /// Reads the complete frames at the front. Returns how many bytes they take.
    fn frames<R: Receiver>(
        &mut self,
        bytes: &mut [u8],
        now: Duration,
        receiver: &mut R,
    ) -> Result<usize, ProtocolViolation> {
        let mut used = 0;
        while let Some(rest) = bytes.get_mut(used..) {
            let Some(header) = Header::parse(rest, R::FROM).map_err(|_| VIOLATION)? else {
                break;
            };
            let limits = receiver.limits();
            self.check_size(&header, limits)?;
            let end = header.len.saturating_add(header.payload);
            let Some(payload) = rest.get_mut(header.len..end) else {
                break;
            };
            if is_small(&header) && self.small_frames.exceeds(limits.small_frames, now) {
                return Err(TOO_MANY);
            }
            if let Some(mask) = header.mask {
                unmask(payload, mask, 0);
            }
            if header.opcode == Opcode::Close {
                let (code, reason) = close_code(payload)?;
                receiver.receive(Incoming::Close { code, reason });
                // Bytes after the peer's close frame are ignored.
                self.partial = None;
                return Ok(bytes.len());
            }
            self.frame(&header, payload, receiver)?;
            used = used.saturating_add(end);
        }
        Ok(used)
    }

    /// Checks the header, before a byte of the payload is stored.
    fn check_size(&mut self, header: &Header, limits: Limits) -> Result<(), ProtocolViolation> {
        let gathered = self
            .fragments()
            .map_or(0, |fragments| fragments.payload.len());
        let limit = if header.opcode.is_control() {
            MAX_CONTROL
        } else {
            limits.message.saturating_sub(gathered)
        };
        if header.payload > limit {
            return Err(TOO_BIG);
        }
        Ok(())
    }

    fn frame(
        &mut self,
        header: &Header,
        payload: &[u8],
        receiver: &mut impl Receiver,
    ) -> Result<(), ProtocolViolation> {
        match (header.opcode, self.fragments()) {
            (Opcode::Ping, _) => receiver.receive(Incoming::Ping(payload)),
            (Opcode::Pong, _) => receiver.receive(Incoming::Pong),
            (Opcode::Close, _) => {}
            (Opcode::Continuation, None) | (Opcode::Text | Opcode::Binary, Some(_)) => {
                return Err(VIOLATION);
            }
            (opcode, None) if header.is_final => {
                let text = std::str::from_utf8(payload).map_err(|_| not_utf8(opcode))?;
                receiver.receive(Incoming::Message(text));
            }
            (opcode, None) => {
                let mut fragments = Fragments {
                    opcode,
                    payload: Vec::new(),
                    checked: 0,
                };
                fragments.add(payload)?;
                self.partial.get_or_insert_default().message = Some(fragments);
            }
            (Opcode::Continuation, Some(fragments)) => {
                fragments.add(payload)?;
                if header.is_final {
                    receiver.receive(Incoming::Message(fragments.text()?));
                    if let Some(partial) = &mut self.partial {
                        partial.message = None;
                    }
                }
            }
        }
        Ok(())
    }
}

impl Fragments {
    fn add(&mut self, payload: &[u8]) -> Result<(), ProtocolViolation> {
        self.payload.extend_from_slice(payload);
        let new = self.payload.get(self.checked..).unwrap_or_default();
        match std::str::from_utf8(new) {
            Ok(_) => self.checked = self.payload.len(),
            // The end of the fragment splits a character.
            Err(error) if error.error_len().is_none() => {
                self.checked = self.checked.saturating_add(error.valid_up_to());
            }
            Err(_) => return Err(not_utf8(self.opcode)),
        }
        Ok(())
    }

    fn text(&self) -> Result<&str, ProtocolViolation> {
        std::str::from_utf8(&self.payload).map_err(|_| not_utf8(self.opcode))
    }
}

const VIOLATION: ProtocolViolation = ProtocolViolation {
    code: 1002,
    reason: "Protocol error",
};

const TOO_MANY: ProtocolViolation = ProtocolViolation {
    code: 1008,
    reason: "Too many small frames",
};

const TOO_BIG: ProtocolViolation = ProtocolViolation {
    code: 1009,
    reason: "Message too big",
};

fn not_utf8(opcode: Opcode) -> ProtocolViolation {
    match opcode {
        Opcode::Binary => ProtocolViolation {
            code: 1003,
            reason: "Binary data is not supported",
        },
        _ => ProtocolViolation {
            code: 1007,
            reason: "Invalid UTF-8",
        },
    }
}

fn is_small(header: &Header) -> bool {
    let is_fragment = !header.is_final || header.opcode == Opcode::Continuation;
    header.opcode.is_control() || (is_fragment && header.payload < SMALL_FRAGMENT)
}

/// The code with which a close frame is answered, and the peer's reason.
fn close_code(payload: &[u8]) -> Result<(u16, &str), ProtocolViolation> {
    match payload {
        [] => Ok((1000, "")),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
                return Err(VIOLATION);
            }
            let reason = std::str::from_utf8(reason).map_err(|_| not_utf8(Opcode::Text))?;
            Ok((code, reason))
        }
        _ => Err(VIOLATION),
    }
}

#[cfg(test)]
mod tests;
