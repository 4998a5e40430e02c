//! Meteor's heartbeat: a tick each interval, a ping if nothing was received since the last tick,
//! and a timeout that any message cancels.

use std::time::Duration;

/// The heartbeat of one connection. A message only sets a flag; the timer is checked when it fires.
///
/// The interval and the timeout are settings of the server, so they are not stored for each
/// connection.
#[derive(Debug)]
pub(super) struct Heartbeat {
    next_tick: Duration,
    heard: bool,
    /// When the connection is closed, if a ping is unanswered.
    deadline: Option<Duration>,
}

/// What is due.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    Ping,
    Close,
}

impl Heartbeat {
    pub(super) fn new(interval: Duration, now: Duration) -> Self {
        let next_tick = now.saturating_add(interval);
        Self {
            next_tick,
            heard: false,
            deadline: None,
        }
    }

    pub(super) fn heard(&mut self) {
        self.heard = true;
        self.deadline = None;
    }

    /// A ping cannot reach the client before this time: the client need not answer until then.
    pub(super) fn busy_until(&mut self, until: Duration) {
        self.heard();
        self.next_tick = self.next_tick.max(until);
    }

    pub(super) fn next_timeout(&self) -> Duration {
        self.deadline
            .map_or(self.next_tick, |deadline| deadline.min(self.next_tick))
    }

    pub(super) fn poll(&mut self, interval: Duration, timeout: Duration, now: Duration) -> Due {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            return Due::Close;
        }
        if self.next_tick > now {
            return Due::Nothing;
        }
        while self.next_tick <= now {
            self.next_tick = self.next_tick.saturating_add(interval);
        }
        if std::mem::take(&mut self.heard) || self.deadline.is_some() {
            return Due::Nothing;
        }
        self.deadline = Some(now.saturating_add(timeout));
        Due::Ping
    }
}
