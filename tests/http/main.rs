//! What comes in at the edge: requests, handshakes, origins, and the bytes of a WebSocket.

#[path = "../common/mod.rs"]
mod common;
mod edge;
mod origin;
mod websocket;
