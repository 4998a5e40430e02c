//! Limits on what clients send and hold: clients that are not read from, mail that waits, and the
//! end of clients that take nothing.

use std::cmp::Reverse;

use updraft_protocol::session::Output;

use super::EventLoop;
use super::ending::Ending;

impl EventLoop {
    /// Updates the count of what a client holds, and applies the limits that it exceeds.
    pub(super) fn check_pressure(&mut self, index: usize) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        let limits = &self.shard.limits;
        client.count_input();
        let is_short = || self.shard.shared.host.memory.is_exceeded();
        let must_pause = !client.waiting.is_paused && client.has_enough_queued(limits, is_short);
        client.waiting.is_paused |= must_pause;
        client.report_output();
        if client.outgoing.bytes() > limits.flow && !client.waiting.is_full {
            client.waiting.is_full = true;
            if let Some(session) = client.session.ddp_mut() {
                session.hold();
            }
        }
        if must_pause {
            self.probe_half_closed(index);
        }
    }

    /// So much output waits for a client that there is hardly room for more. That may only be
    /// because it has not had its turn, so it is written to first.
    pub(super) fn make_room(&mut self, index: usize, out: &mut Output) {
        let client = self.clients.get(index);
        if client.is_some_and(|client| !client.outgoing.is_blocked) {
            self.flush(index, out);
        }
        self.check_pressure(index);
    }

    /// Tries whether a client accepts output, and closes one that does not.
    pub(super) fn check_stuck(&mut self, index: usize, out: &mut Output) {
        let now = self.shard.now;
        let client = self.clients.get(index).filter(|it| it.closing.is_none());
        let next = client.and_then(|it| it.outgoing.next_try(self.shard.limits.output_timeout));
        if next.is_some_and(|next| next <= now) {
            self.flush(index, out);
        }
        let client = self.clients.get(index);
        if client.is_some_and(|client| client.is_stuck(&self.shard.limits, now)) {
            self.end(index, Ending::Slow);
        }
    }

    /// Reports the bytes that are held here. While the process holds far too much, closes the
    /// clients that hold most of it.
    pub(super) fn shed_load(&mut self) {
        self.report_held();
        let shard = self.shard.inbox.number();
        let mut excess = self.shard.shared.host.memory.excess(shard);
        if excess == 0 {
            return;
        }
        let mut by_size = Vec::new();
        for (index, client) in self.clients.iter() {
            let kept = client
                .keeper()
                .map_or(0, |keeper| self.fan_out.kept(keeper));
            match client.held().saturating_add(kept) {
                0 => {}
                // It is closing, and gone within the close timeout.
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
            self.end(index, Ending::Slow);
            excess = excess.saturating_sub(held);
        }
        self.report_held();
    }

    fn report_held(&self) {
        let (output, input) = self.clients.held();
        let memory = &self.shard.shared.host.memory;
        memory.report(self.shard.inbox.number(), output, input);
    }
}
