//! The end of a shard: its clients are closed one after the other, so that they do not all come
//! back at once.

use std::collections::VecDeque;
use std::time::Duration;

use super::EventLoop;
use super::ending::Ending;
use super::shard_context::Phase;
use crate::mail::Place;

/// The clients that are still to be closed, each with its time.
#[derive(Debug, Default)]
pub(super) struct CloseSchedule {
    /// Ordered by time. Filled once when shutdown begins, drained as the times come. Some clients
    /// may be gone by then.
    queue: VecDeque<(Duration, Place)>,
}

impl CloseSchedule {
    /// Gives each client a time: `spread` is divided into equal parts, one per client, and the time
    /// is random within the part, because other processes may have begun to shut down at the same
    /// moment.
    fn new(places: Vec<Place>, now: Duration, spread: Duration) -> Self {
        let part = spread.div_f64(places.len().max(1) as f64);
        let times = (0_u32..).map(|number| {
            let begin = part.saturating_mul(number);
            let within = part.mul_f64(fastrand::f64());
            now.saturating_add(begin).saturating_add(within)
        });
        Self {
            queue: times.zip(places).collect(),
        }
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Duration> {
        self.queue.front().map(|(at, _)| *at)
    }

    fn take_due(&mut self, now: Duration) -> Option<Place> {
        let is_due = self.next().is_some_and(|at| at <= now);
        let (_, place) = is_due.then(|| self.queue.pop_front()).flatten()?;
        Some(place)
    }
}

impl EventLoop {
    /// Begins to shut down. A client is served as before until its time comes. A client that is
    /// lost cannot come back.
    pub(super) fn drain(&mut self, spread: Duration) {
        self.shard.phase = Phase::ShuttingDown;
        let everybody = self.clients.places();
        let mut staying = Vec::new();
        for index in everybody {
            self.end_if_absent(index);
            match self.clients.get(index) {
                Some(client) if client.closing.is_none() && !client.link.is_gone() => {
                    staying.push(client.place());
                }
                Some(_) => self.close_going_away(index),
                None => {}
            }
        }
        self.close_schedule = CloseSchedule::new(staying, self.shard.now, spread);
        self.close_due();
    }

    /// Closes the clients whose time has come.
    pub(super) fn close_due(&mut self) {
        while let Some(place) = self.close_schedule.take_due(self.shard.now) {
            if self.clients.find(place).is_some() {
                self.close_going_away(place.index);
            }
        }
    }

    fn close_going_away(&mut self, index: usize) {
        let (code, reason) = (1001, "Going away");
        self.end(index, Ending::Closed { code, reason });
        self.end_if_absent(index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    fn leaving(count: usize, spread: Duration) -> CloseSchedule {
        let place = |index| Place {
            index,
            generation: 1,
        };
        CloseSchedule::new((0..count).map(place).collect(), NOW, spread)
    }

    #[test]
    fn found_110_closes_are_spread_evenly_and_at_random() {
        let spread = Duration::from_secs(10);
        let leaving = leaving(1000, spread);
        let part = spread / 1000;
        let mut waits = Vec::new();
        for (number, (at, place)) in (0_u32..).zip(&leaving.queue) {
            let begin = NOW + part * number;
            assert!((begin..=begin + part).contains(at), "{at:?}");
            assert_eq!(place.index, number as usize, "each once");
            waits.push(*at - begin);
        }
        waits.sort_unstable();
        waits.dedup();
        assert!(waits.len() > 500, "not all at the same point of their part");
    }

    #[test]
    fn found_110_without_a_spread_all_are_due_at_once() {
        let mut leaving = leaving(3, Duration::ZERO);
        assert_eq!(leaving.next(), Some(NOW));
        assert!((0..3).all(|_| leaving.take_due(NOW).is_some()));
        assert!(leaving.take_due(NOW).is_none());
    }

    #[test]
    fn found_110_nobody_is_closed_before_its_time() {
        let mut leaving = leaving(2, Duration::from_secs(10));
        let first = leaving.next().unwrap();
        assert!(leaving.take_due(first - Duration::from_nanos(1)).is_none());
        assert!(leaving.take_due(first).is_some());
        assert!(leaving.take_due(first).is_none());
    }
}
