//! How a client's peer is reached: the socket, and the state that belongs to the socket alone. The
//! rest of a [`Client`](super::client::Client) does not know which kind of connection it has.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use socket2::SockRef;
use updraft_protocol::sockjs::{self, Beat, Pulse};

use super::outgoing::Wire;
use super::polling::Polling;
use super::{ClientLimits, SilenceLimit};
use crate::limit::Seat;
use crate::mail::Place;
use crate::shard::polling_sessions::RequestInbox;
use crate::stream::Service;
use crate::telemetry::{GaugeGuard, LiveConnection};
use crate::transport::Framing;
use crate::transport::encryption::Encryption;
use crate::transport::websocket::{self, Reader};

/// The connection of a client.
#[derive(Debug)]
pub(super) enum Link {
    /// A WebSocket.
    Socket(Socket),
    /// HTTP requests.
    Polling(Box<Polling>),
    /// No connection: the client has lost it and may come back over another.
    Gone,
}

/// A WebSocket that belongs to the shard.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    /// `None` if the client does not use TLS.
    encryption: Option<Box<Encryption>>,
    /// The part of the next message that has arrived.
    pub(super) reader: Reader,
    /// Whether the peer has finished sending; it may still read.
    pub(super) has_hung_up: bool,
    /// Its seat among the connections of its address, if their number is limited; released when
    /// dropped.
    _seat: Option<Box<Seat>>,
    _counted: GaugeGuard<LiveConnection>,
    /// Set if the client speaks SockJS, or if its session sends no pings.
    keepalive: Option<Box<Keepalive>>,
}

/// State that a raw WebSocket with DDP does not need.
#[derive(Debug, Default)]
struct Keepalive {
    /// Set if the client speaks SockJS: whether the peer accepts SockJS frames. It does not once it
    /// has closed or broken the protocol.
    takes_frames: Option<bool>,
    /// Set if the shard pings the peer.
    pulse: Option<(SilenceLimit, Pulse)>,
    /// Whether the pings are ours, not SockJS's heartbeat.
    is_watched: bool,
}

impl Socket {
    pub(super) fn new(
        stream: std::net::TcpStream,
        encryption: Option<Box<Encryption>>,
        seat: Option<Seat>,
        counted: GaugeGuard<LiveConnection>,
    ) -> Self {
        Self {
            stream: TcpStream::from_std(stream),
            encryption,
            reader: Reader::default(),
            has_hung_up: false,
            _seat: seat.map(Box::new),
            _counted: counted,
            keepalive: None,
        }
    }

    /// Uses SockJS framing from now on, with the heartbeat of this service.
    pub(super) fn frame(&mut self, service: &Service, now: Duration) {
        let by = SilenceLimit {
            interval: service.options.heartbeat,
            timeout: service.options.heartbeat_timeout,
        };
        let pulse = (!by.interval.is_zero()).then(|| (by, Pulse::new(now, by.interval)));
        self.keepalive = Some(Box::new(Keepalive {
            takes_frames: Some(true),
            pulse,
            is_watched: false,
        }));
    }

    /// The peer has closed, or has broken the protocol. Only WebSocket's close frame ends the
    /// connection then, as in sockjs-node.
    pub(super) fn takes_no_more_frames(&mut self) {
        if let Some(keepalive) = &mut self.keepalive {
            keepalive.takes_frames = keepalive.takes_frames.map(|_| false);
        }
    }

    fn takes_frames(&self) -> bool {
        self.keepalive
            .as_ref()
            .is_some_and(|keepalive| keepalive.takes_frames == Some(true))
    }

    pub(super) fn framing(&self) -> Framing {
        let keepalive = self.keepalive.as_ref();
        match keepalive.and_then(|keepalive| keepalive.takes_frames) {
            None => Framing::Raw,
            Some(_) => Framing::SockJs,
        }
    }

    /// The client is known to be alive at this time, whether or not it has answered a ping.
    pub(super) fn alive(&mut self, at: Duration) {
        if let Some(keepalive) = &mut self.keepalive
            && let Some((by, pulse)) = &mut keepalive.pulse
        {
            pulse.alive(at, by.interval);
        }
    }

