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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::message::Frames;
    use crate::session::SessionConfig;

    const PING: &str = r#"{"msg":"ping"}"#;
    const PONG: &str = r#"{"msg":"pong"}"#;

    struct Host {
        session: Session,
        out: Output,
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    impl Host {
        fn new(version: &str) -> Self {
            let config = Arc::new(SessionConfig::default());
            let mut host = Self {
                session: Session::new("s", config, Duration::ZERO),
                out: Output::default(),
            };
            let connect =
                format!(r#"{{"msg":"connect","version":"{version}","support":["{version}"]}}"#);
            host.session
                .receive(&connect, Duration::ZERO, &mut host.out);
            host.told();
            host
        }

        fn pong(&mut self, now: Duration) -> (usize, usize, usize) {
            self.session.receive(PONG, now, &mut self.out);
            self.told()
        }

        fn wait(&mut self, now: Duration) -> (usize, usize, usize) {
            self.session.handle_timeout(now, &mut self.out);
            self.told()
        }

        /// How many pings were sent, how many of them prove something, and how many proved it.
        fn told(&mut self) -> (usize, usize, usize) {
            let Output {
                frames, actions, ..
            } = std::mem::take(&mut self.out);
            let pings = frames.iter().filter(|frame| frame.to_text() == PING);
            let count = |is: fn(&Action) -> bool| actions.iter().filter(|it| is(it)).count();
            let pinged = count(|it| matches!(it, Action::Pinged));
            let answered = count(|it| matches!(it, Action::Answered));
            (pings.count(), pinged, answered)
        }
    }

    #[test]
    fn topic_032_a_client_is_asked_when_it_is_time_and_once_at_a_time() {
        let mut host = Host::new("1");
        assert!(host.session.want_receipt(at(3)));
        assert!(host.session.want_receipt(at(2)));
        assert!(!host.session.want_receipt(at(3)));
        assert_eq!(host.session.next_timeout(), Some(at(2)));
        assert_eq!(host.wait(at(1)), (0, 0, 0));
        assert_eq!(host.wait(at(2)), (1, 1, 0));
        // The next one waits for the answer.
        assert!(host.session.want_receipt(at(2)));
        assert_eq!(host.wait(at(3)), (0, 0, 0));
        assert_eq!(host.session.next_timeout(), Some(at(15)));
        assert_eq!(host.pong(at(4)), (1, 1, 1));
        assert_eq!(host.pong(at(5)), (0, 0, 1));
        // What was not asked for proves nothing.
        assert_eq!(host.pong(at(6)), (0, 0, 0));
        assert_eq!(host.session.next_timeout(), Some(at(15)));
    }

    #[test]
    fn topic_032_the_ping_of_the_heartbeat_is_as_good() {
        let mut host = Host::new("1");
        assert!(host.session.want_receipt(at(40)));
        assert_eq!(host.wait(at(15)), (1, 1, 0));
        assert_eq!(host.pong(at(16)), (0, 0, 1));
        assert_eq!(host.wait(at(40)), (0, 0, 0));
    }

    #[test]
    fn topic_032_nobody_is_asked_who_is_away_or_knows_no_pings() {
        let mut host = Host::new("pre1");
        assert!(!host.session.answers_pings() && !host.session.want_receipt(at(1)));
        assert_eq!(
            (host.wait(at(1)), host.session.next_timeout()),
            ((0, 0, 0), None)
        );
        let mut host = Host::new("1");
        assert!(host.session.want_receipt(at(5)));
        host.session.park(&Frames::default(), at(1), &mut host.out);
        assert!(host.session.answers_pings() && !host.session.want_receipt(at(2)));
        assert_eq!(host.wait(at(5)), (0, 0, 0));
        assert!(host.session.resume(Some(1), at(6), &mut host.out));
        host.told();
        // What was wanted over the connection before is forgotten.
        assert_eq!(host.wait(at(7)), (0, 0, 0));
        assert!(host.session.want_receipt(at(8)));
        assert_eq!(host.wait(at(8)), (1, 1, 0));
    }
}
