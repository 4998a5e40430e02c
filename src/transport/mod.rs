//! How messages travel: WebSocket frames on a socket that is ours from the handshake on.

pub(crate) mod websocket;
