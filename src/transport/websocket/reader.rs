//! Frames in: from the bytes of the socket to whole messages, with every limit checked before anything is kept.

use super::frame::{Header, MAX_CONTROL, Opcode, unmask};

/// Size limits of what a client sends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes of one message, all its fragments together.
    pub(crate) message: usize,
}

/// What arrived.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming<'a> {
    /// A message; a binary one counts as text if it is UTF-8.
    Message(&'a str),
    /// A ping to answer with the same payload.
    Ping(&'a [u8]),
    /// The peer closes; the code to answer with.
    Close(u16),
}

/// Why the connection must be closed, with the close code that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Protocol {
    pub(crate) code: u16,
    pub(crate) reason: &'static str,
}

/// What has arrived of a connection's next message.
///
/// Between messages it holds nothing, and an idle connection has no memory here.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    partial: Option<Box<Partial>>,
}

#[derive(Debug, Default)]
struct Partial {
    /// The start of a frame. Filled by `read` with what the buffer ended with, drained by the next; bounded by the
    /// message limit and a header.
    frame: Vec<u8>,
    /// Unmasked fragments of a message, bounded by the message limit.
    message: Vec<u8>,
    /// What the fragments belong to, while some are here.
    fragmented: Option<Opcode>,
}

impl Reader {
    /// Takes in `bytes`, in place, and hands each whole message to `take` until that says to stop.
    ///
    /// # Errors
    ///
    /// A violation of the protocol or of a limit. The reader must not be used after that.
    pub(crate) fn read(
        &mut self,
        bytes: &mut [u8],
        limits: Limits,
        take: &mut impl FnMut(Incoming<'_>),
    ) -> Result<(), Protocol> {
        match self.partial.as_deref_mut() {
            Some(partial) if !partial.frame.is_empty() => {
                let mut frame = std::mem::take(&mut partial.frame);
                frame.extend_from_slice(bytes);
                let used = self.frames(&mut frame, limits, take)?;
                frame.drain(..used);
                self.keep(frame);
            }
            _ => {
                let used = self.frames(bytes, limits, take)?;
                if let Some(rest) = bytes.get(used..).filter(|rest| !rest.is_empty()) {
                    self.keep(rest.to_vec());
                } else {
                    self.keep(Vec::new());
                }
            }
        }
        Ok(())
    }

    fn keep(&mut self, frame: Vec<u8>) {
        if !frame.is_empty() {
            self.partial.get_or_insert_default().frame = frame;
        } else if self
            .partial
            .as_ref()
            .is_some_and(|partial| partial.fragmented.is_none())
        {
            self.partial = None;
        }
    }

    /// Takes whole frames off the front; returns how many bytes they had.
    fn frames(
        &mut self,
        bytes: &mut [u8],
        limits: Limits,
        take: &mut impl FnMut(Incoming<'_>),
    ) -> Result<usize, Protocol> {
        let mut used = 0;
        while let Some(rest) = bytes.get_mut(used..) {
            let Some(header) = Header::parse(rest).map_err(|_| VIOLATION)? else {
                break;
            };
            let gathered = self
                .partial
                .as_ref()
                .map_or(0, |partial| partial.message.len());
            let limit = if header.opcode.is_control() {
                MAX_CONTROL
            } else {
                limits.message.saturating_sub(gathered)
            };
            // By the header, before a byte of the payload is kept.
            if header.payload > limit {
                return Err(Protocol {
                    code: 1009,
                    reason: "Message too big",
                });
            }
            let end = header.len.saturating_add(header.payload);
            let Some(payload) = rest.get_mut(header.len..end) else {
                break;
            };
            unmask(payload, header.mask, 0);
            self.frame(header, payload, take)?;
            used = used.saturating_add(end);
        }
        Ok(used)
    }

    fn frame(
        &mut self,
        header: Header,
        payload: &[u8],
        take: &mut impl FnMut(Incoming<'_>),
    ) -> Result<(), Protocol> {
        let fragmented = self.partial.as_ref().and_then(|partial| partial.fragmented);
        match (header.opcode, fragmented) {
            (Opcode::Ping, _) => take(Incoming::Ping(payload)),
            (Opcode::Pong, _) => {}
            (Opcode::Close, _) => take(Incoming::Close(close_code(payload)?)),
            (Opcode::Continuation, None) | (Opcode::Text | Opcode::Binary, Some(_)) => {
                return Err(VIOLATION);
            }
            (opcode, None) if header.is_final => take(Incoming::Message(text(opcode, payload)?)),
            (opcode, None) => {
                let partial = self.partial.get_or_insert_default();
                partial.fragmented = Some(opcode);
                partial.message.extend_from_slice(payload);
            }
            (Opcode::Continuation, Some(opcode)) => {
                let Some(partial) = self.partial.as_deref_mut() else {
                    return Err(VIOLATION);
                };
                partial.message.extend_from_slice(payload);
                if header.is_final {
                    partial.fragmented = None;
                    let message = std::mem::take(&mut partial.message);
                    take(Incoming::Message(text(opcode, &message)?));
                }
            }
        }
        Ok(())
    }
}

const VIOLATION: Protocol = Protocol {
    code: 1002,
    reason: "Protocol error",
};

fn text(opcode: Opcode, payload: &[u8]) -> Result<&str, Protocol> {
    std::str::from_utf8(payload).map_err(|_| match opcode {
        Opcode::Binary => Protocol {
            code: 1003,
            reason: "Binary data is not supported",
        },
        _ => Protocol {
            code: 1007,
            reason: "Invalid UTF-8",
        },
    })
}

/// The code with which a close frame is answered.
fn close_code(payload: &[u8]) -> Result<u16, Protocol> {
    match payload {
        [] => Ok(1000),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
                return Err(VIOLATION);
            }
            text(Opcode::Text, reason)?;
            Ok(code)
        }
        _ => Err(VIOLATION),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { message: 1000 };
    const MASK: [u8; 4] = [1, 2, 3, 4];

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![first, 0x80 | u8::try_from(payload.len()).unwrap()];
        out.extend_from_slice(&MASK);
        let mut payload = payload.to_vec();
        unmask(&mut payload, MASK, 0);
        out.extend_from_slice(&payload);
        out
    }

    fn read_in(bytes: &[u8], size: usize) -> Result<Vec<String>, Protocol> {
        let mut reader = Reader::default();
        let mut seen = Vec::new();
        for chunk in bytes.chunks(size) {
            reader.read(&mut chunk.to_vec(), LIMITS, &mut |incoming| {
                seen.push(format!("{incoming:?}"));
            })?;
        }
        assert!(reader.partial.is_none(), "nothing is kept between messages");
        Ok(seen)
    }

    #[test]
    fn messages_arrive_whole_however_the_bytes_are_cut() {
        let mut bytes = frame(0x81, b"one");
        bytes.extend(frame(0x01, "z\u{e9}".as_bytes().split_at(2).0));
        bytes.extend(frame(0x89, b"ping"));
        bytes.extend(frame(0x80, "\u{e9}".as_bytes().split_at(1).1));
        bytes.extend(frame(0x82, b"binary"));
        bytes.extend(frame(0x88, &[0x03, 0xe8]));
        let expected = [
            r#"Message("one")"#,
            "Ping([112, 105, 110, 103])",
            "Message(\"z\u{e9}\")",
            r#"Message("binary")"#,
            "Close(1000)",
        ];
        for size in 1..bytes.len() {
            assert_eq!(
                read_in(&bytes, size).unwrap(),
                expected,
                "in pieces of {size}"
            );
        }
    }

    #[test]
    fn violations_have_their_codes() {
        let unmasked = vec![0x81, 1, b'x'];
        let mut long = vec![0x81, 0xfe, 0x10, 0];
        long.extend_from_slice(&MASK);
        let cases = [
            (unmasked, 1002),
            (frame(0xc1, b"reserved bit"), 1002),
            (frame(0x83, b"unknown opcode"), 1002),
            (frame(0x09, b"fragmented ping"), 1002),
            (frame(0x80, b"continues nothing"), 1002),
            ([frame(0x01, b"a"), frame(0x81, b"b")].concat(), 1002),
            (frame(0x88, &[0x03, 0xed]), 1002),
            (frame(0x88, &[0x03]), 1002),
            (frame(0x81, &[0xff]), 1007),
            (frame(0x82, &[0xff]), 1003),
            (long, 1009),
        ];
        for (bytes, code) in cases {
            assert_eq!(read_in(&bytes, 100).unwrap_err().code, code, "{bytes:?}");
        }
    }
}
