//! How a client's peer is reached: the socket, and what belongs to the socket alone. The rest of a
//! [`Client`](super::client::Client) does not know what kind of connection it has.

use std::io::{self, ErrorKind, Read};
use std::net::Shutdown;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use socket2::SockRef;

use crate::limit::Seat;
use crate::transport::websocket::Reader;

/// The connection of a client.
#[derive(Debug)]
pub(super) enum Link {
    /// A WebSocket.
    Socket(Socket),
    /// Nobody: the client has lost its connection and may come back over another.
    Gone,
}

/// A WebSocket that belongs to the shard.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) stream: TcpStream,
    /// What has come of the next message.
    pub(super) reader: Reader,
    /// Whether it has ended on the peer's side; the peer may still listen.
    pub(super) has_hung_up: bool,
    /// Its place among the connections of its address, where these are limited; given back when it is dropped.
    _seat: Option<Seat>,
}

impl Socket {
    pub(super) fn new(stream: std::net::TcpStream, seat: Option<Seat>) -> Self {
        Self {
            stream: TcpStream::from_std(stream),
            reader: Reader::default(),
            has_hung_up: false,
            _seat: seat,
        }
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }

    /// Says to the peer that nothing more follows. Whether the connection has ended with that.
    fn finish(&self) -> bool {
        let told = self.stream.shutdown(Shutdown::Write);
        self.has_hung_up
            // The peer may have gone first, and then there is nobody to say it to.
            || told.is_err_and(|error| error.kind() == ErrorKind::NotConnected)
    }

    /// Makes the end of the socket a reset: what its peer has not taken by now is not kept for it.
    fn reset(&self) {
        if let Err(error) = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)) {
            tracing::debug!(%error, "A connection could not be reset.");
        }
    }
}

impl Link {
    pub(super) fn is_gone(&self) -> bool {
        matches!(self, Self::Gone)
    }

    /// Has the shard told when the connection can be read from or written to.
    pub(super) fn register(&mut self, registry: &Registry, index: usize) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        match self {
            Self::Socket(socket) => registry.register(&mut socket.stream, Token(index), interest),
            Self::Gone => Ok(()),
        }
    }

    pub(super) fn deregister(&mut self, registry: &Registry) {
        match self {
            // Fails only for a socket that is not registered, and then nothing is left to do.
            Self::Socket(socket) => drop(registry.deregister(&mut socket.stream)),
            Self::Gone => {}
        }
    }

    /// The socket, if the connection is one.
    pub(super) fn socket_mut(&mut self) -> Option<&mut Socket> {
        match self {
            Self::Socket(socket) => Some(socket),
            Self::Gone => None,
        }
    }

    /// Notes that the peer has finished.
    pub(super) fn hung_up(&mut self) {
        match self {
            Self::Socket(socket) => socket.has_hung_up = true,
            Self::Gone => {}
        }
    }

    /// Bytes that have come and are not yet a message.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Socket(socket) => socket.reader.bytes(),
            Self::Gone => 0,
        }
    }

    /// What has come in is of no use any more.
    pub(super) fn drop_input(&mut self) {
        match self {
            Self::Socket(socket) => socket.reader = Reader::default(),
            Self::Gone => {}
        }
    }

    /// Everything is written and nothing follows: says so to the peer. Whether the connection has ended with that.
    pub(super) fn finish(&self) -> bool {
        match self {
            Self::Socket(socket) => socket.finish(),
            Self::Gone => true,
        }
    }

    /// Sees to it that what the peer has not taken by now is not kept for it.
    pub(super) fn reset(&self) {
        match self {
            Self::Socket(socket) => socket.reset(),
            Self::Gone => {}
        }
    }
}
