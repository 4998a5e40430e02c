//! What a shard gets for a client.

use std::sync::Arc;

use crate::transport::websocket::{ProtocolViolation, Reader};

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
    /// How it has ended behind those messages, if it has: an app may close a session as soon as it
    /// knows whose it is.
    pub(crate) end: Option<UpstreamEnd>,
}

/// How a connection to Meteor ends by itself.
#[derive(Clone, Debug)]
pub(crate) enum UpstreamEnd {
    /// With a close frame.
    Closed {
        code: u16,
        reason: Box<str>,
    },
    Violation(ProtocolViolation),
    Gone,
}
