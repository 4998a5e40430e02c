//! The WebSocket protocol (RFC 6455) on the server's side: the handshake, frames out, frames in.
//!
//! A server's frames are not masked, so an outgoing frame is a header of 2 to 10 bytes before the text. What comes in is
//! read from a buffer that the shard shares; a connection keeps only the part of a frame that has not arrived whole.

mod frame;
mod handshake;
mod rate;
mod reader;

pub(crate) use frame::{close, ping, pong, text, write_text_header};
pub(crate) use handshake::{HandshakeRefusal, accept};
pub use rate::FrameRate;
pub(crate) use reader::{Incoming, Limits, Protocol, Reader, Receiver};
