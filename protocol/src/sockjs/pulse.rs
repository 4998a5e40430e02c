//! SockJS's own heartbeat over WebSocket: a ping after each interval, and a close if one is not
//! answered. Over HTTP nothing can answer, so only the interval applies.

use std::time::Duration;

/// When the next heartbeat of one connection is due.
#[derive(Clone, Copy, Debug)]
pub struct Pulse {
    at: Duration,
    is_awaited: bool,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(
    clippy::exhaustive_enums,
    reason = "a host must answer all that there is"
)]
pub enum Beat {
    /// Send a ping.
    Ping,
    /// The last ping was not answered: close with [`Self::CODE`] and [`Self::REASON`].
    Missed,
}

impl Beat {
    /// The close code after a missed heartbeat.
    pub const CODE: u16 = 3000;
    /// The close reason.
    pub const REASON: &'static str = "No response from heartbeat";
}

impl Pulse {
    /// The first ping is due an `interval` after `now`.
    pub fn new(now: Duration, interval: Duration) -> Self {
        Self {
            at: now.saturating_add(interval),
            is_awaited: false,
        }
    }

    /// When to call [`beat`](Self::beat) next.
    pub fn next_timeout(&self) -> Duration {
        self.at
    }

    /// The client is alive at this time. The time may be in the future, if the client has been sent
    /// so much that it cannot answer earlier. An outstanding ping counts as answered: the next one
    /// is due an `interval` later.
    pub fn alive(&mut self, at: Duration, interval: Duration) {
        if self.is_awaited {
            *self = Self::new(at, interval);
        } else {
            self.at = self.at.max(at);
        }
    }

    /// What is due. The client may take `timeout` to answer a ping.
    pub fn beat(&mut self, now: Duration, timeout: Duration) -> Option<Beat> {
        if now < self.at {
            return None;
        }
        if self.is_awaited {
            return Some(Beat::Missed);
        }
        self.at = now.saturating_add(timeout);
        self.is_awaited = true;
        Some(Beat::Ping)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(45);
    const TIMEOUT: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn ddp_216_a_ping_every_45_seconds_and_10_to_answer() {
        let mut pulse = Pulse::new(at(0), INTERVAL);
        assert_eq!(pulse.next_timeout(), at(45));
        assert_eq!(pulse.beat(at(44), TIMEOUT), None);
        assert_eq!(pulse.beat(at(45), TIMEOUT), Some(Beat::Ping));
        assert_eq!(pulse.next_timeout(), at(55));
        pulse.alive(at(46), INTERVAL);
        assert_eq!(pulse.next_timeout(), at(91));
        pulse.alive(at(80), INTERVAL);
        assert_eq!(pulse.next_timeout(), at(91), "an answer to nothing");
        assert_eq!(pulse.beat(at(91), TIMEOUT), Some(Beat::Ping));
        assert_eq!(pulse.beat(at(100), TIMEOUT), None);
        assert_eq!(pulse.beat(at(101), TIMEOUT), Some(Beat::Missed));
    }
}
