//! From sessions to sockets: what waits is written in turns, and who does not take it is closed.

use std::cmp::Reverse;
use std::sync::atomic::Ordering;

use updraft_protocol::message::Frames;

use super::EventLoop;
use crate::shard::client::Client;
use crate::shard::link::Link;
use crate::shard::outgoing::Flushed;

/// Room for output that is kept between turns: what one large message has taken is not needed for the next small one.
const KEPT_SCRATCH: usize = 1024 * 1024;

/// Connections written to before the inbox is looked at: what has come in meanwhile joins the writes still to be made.
const WRITES_PER_LOOK: usize = 32;

/// Connections written to before sockets and timers get their turn.
const WRITES_PER_TURN: usize = 512;

impl EventLoop {
    /// Notes a connection as one with unsent output, once.
    pub(super) fn list(&mut self, index: usize) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        let outgoing = &mut client.outgoing;
        if !outgoing.is_listed && !outgoing.is_blocked && !outgoing.is_empty() {
            outgoing.is_listed = true;
            self.ahead = self.ahead.saturating_add(outgoing.count_queued());
            self.unsent.push_back(index);
        }
    }

    pub(super) fn write(&mut self) {
        for written in 1..=WRITES_PER_TURN {
            let Some(index) = self.unsent.pop_front() else {
                // What was counted for connections that are gone is forgotten.
                self.ahead = 0;
                break;
            };
            // The place may have been given to another connection meanwhile, which is not listed.
            let client = self.clients.get_mut(index);
            if let Some(client) = client.filter(|it| it.outgoing.is_listed) {
                client.outgoing.is_listed = false;
                let counted = client.outgoing.take_counted();
                self.ahead = self.ahead.saturating_sub(counted);
                self.flush(index);
            }
            if written % WRITES_PER_LOOK == 0 {
                self.look_into_inbox();
            }
        }
        self.scratch.clear();
        self.scratch.shrink_to(KEPT_SCRATCH);
    }

    pub(super) fn flush(&mut self, index: usize) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        let (outgoing, scratch) = (&mut client.outgoing, &mut self.scratch);
        let session = &mut client.session;
        let written = |waiting: &mut Frames, count| session.written(waiting, count);
        let (flushed, progress) = match &mut client.link {
            Link::Socket(socket) => {
                let framing = socket.framing();
                outgoing.flush(socket, framing, scratch, self.now, written)
            }
            Link::Polling(polling) => outgoing.give(polling, scratch, self.now, written),
            Link::Gone => return,
        };
        client.tell_output();
        if progress.has_moved {
            client.has_taken(self.now, progress.on_the_way);
        }
        match flushed {
            Flushed::All if client.written() => return self.lost(index),
            Flushed::All => {}
            Flushed::Blocked => {
                self.set_timer(index);
                self.give_up_absent(index);
            }
            Flushed::Lost => return self.broken(index),
        }
        self.refill(index);
    }

    /// A client has taken output, or lost its connection: where there is room again, what has waited for it has its turn.
    pub(super) fn refill(&mut self, index: usize) {
        let flow = self.limits.flow;
        let has_room = |client: &Client| client.outgoing.bytes() <= flow;
        let Some(client) = self.clients.get_mut(index).filter(|it| has_room(it)) else {
            return;
        };
        if std::mem::take(&mut client.is_full) {
            if let Some(session) = client.session.ddp_mut() {
                session.let_go_on(self.now, &mut self.out);
            }
            self.settle(index);
        }
        self.tell_of_missed(index);
        while let Some(client) = self.clients.get_mut(index)
            && !client.is_full
        {
            let session = client.session.ddp_mut();
            if let Some(session) = session.filter(|session| session.is_telling()) {
                if session.is_parked() {
                    return;
                }
                session.tell_more(&mut self.out);
                self.settle(index);
            } else if let Some(mail) = client.take_mail() {
                self.read_mail(index, mail);
            } else {
                return;
            }
        }
    }

    /// Where events were lost because there was no room for them, the gap is over when there is enough again.
    fn tell_of_missed(&mut self, index: usize) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        let missed = client.take_missed(&self.limits);
        if !missed.is_empty() {
            for run in missed {
                self.missed(index, run);
            }
            self.settle(index);
        }
    }

    /// The socket takes output again.
    pub(super) fn unblocked(&mut self, index: usize) {
        if let Some(client) = self.clients.get_mut(index)
            && client.outgoing.is_blocked
        {
            client.outgoing.is_blocked = false;
            self.list(index);
        }
    }

    /// Tries whether a client takes something, and closes one that does not.
    pub(super) fn check_stuck(&mut self, index: usize) {
        let is_stuck = |it: &Self| {
            let client = it.clients.get(index);
            client.is_some_and(|client| client.is_stuck(&it.limits, it.now))
        };
        let client = self.clients.get(index).filter(|it| it.closing.is_none());
        let next = client.and_then(|it| it.outgoing.next_try(self.limits.output_timeout));
        if next.is_some_and(|next| next <= self.now) {
            self.flush(index);
        }
        if is_stuck(self) {
            self.slow(index);
        }
    }

    pub(super) fn check_pressure(&mut self, index: usize) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        client.count_input();
        let is_short = || self.shared.host.memory.is_exceeded();
        client.is_paused |= client.has_enough_queued(&self.limits, is_short);
        client.tell_output();
        if client.outgoing.bytes() > self.limits.flow && !client.is_full {
            client.is_full = true;
            if let Some(session) = client.session.ddp_mut() {
                session.hold();
            }
        }
    }

    /// So many events wait for a client that there is hardly room for more. It may only be that its turn has not come.
    pub(super) fn make_room(&mut self, index: usize) {
        let client = self.clients.get(index);
        if client.is_some_and(|client| !client.outgoing.is_blocked) {
            self.flush(index);
        }
        self.check_pressure(index);
    }

    /// A client that does not read loses its connection; nobody else notices.
    pub(super) fn slow(&mut self, index: usize) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        let connection = client.context.log_id();
        if client.session.is_parked() {
            // Its connection is gone, or on its way out with what it has yet to say.
            tracing::info!(%connection, "Too much waits for a client that is gone.");
        } else if client.closing.is_some() {
            return;
        } else {
            let gauges = &self.shared.host.gauges;
            gauges.slow_clients.fetch_add(1, Ordering::Relaxed);
            tracing::info!(%connection, "A client does not read; it is closed.");
            client.outgoing.drop_queue();
        }
        self.close(index, 1013, "Slow consumer");
        if let Some(client) = self.clients.get_mut(index)
            && let Some(closing) = &mut client.closing
        {
            closing.patience = None;
        }
    }

    /// Says what is held here. While the process holds far too much, closes those who hold most of it.
    pub(super) fn relieve(&mut self) {
        let memory = &self.shared.host.memory;
        memory.report(
            self.number,
            self.output_tally.bytes(),
            self.input_tally.bytes(),
        );
        let mut excess = memory.excess(self.number);
        if excess == 0 {
            return;
        }
        let mut by_size = Vec::new();
        for (index, client) in &self.clients {
            let kept = client
                .keeper()
                .map_or(0, |keeper| self.fan_out.kept(keeper));
            match client.held().saturating_add(kept) {
                0 => {}
                // On its way out, and gone within the linger time.
                held if client.closing.is_some() && !client.session.is_parked() => {
                    excess = excess.saturating_sub(held);
                }
                held => by_size.push((Reverse(held), index)),
            }
        }
        by_size.sort_unstable();
        for (Reverse(held), index) in by_size {
            if excess == 0 {
                break;
            }
            self.slow(index);
            excess = excess.saturating_sub(held);
        }
        let memory = &self.shared.host.memory;
        memory.report(
            self.number,
            self.output_tally.bytes(),
            self.input_tally.bytes(),
        );
    }
}
