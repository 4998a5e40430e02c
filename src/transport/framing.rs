//! How a link frames messages: what stands around each of them in what is written.

use updraft_protocol::message::FrameRef;
use updraft_protocol::sockjs::Escaper;

use super::websocket;

/// How messages stand in what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Each is a WebSocket message.
    Raw,
    /// Each is in a SockJS frame, which is a WebSocket message.
    SockJs,
    /// They are in SockJS frames, which are put into their wrapping when a request takes them.
    Lines,
}

impl Framing {
    /// Appends a message by itself. `escaper` is that of the messages which are written together.
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
