//! Timers of connections: a wheel of ticks, in which an idle client costs one number. Entries are
//! never removed early. Instead the client stores the tick of its current timer, and outdated
//! entries are skipped when their time comes.

use std::num::NonZero;
use std::time::Duration;

/// The length of a tick. A timer fires up to one tick late, and never early.
const TICK: Duration = Duration::from_millis(50);

/// Ticks per turn of the wheel: somewhat more than the usual heartbeat.
const SLOTS: usize = 512;

/// A tick, counted from the start. Non-zero, so that an `Option` of it needs no more room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tick(NonZero<u64>);

/// The timers of one shard.
#[derive(Debug)]
pub(super) struct Timers {
    /// The connections of each slot. Filled by `set`, drained as the wheel passes, except for
    /// entries that have more turns to wait. Bounded by the number of connections, and by what was
    /// set within one turn.
    slots: Box<[Vec<usize>]>,
    /// The first tick that has not passed.
    next: Tick,
    /// The first tick from `next` on whose slot is not empty.
    occupied: Option<Tick>,
}

impl Tick {
    fn number(ticks: u64) -> Self {
        Self(NonZero::<u64>::MIN.saturating_add(ticks))
    }

    /// The number of ticks before this one.
    fn ticks(self) -> u64 {
        self.0.get() - 1
    }

    fn since(self, earlier: Self) -> u64 {
        self.ticks().saturating_sub(earlier.ticks())
    }

    /// The last tick that has passed at this time.
    pub(super) fn latest(now: Duration) -> Self {
        let ticks = now.as_nanos() / TICK.as_nanos();
        Self::number(u64::try_from(ticks).unwrap_or(u64::MAX))
    }

    /// The first tick that is not earlier than this time.
    fn not_before(at: Duration) -> Self {
        let ticks = at.as_nanos().div_ceil(TICK.as_nanos());
        Self::number(u64::try_from(ticks).unwrap_or(u64::MAX))
    }

    fn time(self) -> Duration {
        Duration::from_millis(self.ticks().saturating_mul(TICK.as_millis() as u64))
    }

    fn slot(self) -> usize {
        (self.ticks() % SLOTS as u64) as usize
    }

    fn after(self, ticks: usize) -> Self {
        Self(self.0.saturating_add(ticks as u64))
    }
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            slots: vec![Vec::new(); SLOTS].into(),
            next: Tick::number(0),
            occupied: None,
        }
    }
}

impl Timers {
    /// The tick for a timer at this time.
    pub(super) fn tick(&self, at: Duration) -> Tick {
        Tick::not_before(at).max(self.next)
    }

    /// Sets a timer for a connection. The caller stores the tick with the client.
    pub(super) fn set(&mut self, tick: Tick, index: usize) {
        if let Some(slot) = self.slots.get_mut(tick.slot()) {
            slot.push(index);
        }
        let turns = SLOTS as u64;
        let reached = self.next.after((tick.since(self.next) % turns) as usize);
        self.occupied = Some(self.occupied.map_or(reached, |tick| tick.min(reached)));
    }

    /// When to look at the wheel next. No timer may be due then.
    pub(super) fn next(&self) -> Option<Duration> {
        self.occupied.map(Tick::time)
    }

