//! What a shard gets for a client.

use std::sync::Arc;

use crate::transport::websocket::Reader;

/// A connection to Meteor, on which `connect` has been answered.
#[derive(Debug)]
pub(crate) struct Opened {
    /// Non-blocking.
    pub(crate) socket: std::net::TcpStream,
    /// The part of the next message that has arrived.
    pub(crate) reader: Reader,
    /// The session's id. A credential.
    pub(crate) session: Arc<str>,
    /// Messages that came together with `connected`.
    pub(crate) messages: Vec<Box<str>>,
}
