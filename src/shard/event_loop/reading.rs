//! From sockets to sessions: reads what clients send, in turns that no client can make long.

use std::io::ErrorKind;
use std::time::Duration;

use updraft_protocol::ejson;
use updraft_protocol::session::Output;
use updraft_protocol::sockjs::{self, Broken};

use super::EventLoop;
use super::ending::Ending;
use crate::shard::ClientLimits;
use crate::shard::conversation::Conversation;
use crate::shard::outgoing::Outgoing;
use crate::transport::Framing;
use crate::transport::websocket::{self, Incoming, ProtocolViolation, Receiver};

/// Reads of one connection before the others get their turn.
const READS_PER_TURN: usize = 16;

/// Pings of one read that are answered one by one. Of further pings only the latest is answered.
const PONGS_PER_READ: usize = 16;

impl EventLoop {
    /// Reads what the client has sent, up to what one connection may have in a turn.
    pub(super) fn read(&mut self, index: usize, out: &mut Output) {
        self.read_posted(index, out);
        for _ in 0..READS_PER_TURN {
            let Some(client) = self.clients.get_mut(index) else {
                return;
            };
            let is_over = client.closing.is_some();
            if client.waiting.is_paused && !is_over {
                return;
            }
            let Some(socket) = client.link.socket_mut() else {
                return;
            };
            match socket.read(&mut self.buffers.input) {
                Ok(0) => return self.end(index, Ending::Finished),
                // Read only to find the end of the stream.
                Ok(_) if is_over => {}
                Ok(count) => {
                    let is_last = !socket.may_have_more(count, self.buffers.input.len());
                    self.take_in(index, count, out);
                    self.heard(index, out);
                    if is_last {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::debug!(%error, "A connection broke.");
                    return self.end(index, Ending::Lost);
                }
            }
        }
        if let Some(client) = self.clients.get_mut(index)
            && !client.waiting.is_unread
        {
            client.waiting.is_unread = true;
            self.unread.push_back(index);
        }
    }

    /// The peer has finished sending, or has gone altogether.
    ///
    /// What a client sent before this is read when the server reads from it again.
    pub(super) fn hung_up(&mut self, index: usize, is_gone: bool) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        let is_news = !client.link.has_hung_up();
        client.link.hung_up();
        if client.waiting.is_paused && client.closing.is_none() {
            if is_gone {
                self.end(index, Ending::Lost);
            } else if is_news {
                self.probe_half_closed(index);
            }
        }
    }

    /// Pings a client that has finished sending and is not read from now. If it does not listen
    /// either, the socket says so when it is written to.
    pub(super) fn probe_half_closed(&mut self, index: usize) {
        if let Some(client) = self.clients.get_mut(index)
            && client.link.has_hung_up()
            && client.closing.is_none()
        {
            client.outgoing.push_control(websocket::ping());
            self.unsent.add(index, &mut client.outgoing);
        }
    }

    /// Continues with connections that had more to read than fits into one turn.
    pub(super) fn read_on(&mut self, out: &mut Output) {
        for _ in 0..self.unread.len() {
            let Some(index) = self.unread.pop_front() else {
                return;
            };
            // The place may have been given to another connection meanwhile, which is not listed.
            let client = self.clients.get_mut(index);
            if client.is_some_and(|client| std::mem::take(&mut client.waiting.is_unread)) {
                self.read(index, out);
            }
        }
    }

    /// A connection accepts no more output. What its client sent before is read first; it may have
    /// said that it leaves.
    pub(super) fn write_failed(&mut self, index: usize, out: &mut Output) {
        let client = self.clients.get_mut(index);
        if let Some(socket) = client.and_then(|client| client.link.socket_mut())
            // Otherwise it is read to its end anyway.
            && !std::mem::replace(&mut socket.has_hung_up, true)
        {
            self.read(index, out);
        }
        self.end(index, Ending::Lost);
    }

