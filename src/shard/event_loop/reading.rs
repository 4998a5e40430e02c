//! From sockets to sessions: what clients send, in turns that no client can make long.

use std::io::ErrorKind;
use std::time::Duration;

use updraft_protocol::ejson;
use updraft_protocol::session::Output;
use updraft_protocol::sockjs::{self, Broken};

use super::EventLoop;
use crate::shard::Limits;
use crate::shard::conversation::Conversation;
use crate::shard::link::Framing;
use crate::shard::outgoing::Outgoing;
use crate::transport::websocket::{self, Incoming, Protocol, Receiver};

/// Reads of one connection before the others get their turn.
const READS_PER_TURN: usize = 16;

/// Pings of one read that are answered one by one; of those behind them only the latest is.
const PONGS_PER_READ: usize = 16;

impl EventLoop {
    /// Reads what the client has sent, or as much of it as one connection may have in a turn.
    pub(super) fn read(&mut self, index: usize) {
        self.read_posted(index);
        for _ in 0..READS_PER_TURN {
            let Some(client) = self.clients.get_mut(index) else {
                return;
            };
            let is_over = client.closing.is_some() || client.is_paused;
            let Some(socket) = client.link.socket_mut() else {
                return;
            };
            if client.is_paused && !socket.has_hung_up {
                return;
            }
            match socket.read(&mut self.input) {
                Ok(0) => return self.finished(index),
                // Read for its end only.
                Ok(_) if is_over => {}
                Ok(count) => {
                    let is_last = !socket.may_have_more(count, self.input.len());
                    self.take_in(index, count);
                    self.settle(index);
                    self.heard(index);
                    if is_last {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::debug!(%error, "A connection broke.");
                    return self.lost(index);
                }
            }
        }
        if let Some(client) = self.clients.get_mut(index)
            && !client.is_unread
        {
            client.is_unread = true;
            self.unread.push_back(index);
        }
    }

    /// Goes on with those that had more than one turn's worth.
    pub(super) fn read_on(&mut self) {
        for _ in 0..self.unread.len() {
            let Some(index) = self.unread.pop_front() else {
                return;
            };
            // The place may have been given to another connection meanwhile, which is not listed.
            let client = self.clients.get_mut(index).filter(|it| it.is_unread);
            if let Some(client) = client {
                client.is_unread = false;
                self.read(index);
            }
        }
    }

    /// A connection takes nothing any more. What its client said before is heard first: that it leaves, for one.
    pub(super) fn broken(&mut self, index: usize) {
        let client = self.clients.get_mut(index);
        if let Some(socket) = client.and_then(|client| client.link.socket_mut())
            // Else it is read to its end anyway.
            && !std::mem::replace(&mut socket.has_hung_up, true)
        {
            self.read(index);
        }
        self.lost(index);
    }

    /// Reads on where a connection had too many messages queued.
    pub(super) fn read_again(&mut self, index: usize) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        let is_short = || self.shared.host.memory.is_exceeded();
        if client.is_paused && !client.has_enough_queued(&self.limits, is_short) {
            client.is_paused = false;
            self.read(index);
        }
    }

    /// Hands the first `count` bytes of the input buffer to a connection's session.
    pub(super) fn take_in(&mut self, index: usize, count: usize) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        let Some(socket) = client.link.socket_mut() else {
            return;
        };
        let framing = socket.framing();
        let mut intake = Intake {
            framing,
            json: &self.shared.session.limits,
            session: &mut client.session,
            outgoing: &mut client.outgoing,
            out: &mut self.out,
            limits: &self.limits,
            now: self.now,
            pongs: 0,
            latest_ping: None,
            ending: None,
        };
        let bytes = self.input.get_mut(..count).unwrap_or_default();
        if let Err(violation) = socket.reader.read(bytes, self.now, &mut intake) {
            intake.ending = Some(Ending::Violation(violation));
        }
        if let Some(pong) = intake.latest_ping.take() {
            intake.outgoing.push_control(pong);
        }
        let ending = intake.ending;
        if ending.is_some() {
            socket.takes_no_more_frames();
        }
        self.list(index);
        match ending {
            Some(Ending::Violation(Protocol { code, reason })) => {
                if code == 1009 {
                    self.note_too_big(index);
                }
                self.settle(index);
                self.close(index, code, reason);
            }
            Some(Ending::Close(code)) => {
                self.settle(index);
                self.part(index, code, "");
            }
            None => {}
        }
    }

    /// Logs that a client is closed for the size of its message.
    pub(super) fn note_too_big(&self, index: usize) {
        if let Some(client) = self.clients.get(index) {
            let limit = self.limits.message_of(client.session.is_connected());
            let mismatches = &self.shared.host.mismatches;
            mismatches.too_big(&client.context, limit);
        }
    }
}

/// Takes one read's messages to a session.
struct Intake<'a> {
    framing: Framing,
    /// For the arrays of SockJS.
    json: &'a ejson::JsonLimits,
    session: &'a mut Conversation,
    outgoing: &'a mut Outgoing,
    out: &'a mut Output,
    limits: &'a Limits,
    now: Duration,
    /// Pings answered.
    pongs: usize,
    /// The answer to the latest ping, once there have been many.
    latest_ping: Option<Vec<u8>>,
    ending: Option<Ending>,
}

/// Why nothing more is read.
enum Ending {
    /// The peer closes, and hears this code.
    Close(u16),
    Violation(Protocol),
}

impl Receiver for Intake<'_> {
    fn limits(&self) -> websocket::Limits {
        websocket::Limits {
            message: self.limits.message_of(self.session.is_connected()),
            small_frames: self.limits.small_frames,
        }
    }

    fn take(&mut self, incoming: Incoming<'_>) {
        match incoming {
            Incoming::Message(text) if self.framing == Framing::Raw => {
                self.session.receive(text, self.now, self.out);
            }
            Incoming::Message(text) => self.unframe(text),
            Incoming::Pong => {}
            Incoming::Ping(payload) if self.pongs < PONGS_PER_READ => {
                self.pongs = self.pongs.saturating_add(1);
                self.outgoing.push_control(websocket::pong(payload));
            }
            Incoming::Ping(payload) => self.latest_ping = Some(websocket::pong(payload)),
            Incoming::Close(code) => self.ending = Some(Ending::Close(code)),
        }
    }
}

impl Intake<'_> {
    /// Takes the messages out of a frame of SockJS.
    fn unframe(&mut self, text: &str) {
        // What comes behind a broken frame is not looked at.
        if self.ending.is_some() {
            return;
        }
        match sockjs::messages_of_frame(text, self.json) {
            Ok(messages) => messages
                .iter()
                .for_each(|message| self.session.receive(message, self.now, self.out)),
            Err(Broken) => {
                self.ending = Some(Ending::Violation(Protocol {
                    code: Broken::CODE,
                    reason: Broken::REASON,
                }));
            }
        }
    }
}
