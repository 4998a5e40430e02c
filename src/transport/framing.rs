//! How a link frames messages: the bytes around each message in the output.

use updraft_protocol::message::FrameRef;
use updraft_protocol::sockjs::Escaper;

use super::websocket;

/// How messages are framed in the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Each message is a WebSocket message.
    Raw,
    /// Each message is in a SockJS frame, which is a WebSocket message.
    SockJs,
    /// Messages are collected into SockJS frames, which are wrapped when a request takes them.
    Lines,
}

impl Framing {
    /// Appends one message. Messages that are written together share `escaper`.
    #[inline]
    pub(crate) fn write(self, message: FrameRef<'_>, escaper: &mut Escaper, out: &mut Vec<u8>) {
        if let Some(bytes) = message.as_raw() {
            return out.extend_from_slice(bytes);
        }
        match self {
            Self::Raw => {
                websocket::write_text_header(message.len(), out);
                message.write(out);
            }
            Self::SockJs => {
                escaper.write_message(message, out, websocket::write_text_header);
            }
            Self::Lines => escaper.write_message(message, out, |_, _| {}),
        }
    }
}