    /// Moves the connections whose timers are due into `due`. `timer` returns the tick that a
    /// connection has stored.
    ///
    /// A connection may appear twice. Its timer must be served only once.
    pub(super) fn take_due(
        &mut self,
        now: Duration,
        due: &mut Vec<usize>,
        timer: impl Fn(usize) -> Option<Tick>,
    ) {
        let latest = Tick::latest(now);
        if self.occupied.is_none_or(|occupied| occupied > latest) {
            self.next = self.next.max(latest.after(1));
            return;
        }
        let mut tick = self.next;
        for _ in 0..SLOTS {
            if tick > latest {
                break;
            }
            if let Some(slot) = self.slots.get_mut(tick.slot()) {
                let mut waiting = std::mem::take(slot);
                waiting.retain(|index| match timer(*index) {
                    Some(counts) if counts.slot() != tick.slot() => false,
                    Some(counts) if counts <= latest => {
                        due.push(*index);
                        false
                    }
                    Some(_) => true,
                    None => false,
                });
                if !waiting.is_empty() {
                    waiting.sort_unstable();
                    waiting.dedup();
                    waiting.shrink_to_fit();
                    *slot = waiting;
                }
            }
            tick = tick.after(1);
        }
        self.next = latest.after(1);
        self.occupied = (0..SLOTS)
            .map(|ticks| self.next.after(ticks))
            .find(|tick| self.slots.get(tick.slot()).is_some_and(|it| !it.is_empty()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    /// A wheel, and the ticks that clients would store.
    struct World {
        timers: Timers,
        counts: HashMap<usize, Tick>,
    }

    impl World {
        fn new() -> Self {
            Self {
                timers: Timers::default(),
                counts: HashMap::new(),
            }
        }

        fn set(&mut self, index: usize, millis: u64) {
            let tick = self.timers.tick(Duration::from_millis(millis));
            self.counts.insert(index, tick);
            self.timers.set(tick, index);
        }

        /// The connections whose timers are due, each once.
        fn at(&mut self, millis: u64) -> Vec<usize> {
            let (mut due, now) = (Vec::new(), Duration::from_millis(millis));
            let counts = &self.counts;
            self.timers
                .take_due(now, &mut due, |index| counts.get(&index).copied());
            due.retain(|index| self.counts.remove(index).is_some());
            due
        }

        fn next(&self) -> Option<u64> {
            let next = self.timers.next();
            next.map(|next| u64::try_from(next.as_millis()).unwrap())
        }

        fn entries(&self) -> usize {
            self.timers.slots.iter().map(Vec::len).sum()
        }
    }

    #[test]
    fn a_timer_comes_within_a_tick_and_never_early() {
        let mut world = World::new();
        world.set(1, 120);
        world.set(2, 150);
        world.set(3, 151);
        assert_eq!(world.next(), Some(150));
        assert_eq!(world.at(149), [0; 0]);
        assert_eq!(world.at(150), [1, 2]);
        assert_eq!((world.at(199), world.next()), (vec![], Some(200)));
        assert_eq!((world.at(200), world.next()), (vec![3], None));
    }

    #[test]
    fn what_is_overdue_when_it_is_set_comes_at_the_next_tick() {
        let mut world = World::new();
        assert_eq!(world.at(10_000), [0; 0]);
        world.set(1, 20);
        assert_eq!(world.next(), Some(10_050));
        assert_eq!(world.at(10_049), [0; 0]);
        assert_eq!(world.at(10_050), [1]);
    }

    #[test]
    fn an_earlier_timer_outlives_the_later_one() {
        let mut world = World::new();
        world.set(1, 500);
        world.set(1, 100);
        assert_eq!(world.at(100), [1]);
        // The place has another client now.
        world.set(1, 700);
        assert_eq!(world.at(500), [0; 0]);
        assert_eq!(world.at(700), [1]);
        assert_eq!(world.entries(), 0);
    }

    #[test]
    fn a_timer_waits_for_as_many_turns_as_it_has_to() {
        let turn = SLOTS as u64 * 50;
        let mut world = World::new();
        world.set(1, 3 * turn + 100);
        world.set(2, 100);
        assert_eq!(world.at(100), [2]);
        for turns in 1..3 {
            // Set again and again, it stands there once after a look.
            world.set(1, 3 * turn + 100);
            assert_eq!(world.next(), Some(turns * turn + 100));
            assert_eq!(world.at(turns * turn + 100), [0; 0]);
            assert_eq!(world.entries(), 1);
        }
        assert_eq!(world.at(3 * turn + 99), [0; 0]);
        assert_eq!(world.at(3 * turn + 100), [1]);
    }

    #[test]
    fn a_long_sleep_loses_nothing() {
        let mut world = World::new();
        for index in 0..2000 {
            world.set(index, index as u64 * 37);
        }
        let mut due = world.at(40_000);
        due.sort_unstable();
        assert_eq!(due, (0..=1081).collect::<Vec<_>>());
        assert_eq!(world.at(1_000_000).len(), 2000 - 1082);
        assert_eq!((world.entries(), world.next()), (0, None));
    }

    #[test]
    fn idle_memory_is_given_back() {
        let mut world = World::new();
        for round in 1..100 {
            for index in 0..100 {
                world.set(index, round * 170);
            }
            assert_eq!(world.at(round * 170 + 50).len(), 100);
        }
        let room: usize = world.timers.slots.iter().map(Vec::capacity).sum();
        assert_eq!(room, 0);
    }
}