    /// Pings the peer from now on, unless SockJS's heartbeat does.
    fn watch(&mut self, by: SilenceLimit, now: Duration) {
        let keepalive = self.keepalive.get_or_insert_default();
        if keepalive.pulse.is_none() {
            keepalive.pulse = Some((by, Pulse::new(now, by.interval)));
            keepalive.is_watched = true;
        }
    }

    /// Whether the peer is pinged by us, not by SockJS's heartbeat.
    pub(super) fn is_watched(&self) -> bool {
        self.keepalive
            .as_ref()
            .is_some_and(|keepalive| keepalive.is_watched)
    }

    /// What the heartbeat requires now.
    pub(super) fn beat(&mut self, now: Duration) -> Option<Beat> {
        let (by, pulse) = self.keepalive.as_mut()?.pulse.as_mut()?;
        pulse.beat(now, by.timeout)
    }

    fn next_timeout(&self) -> Option<Duration> {
        let (_, pulse) = self.keepalive.as_ref()?.pulse.as_ref()?;
        Some(pulse.next_timeout())
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.encryption {
            None => self.stream.read(buffer),
            Some(encryption) => encryption.read(&mut self.stream, buffer),
        }
    }

    /// Whether the socket may hold more bytes after a read of `count` bytes into a buffer of `room`
    /// bytes.
    pub(super) fn may_have_more(&self, count: usize, room: usize) -> bool {
        // A short read has emptied the socket, but would not show that the peer has finished. With
        // TLS a read returns one record only.
        count == room || self.has_hung_up || self.is_encrypted()
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.encryption.is_some()
    }

    /// Tells the peer that nothing more follows. Returns whether the connection has ended with
    /// that.
    fn finish(&mut self) -> bool {
        if let Some(encryption) = &mut self.encryption {
            encryption.finish(&mut self.stream);
        }
        let told = self.stream.shutdown(Shutdown::Write);
        self.has_hung_up
            // The peer may have closed first. Then nobody is left to tell.
            || told.is_err_and(|error| error.kind() == ErrorKind::NotConnected)
    }

    /// Makes the socket end with a reset, so that the kernel does not keep bytes which the peer has
    /// not taken.
    fn reset(&self) {
        if let Err(error) = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)) {
            tracing::debug!(%error, "A connection could not be reset.");
        }
    }
}

impl Wire for Socket {
    fn encrypt(&mut self, bytes: &mut Vec<u8>) -> io::Result<()> {
        match &mut self.encryption {
            None => Ok(()),
            Some(encryption) => encryption.encrypt(bytes),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }
}

impl Link {
    pub(super) fn is_gone(&self) -> bool {
        matches!(self, Self::Gone)
    }

    /// Registers the socket, so that the shard learns when it is readable or writable.
    pub(super) fn register(&mut self, registry: &Registry, index: usize) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        match self {
            Self::Socket(socket) => registry.register(&mut socket.stream, Token(index), interest),
            Self::Polling(_) | Self::Gone => Ok(()),
        }
    }

    pub(super) fn deregister(&mut self, registry: &Registry) {
        match self {
            // Fails only for a socket that is not registered; then nothing is left to do.
            Self::Socket(socket) => drop(registry.deregister(&mut socket.stream)),
            Self::Polling(_) | Self::Gone => {}
        }
    }

    /// The socket, if the connection is one.
    pub(super) fn socket_mut(&mut self) -> Option<&mut Socket> {
        match self {
            Self::Socket(socket) => Some(socket),
            Self::Polling(_) | Self::Gone => None,
        }
    }

    /// The polling link, if the connection consists of HTTP requests.
    pub(super) fn polling_mut(&mut self) -> Option<&mut Polling> {
        match self {
            Self::Socket(_) | Self::Gone => None,
            Self::Polling(polling) => Some(polling),
        }
    }

