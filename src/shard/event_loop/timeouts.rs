//! What happens to a client because time has passed.

use updraft_protocol::session::Output;

use super::EventLoop;
use super::ending::Ending;

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
        let closing = client.closing.as_ref();
        if closing.is_some_and(|closing| closing.until <= now) {
            return self.end(index, Ending::Overdue);
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

    pub(super) fn set_timer(&mut self, index: usize) {
        self.clients.set_timer(index, &self.shard.limits);
    }
}
