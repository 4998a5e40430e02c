//! How messages travel: WebSocket frames on a socket that is ours from the handshake on, encrypted or not.

#[cfg_attr(not(feature = "tls"), path = "encryption/absent.rs")]
pub(crate) mod encryption;
mod framing;
pub(crate) mod websocket;

pub(crate) use framing::Framing;
