//! The WebSocket protocol (RFC 6455), mostly as a server: the handshake, writing frames, reading
//! frames. The connection to a Meteor server uses the same frames from the other end.
//!
//! A server's frames are not masked, so an outgoing frame is a header of 2 to 10 bytes before the
//! text. Input is read from a buffer that all connections of a shard share. A connection stores
//! only an incomplete frame.

mod frame;
mod handshake;
mod rate;
mod reader;

pub(crate) use frame::{
    Sender, close, ping, pong, text, write_masked_close, write_masked_pong, write_masked_text,
    write_text_header,
};
pub(crate) use handshake::{ClientKey, HandshakeRefusal, accept};
pub use rate::FrameRate;
pub(crate) use reader::{Incoming, Limits, ProtocolViolation, Reader, Receiver};

/// A mask for one frame. It keeps what passes from looking like another protocol to a proxy; it
/// hides nothing.
pub(crate) fn mask() -> [u8; 4] {
    fastrand::u32(..).to_ne_bytes()
}
