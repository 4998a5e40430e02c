//! The server side of the WebSocket protocol (RFC 6455): the handshake, writing frames, reading
//! frames.
//!
//! A server's frames are not masked, so an outgoing frame is a header of 2 to 10 bytes before the
//! text. Input is read from a buffer that all connections of a shard share. A connection stores
//! only an incomplete frame.

mod frame;
mod handshake;
mod rate;
mod reader;

pub(crate) use frame::{close, ping, pong, text, write_text_header};
pub(crate) use handshake::{HandshakeRefusal, accept};
pub use rate::FrameRate;
pub(crate) use reader::{Incoming, Limits, ProtocolViolation, Reader, Receiver};
