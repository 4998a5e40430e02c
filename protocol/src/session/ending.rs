//! The end of a session.

use super::history::History;
use super::{Action, NORMAL, Output, Session, SessionState};
use crate::view::View;

impl Session {
    /// Closes the connection at the server's wish: 1000, `Normal closure`.
    pub fn close(&mut self, out: &mut Output) {
        self.close_with(1000, NORMAL, out);
    }

    /// The connection is gone, or is about to be: stops all subscriptions and sends nothing more.
    pub fn end(&mut self, out: &mut Output) {
        let was_lost = self.is_parked();
        self.state = SessionState::Closed { was_lost };
        self.work = None;
        self.view = View::default();
        self.history = History::default();
        for subscription in self.subscriptions.drain(..) {
            out.actions.push(Action::Stop(subscription.run));
        }
    }

    pub(super) fn close_with(&mut self, code: u16, reason: &'static str, out: &mut Output) {
        if !matches!(self.state, SessionState::Closed { .. }) {
            self.end(out);
            out.actions.push(Action::Close { code, reason });
        }
    }

    /// Whether the session has ended because its client was gone, and had not said that it leaves.
    pub fn was_lost(&self) -> bool {
        matches!(self.state, SessionState::Closed { was_lost: true })
    }
}
