//! How messages travel: WebSocket frames on a socket that belongs to the server from the handshake
//! on, with or without TLS.

#[cfg_attr(not(feature = "tls"), path = "encryption/absent.rs")]
pub(crate) mod encryption;
mod framing;
pub(crate) mod metered;
pub(crate) mod websocket;

pub(crate) use framing::Framing;
