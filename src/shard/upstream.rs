//! The connection of one client's session to the Meteor server behind this one.

use std::io::{self, ErrorKind, Read, Write};
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Interest, Registry};

use super::tokens;
use crate::gateway::{ClientHeaders, Opened, Opening};
use crate::telemetry::{GaugeGuard, LiveUpstream};
use crate::transport::websocket::{self, Reader};

/// How far a session is on its way to Meteor.
#[derive(Debug)]
pub(super) enum Upstream {
    /// The client has not said `connect`. What its own request says goes to Meteor then.
    Unasked(ClientHeaders),
    /// A connection is being opened; dropping this ends the attempt.
    Opening {
        _attempt: Opening,
    },
    Open(Leg),
    /// The connection is lost. The client is not read from, and is closed at this time.
    Lost {
        close_at: Duration,
    },
}

/// A connection to Meteor. As its client the shard masks what it sends.
#[derive(Debug)]
pub(super) struct Leg {
    stream: TcpStream,
    /// The part of the next message that has arrived.
    pub(super) reader: Reader,
    /// Frames that wait for the socket. Filled by `push`, drained by `flush`; bounded by one read
    /// from the client, which is not read from while any wait for long.
    output: Vec<u8>,
    /// Since when the socket has accepted nothing of `output`.
    stuck: Option<Duration>,
    /// How long that may be so.
    timeout: Duration,
    /// Whether it stands in the shard's list of upstreams with output.
    pub(super) is_listed: bool,
    /// Whether it is not read from, because its client has much to receive, or because the user
    /// changes.
    pub(super) is_paused: bool,
    /// Whether the peer has finished sending.
    pub(super) has_hung_up: bool,
    _counted: GaugeGuard<LiveUpstream>,
}

/// What a flush has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    All,
    /// The socket is full.
    Blocked,
    Lost,
}

impl Upstream {
    pub(super) fn leg(&self) -> Option<&Leg> {
        match self {
            Self::Open(leg) => Some(leg),
            _ => None,
        }
    }

    pub(super) fn leg_mut(&mut self) -> Option<&mut Leg> {
        match self {
            Self::Open(leg) => Some(leg),
            _ => None,
        }
    }

    /// Whether nothing is to be read from the client.
    pub(super) fn stops_client(&self) -> bool {
        match self {
            Self::Open(leg) => leg.is_blocked(),
            Self::Lost { .. } => true,
            Self::Unasked(_) | Self::Opening { .. } => false,
        }
    }

    /// When its next timer is due.
    pub(super) fn next_timeout(&self) -> Option<Duration> {
        match self {
            Self::Open(leg) => Some(leg.stuck?.saturating_add(leg.timeout)),
            Self::Lost { close_at } => Some(*close_at),
            Self::Unasked(_) | Self::Opening { .. } => None,
        }
    }

    /// Bytes that wait for Meteor, or for the rest of their message.
    pub(super) fn bytes(&self) -> usize {
        let leg = self.leg();
        leg.map_or(0, |leg| leg.output.len().saturating_add(leg.reader.bytes()))
    }
}

impl Leg {
    /// Takes a connection over, and registers it for the client with this index.
    pub(super) fn new(
        opened: Opened,
        registry: &Registry,
        index: usize,
        timeout: Duration,
        counted: GaugeGuard<LiveUpstream>,
    ) -> io::Result<Self> {
        let mut stream = TcpStream::from_std(opened.socket);
        let interest = Interest::READABLE | Interest::WRITABLE;
        registry.register(&mut stream, tokens::upstream(index), interest)?;
        Ok(Self {
            stream,
            reader: opened.reader,
            output: Vec::new(),
            stuck: None,
            timeout,
            is_listed: false,
            is_paused: false,
            has_hung_up: false,
            _counted: counted,
        })
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }

    /// Whether there may be more after a read of `count` bytes into a buffer of `room` bytes.
    pub(super) fn may_have_more(&self, count: usize, room: usize) -> bool {
        count == room || self.has_hung_up
    }

    pub(super) fn push(&mut self, text: &str) {
        websocket::write_masked_text(text, websocket::mask(), &mut self.output);
    }

    pub(super) fn push_pong(&mut self, payload: &[u8]) {
        websocket::write_masked_pong(payload, websocket::mask(), &mut self.output);
    }

    pub(super) fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// Whether the socket is full.
    pub(super) fn is_blocked(&self) -> bool {
        self.stuck.is_some()
    }

    /// Whether Meteor has taken nothing for too long.
    pub(super) fn is_stuck(&self, now: Duration) -> bool {
        let until = self.stuck.map(|stuck| stuck.saturating_add(self.timeout));
        until.is_some_and(|until| until <= now)
    }

    /// Writes as much as the socket accepts.
    pub(super) fn flush(&mut self, now: Duration) -> Sent {
        let mut written: usize = 0;
        let sent = loop {
            let rest = self.output.get(written..).unwrap_or_default();
            if rest.is_empty() {
                break Sent::All;
            }
            match self.stream.write(rest) {
                Ok(0) => break Sent::Lost,
                Ok(count) => written = written.saturating_add(count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break Sent::Blocked,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break Sent::Lost,
            }
        };
        if sent == Sent::Blocked {
            self.output.drain(..written);
            let stuck = self.stuck.filter(|_| written == 0);
            self.stuck = Some(stuck.unwrap_or(now));
        } else {
            // An idle connection has no buffer.
            self.output = Vec::new();
            self.stuck = None;
        }
        sent
    }

    /// Ends the connection at this server's wish. Meteor is told, so that it does not wait for the
    /// session to come back; if its socket is full, it is not.
    pub(super) fn leave(mut self, registry: &Registry) {
        self.push(r#"{"msg":"disconnect"}"#);
        websocket::write_masked_close(1000, websocket::mask(), &mut self.output);
        self.flush(Duration::ZERO);
        self.forget(registry);
    }

    /// The connection is gone.
    pub(super) fn forget(mut self, registry: &Registry) {
        // Fails only for a socket that is not registered; then nothing is left to do.
        drop(registry.deregister(&mut self.stream));
    }
}

/// Ends a connection that nobody waits for any more.
pub(super) fn leave_unused(opened: Opened) {
    let mut output = Vec::new();
    let disconnect = r#"{"msg":"disconnect"}"#;
    websocket::write_masked_text(disconnect, websocket::mask(), &mut output);
    websocket::write_masked_close(1000, websocket::mask(), &mut output);
    let mut socket = opened.socket;
    if let Err(error) = socket.write_all(&output) {
        tracing::debug!(%error, "Meteor could not be told that a client has left.");
    }
}