    /// Resumes reading from a connection that had too many messages queued.
    pub(super) fn read_again(&mut self, index: usize, out: &mut Output) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        let is_short = || self.shard.shared.host.memory.is_exceeded();
        if client.waiting.is_paused && !client.has_enough_queued(&self.shard.limits, is_short) {
            client.waiting.is_paused = false;
            self.read(index, out);
        }
    }

    /// Hands the first `count` bytes of the input buffer to a connection's session, and carries out
    /// what the session asks for.
    pub(super) fn take_in(&mut self, index: usize, count: usize, out: &mut Output) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        let Some(socket) = client.link.socket_mut() else {
            return;
        };
        let framing = socket.framing();
        let mut receiver = SessionReceiver {
            framing,
            json: &self.shard.shared.session.settings.json,
            session: &mut client.session,
            outgoing: &mut client.outgoing,
            out: &mut *out,
            limits: &self.shard.limits,
            now: self.shard.now,
            pongs: 0,
            latest_ping: None,
            end: None,
        };
        let bytes = self.buffers.input.get_mut(..count).unwrap_or_default();
        if let Err(violation) = socket.reader.read(bytes, self.shard.now, &mut receiver) {
            receiver.end = Some(InputEnd::Violation(violation));
        }
        if let Some(pong) = receiver.latest_ping.take() {
            receiver.outgoing.push_control(pong);
        }
        let end = receiver.end;
        if end.is_some() {
            socket.takes_no_more_frames();
        }
        self.unsent.add(index, &mut client.outgoing);
        self.carry_out(index, out);
        match end {
            Some(InputEnd::Violation(ProtocolViolation { code, reason })) => {
                if code == 1009 {
                    self.log_too_big(index);
                }
                self.end(index, Ending::Closed { code, reason });
            }
            Some(InputEnd::Close(code)) => self.end(index, Ending::Parted { code, reason: "" }),
            None => {}
        }
    }

    /// Logs that a client is closed because of the size of its message.
    pub(super) fn log_too_big(&self, index: usize) {
        if let Some(client) = self.clients.get(index) {
            let limit = self.shard.limits.message_of(client.session.is_connected());
            let mismatches = &self.shard.shared.host.mismatches;
            mismatches.too_big(client.context.log_id(), limit);
        }
    }
}

/// Hands the messages of one read to a session.
struct SessionReceiver<'a> {
    framing: Framing,
    /// The limits for SockJS's arrays.
    json: &'a ejson::JsonLimits,
    session: &'a mut Conversation,
    outgoing: &'a mut Outgoing,
    out: &'a mut Output,
    limits: &'a ClientLimits,
    now: Duration,
    /// The number of pings answered.
    pongs: usize,
    /// The answer to the latest ping, once there have been many.
    latest_ping: Option<Vec<u8>>,
    end: Option<InputEnd>,
}

/// Why no further message is read.
enum InputEnd {
    /// The peer has closed, and is sent this code.
    Close(u16),
    Violation(ProtocolViolation),
}

impl Receiver for SessionReceiver<'_> {
    fn limits(&self) -> websocket::Limits {
        websocket::Limits {
            message: self.limits.message_of(self.session.is_connected()),
            small_frames: self.limits.small_frames,
        }
    }

    fn receive(&mut self, incoming: Incoming<'_>) {
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
            Incoming::Close { code, .. } => self.end = Some(InputEnd::Close(code)),
        }
    }
}

impl SessionReceiver<'_> {
    /// Reads the messages of a SockJS frame.
    fn unframe(&mut self, text: &str) {
        // Frames behind a broken one are ignored.
        if self.end.is_some() {
            return;
        }
        match sockjs::messages_of_frame(text, self.json) {
            Ok(messages) => messages
                .iter()
                .for_each(|message| self.session.receive(message, self.now, self.out)),
            Err(Broken) => {
                self.end = Some(InputEnd::Violation(ProtocolViolation {
                    code: Broken::CODE,
                    reason: Broken::REASON,
                }));
            }
        }
    }
}
