//! Receipts: pings whose answers prove that the client has what was sent before them. One is
//! outstanding at a time, because an answer does not name its ping.

use std::time::Duration;

use super::{Action, Output, Session, SessionState};
use crate::message::ServerMessage;

impl Session {
    /// Whether the client answers pings. Clients of DDP `pre1` do not know them.
    pub fn answers_pings(&self) -> bool {
        match &self.state {
            SessionState::Connected { version, .. } => version.has_heartbeat(),
            SessionState::Parked(parked) => parked.version.has_heartbeat(),
            _ => false,
        }
    }

    /// The client is to be pinged by this time, if it answers pings: what is sent until then is
    /// proved to have arrived by [`Action::Answered`]. While another ping is unanswered, this one
    /// waits.
    ///
    /// Returns whether it is due earlier than before.
    pub fn want_receipt(&mut self, by: Duration) -> bool {
        if !self.is_open() || !self.answers_pings() {
            return false;
        }
        let due = &mut self.work().receipt_due;
        let is_earlier = due.is_none_or(|due| by < due);
        if is_earlier {
            *due = Some(by);
        }
        is_earlier
    }

    /// Sends a ping if one is due by now: see [`want_receipt`](Self::want_receipt). The time is
    /// looked at by [`handle_timeout`](Self::handle_timeout) too.
    pub fn ask_for_receipt(&mut self, now: Duration, out: &mut Output) {
        if self.receipt_timeout().is_some_and(|due| due <= now) && self.is_open() {
            self.ping(out);
        }
    }

    /// When a ping is due, unless that waits for another.
    pub(super) fn receipt_timeout(&self) -> Option<Duration> {
        let due = self.work.as_ref()?.receipt_due?;
        (!self.pings.is_unanswered()).then_some(due)
    }

    /// Sends a ping.
    pub(super) fn ping(&mut self, out: &mut Output) {
        let proves_something = self.pings.sent(self.sent);
        self.send(&ServerMessage::Ping, out);
        if proves_something {
            if let Some(work) = &mut self.work {
                work.receipt_due = None;
                self.free_idle_work();
            }
            out.actions.push(Action::Pinged);
        }
    }

    /// A pong has come: all messages sent before its ping have arrived, and so have the client's
    /// before its pong.
    pub(super) fn pong(&mut self, now: Duration, out: &mut Output) {
        if let Some(received) = self.pings.answered() {
            self.history.confirm(received);
            if let Some(work) = &mut self.work {
                work.repeats = Vec::new();
                work.resumed_at = None;
                self.free_idle_work();
            }
            out.actions.push(Action::Answered);
        }
        self.ask_for_receipt(now, out);
    }

    fn is_open(&self) -> bool {
        matches!(self.state, SessionState::Connected { .. })
    }
}
