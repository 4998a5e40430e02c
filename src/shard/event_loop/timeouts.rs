//! What happens to a client because time has passed.

use std::time::Duration;

use updraft_protocol::session::Output;

use super::EventLoop;
use super::ending::Ending;
use crate::shard::client::Client;

impl EventLoop {
    pub(super) fn look_at_timers(&mut self, out: &mut Output) {
        let due = self.clients.take_due(self.shard.now);
        for &index in &due {
            self.handle_timer(index, out);
        }
        self.clients.give_back(due);
    }

    fn handle_timer(&mut self, index: usize, out: &mut Output) {
        let now = self.shard.now;
        let Some(client) = self.clients.serve_timer(index, now) else {
            return;
        };
        if is_overdue(client, now) {
            return self.end_overdue(index, out);
        }
        if client.waiting.is_paused {
            // The server does not read from the client, so its silence means nothing.
            client.session.heard();
        }
        let leg = client.upstream.as_ref().and_then(|upstream| upstream.leg());
        if leg.is_some_and(|leg| leg.is_paused)
            && let Some(session) = client.session.ddp_mut()
        {
            session.upstream_heard();
        }
        client.session.handle_timeout(now, out);
        self.carry_out(index, out);
        self.check_upstream(index, out);
        self.read_upstream_again(index, out);
        self.check_rival(index, out);
        self.beat(index);
        self.check_stuck(index, out);
        self.read_again(index, out);
    }

    /// The time for a connection's end is over. A shard with much to do may not have come to its
    /// close frame; then that is written, and the time starts again.
    fn end_overdue(&mut self, index: usize, out: &mut Output) {
        let client = self.clients.get(index);
        if client.is_some_and(|it| !it.outgoing.is_empty() && !it.outgoing.is_blocked) {
            self.flush(index, out);
        }
        let now = self.shard.now;
        match self.clients.get(index) {
            Some(client) if is_overdue(client, now) => self.end(index, Ending::Overdue),
            _ => self.set_timer(index),
        }
    }

    pub(super) fn set_timer(&mut self, index: usize) {
        self.clients.set_timer(index, &self.shard.limits);
    }
}

/// Whether the connection should have ended by now.
fn is_overdue(client: &Client, now: Duration) -> bool {
    let closing = client.closing.as_ref();
    closing.is_some_and(|closing| closing.until <= now)
}
