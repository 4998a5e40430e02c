//! From sessions to sockets: connections with waiting output are written to in turns. When a client
//! has taken some of its output, what was held back for it continues.

use updraft_protocol::message::Frames;
use updraft_protocol::session::Output;

use super::EventLoop;
use super::ending::Ending;
use crate::shard::client::follower;
use crate::shard::link::Link;
use crate::shard::outgoing::Flushed;

/// The capacity of the output buffer that is kept between turns. What one large message has taken
/// is not needed for the next small one.
const KEPT_OUTPUT: usize = 1024 * 1024;

/// Connections written to before the inbox is read again. Messages that have arrived meanwhile join
/// the writes that follow.
const WRITES_PER_LOOK: usize = 32;

/// Connections written to before sockets and timers get their turn.
const WRITES_PER_TURN: usize = 512;

impl EventLoop {
    /// Lists a connection that has unsent output.
    pub(super) fn list_output(&mut self, index: usize) {
        if let Some(client) = self.clients.get_mut(index) {
            self.unsent.add(index, &mut client.outgoing);
        }
    }

    pub(super) fn write(&mut self, out: &mut Output) {
        for written in 1..=WRITES_PER_TURN {
            let Some(index) = self.unsent.next() else {
                break;
            };
            let client = self.clients.get_mut(index);
            if client.is_some_and(|client| self.unsent.take(&mut client.outgoing)) {
                self.flush(index, out);
            }
            if written % WRITES_PER_LOOK == 0 {
                self.look_into_inbox(out);
            }
        }
        self.buffers.output.clear();
        self.buffers.output.shrink_to(KEPT_OUTPUT);
    }

    pub(super) fn flush(&mut self, index: usize, out: &mut Output) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        let now = self.shard.now;
        let (outgoing, scratch) = (&mut client.outgoing, &mut self.buffers.output);
        let session = &mut client.session;
        let mut taken: usize = 0;
        let written = |waiting: &mut Frames, count| {
            taken = taken.saturating_add(count);
            session.written(waiting, count);
        };
        let (flushed, progress) = match &mut client.link {
            Link::Socket(socket) => {
                let framing = socket.framing();
                outgoing.flush(socket, framing, scratch, now, written)
            }
            Link::Polling(polling) => outgoing.flush_to_request(polling, scratch, now, written),
            Link::Gone => return,
        };
        let of_run = |run| follower(&client.subscriptions, run);
        self.following.written(index, taken, of_run);
        client.report_output();
        if progress.has_moved {
            client.took_output(now, progress.drain_time);
        }
        match flushed {
            Flushed::All if client.finish_if_closing() => return self.end(index, Ending::Lost),
            Flushed::All => {}
            Flushed::Blocked => {
                self.set_timer(index);
                self.end_if_absent(index);
            }
            Flushed::Lost => return self.write_failed(index, out),
        }
        self.refill(index, out);
    }

    /// A client has taken output, or lost its connection. If there is room again, what was held
    /// back for it continues.
    pub(super) fn refill(&mut self, index: usize, out: &mut Output) {
        let flow = self.shard.limits.flow;
        let client = self.clients.get_mut(index);
        let Some(client) = client.filter(|client| client.outgoing.bytes() <= flow) else {
            return;
        };
        if std::mem::take(&mut client.waiting.is_full) {
            if let Some(session) = client.session.ddp_mut() {
                session.let_go_on(self.shard.now, out);
            }
            self.carry_out(index, out);
        }
        self.tell_of_missed(index, out);
        self.read_upstream_again(index, out);
        while let Some(client) = self.clients.get_mut(index)
            && !client.waiting.is_full
        {
            let session = client.session.ddp_mut();
            if let Some(session) = session.filter(|session| session.is_telling()) {
                if session.is_parked() {
                    return;
                }
                session.tell_more(out);
                self.carry_out(index, out);
            } else if let Some(mail) = client.take_mail() {
                self.read_mail(index, mail, out);
            } else {
                return;
            }
        }
    }

    /// If events were dropped because there was no room, tells of the gap as soon as there is
    /// enough room again.
    fn tell_of_missed(&mut self, index: usize, out: &mut Output) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        let missed = client.take_missed(&self.shard.limits);
        if !missed.is_empty() {
            for run in missed {
                self.missed(index, run, out);
            }
            self.carry_out(index, out);
        }
    }

    /// The socket accepts output again.
    pub(super) fn unblocked(&mut self, index: usize) {
        if let Some(client) = self.clients.get_mut(index)
            && client.outgoing.is_blocked
        {
            client.outgoing.is_blocked = false;
            self.unsent.add(index, &mut client.outgoing);
        }
    }
}