    /// The client has this place from now on.
    pub(super) fn set_place(&self, inbox: &Arc<impl RequestInbox + 'static>, place: Place) {
        if let Self::Polling(polling) = self {
            polling.set_place(inbox, place);
        }
    }

    /// The client has sent `connect`.
    pub(super) fn connected(&self) {
        if let Self::Polling(polling) = self {
            polling.connected();
        }
    }

    /// How messages are framed in the output.
    pub(super) fn framing(&self) -> Framing {
        match self {
            Self::Socket(socket) => socket.framing(),
            Self::Polling(_) => Framing::Lines,
            Self::Gone => Framing::Raw,
        }
    }

    /// The frame that opens the connection, before any message.
    pub(super) fn opening(&self) -> Option<Vec<u8>> {
        match self {
            Self::Socket(socket) => {
                let speaks_sockjs = socket.framing() == Framing::SockJs;
                speaks_sockjs.then(|| websocket::text(sockjs::OPEN))
            }
            Self::Polling(_) => Some(sockjs::OPEN.into()),
            Self::Gone => None,
        }
    }

    /// The frame that closes the connection, after all messages.
    pub(super) fn closing(&mut self, code: u16, reason: &str) -> Vec<u8> {
        let frame = || sockjs::close(code, reason);
        match self {
            Self::Socket(socket) if socket.takes_frames() => {
                [websocket::text(&frame()), websocket::close(code, reason)].concat()
            }
            Self::Socket(_) => websocket::close(code, reason),
            Self::Polling(polling) => {
                let frame = frame();
                polling.close(&frame);
                frame.into_bytes()
            }
            Self::Gone => Vec::new(),
        }
    }

    /// How long a closed connection may take to end.
    pub(super) fn close_timeout(&self, limits: &ClientLimits) -> Duration {
        match self {
            Self::Socket(_) | Self::Gone => limits.close_timeout,
            Self::Polling(polling) => polling.close_timeout(),
        }
    }

    /// Asks the peer for signs of life, because its session does not.
    pub(super) fn watch(&mut self, by: SilenceLimit, now: Duration) {
        match self {
            _ if by.interval.is_zero() => {}
            Self::Socket(socket) => socket.watch(by, now),
            Self::Polling(polling) => polling.watch(by, now),
            Self::Gone => {}
        }
    }

    /// When its next timer is due, if nothing happens before.
    pub(super) fn next_timeout(&self) -> Option<Duration> {
        match self {
            Self::Socket(socket) => socket.next_timeout(),
            Self::Polling(polling) => polling.next_timeout(),
            Self::Gone => None,
        }
    }

    /// Whether the peer has finished sending.
    pub(super) fn has_hung_up(&self) -> bool {
        matches!(self, Self::Socket(socket) if socket.has_hung_up)
    }

    /// Notes that the peer has finished sending.
    pub(super) fn hung_up(&mut self) {
        match self {
            Self::Socket(socket) => socket.has_hung_up = true,
            Self::Polling(_) | Self::Gone => {}
        }
    }

    /// Bytes that have arrived but are not yet a message.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Socket(socket) => socket.reader.bytes(),
            Self::Polling(polling) => polling.bytes(),
            Self::Gone => 0,
        }
    }

    /// Drops the input that was not used.
    pub(super) fn drop_input(&mut self) {
        match self {
            Self::Socket(socket) => socket.reader = Reader::default(),
            Self::Polling(polling) => polling.drop_input(),
            Self::Gone => {}
        }
    }

    /// Everything is written and nothing follows: tells the peer. Returns whether the connection
    /// has ended with that.
    pub(super) fn finish(&mut self) -> bool {
        match self {
            Self::Socket(socket) => socket.finish(),
            // The response that got the last frame ends with it.
            Self::Polling(_) | Self::Gone => true,
        }
    }

    /// Makes sure that the kernel does not keep bytes which the peer has not taken.
    pub(super) fn reset(&self) {
        match self {
            Self::Socket(socket) => socket.reset(),
            Self::Polling(_) | Self::Gone => {}
        }
    }
}
