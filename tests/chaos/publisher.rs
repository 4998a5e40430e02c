//! Publishes numbered messages through Redis at a steady rate, with bursts and rubbish in between,
//! and restarts Redis where the plan says so. It ends with one last message per room, sent when the
//! server surely hears it.

use std::thread::sleep;
use std::time::{Duration, Instant};

use fastrand::Rng;
use redis::{Connection, Pipeline};
use updraft_test_support::eventually;
use updraft_test_support::redis::RedisServer;

use crate::round::Plan;
use crate::world::{BULK, Numbers, PATIENCE, ROOMS, channel};

/// How much a message of [`BULK`] carries besides its number.
const BULKY: usize = 32 * 1024;

/// How often one goes out.
const BULK_EVERY: Duration = Duration::from_millis(50);

pub(crate) struct Publisher<'a> {
    redis: &'a mut RedisServer,
    connection: Connection,
    numbers: &'a Numbers,
    rng: Rng,
    /// Messages published that are no message.
    rubbish: u64,
}

impl<'a> Publisher<'a> {
    pub(crate) fn new(redis: &'a mut RedisServer, numbers: &'a Numbers, rng: Rng) -> Self {
        Self {
            connection: redis.connection(),
            redis,
            numbers,
            rng,
            rubbish: 0,
        }
    }

    /// Publishes for as long as the plan says, and on until the round `may_end`. Answers how many
    /// messages that are none it has published.
    ///
    /// # Panics
    /// When the round may never end.
    pub(crate) fn run(mut self, plan: &Plan, may_end: impl Fn() -> bool) -> u64 {
        self.await_listeners();
        let begun = Instant::now();
        let every = Duration::from_secs(1) / plan.messages_per_second;
        let mut next = begun;
        let mut next_bulk = begun;
        let mut restarted = 0;
        while begun.elapsed() < plan.duration || !may_end() {
            assert!(
                begun.elapsed() < plan.duration + PATIENCE,
                "the round may not end"
            );
            // Evenly over the time, with none at either end.
            if restarted < plan.restarts
                && begun.elapsed() * (plan.restarts + 1) > plan.duration * (restarted + 1)
            {
                restarted += 1;
                self.await_listeners();
                self.redis.restart();
                self.connection = self.redis.connection();
            }
            let burst = if self.rng.u8(..) == 0 { 20 } else { 1 };
            let mut messages = Pipeline::new();
            for _ in 0..burst {
                let room = self.rng.usize(..ROOMS);
                let size = self.rng.usize(..200);
                self.add(&mut messages, room, size);
            }
            if self.rng.u8(..50) == 0 {
                self.add_rubbish(&mut messages);
            }
            if next_bulk.elapsed() > BULK_EVERY {
                next_bulk = Instant::now();
                self.add(&mut messages, BULK, BULKY);
            }
            self.send(&messages);
            next += every * burst;
            sleep(next.saturating_duration_since(Instant::now()));
        }
        self.finish();
        self.rubbish
    }

    fn add(&self, messages: &mut Pipeline, room: usize, size: usize) {
        let number = self.numbers.take(room);
        let payload = format!(r#"{{"n":{number},"text":"{}"}}"#, "x".repeat(size));
        messages.publish(channel(room), payload).ignore();
    }

    /// Nobody may notice these.
    fn add_rubbish(&mut self, messages: &mut Pipeline) {
        let nested = "[".repeat(65) + &"]".repeat(65);
        let large = format!(r#""{}""#, "x".repeat(1024 * 1024));
        let rubbish: &[u8] = match self.rng.u8(..6) {
            0 => b"",
            1 => br#"{"n":"#,
            2 => b"\"\xff\xfe\"",
            3 => nested.as_bytes(),
            4 => large.as_bytes(),
            _ => b"nonsense",
        };
        self.rubbish += 1;
        let room = self.rng.usize(..ROOMS);
        messages.publish(channel(room), rubbish).ignore();
        // Not dropped, but no event either.
        messages.publish(channel(room), "false").ignore();
    }

    /// After a restart the server needs a while to listen again; the last message must not fall
    /// into it.
    fn finish(&mut self) {
        self.await_listeners();
        let mut last = Pipeline::new();
        (0..=BULK).for_each(|room| self.add(&mut last, room, 1));
        self.send(&last);
    }

    /// Waits until the server follows every room.
    fn await_listeners(&self) {
        let deadline = Instant::now() + PATIENCE;
        for channel in (0..=BULK).map(channel) {
            while self.redis.numsub(&channel) == 0 {
                assert!(Instant::now() < deadline, "nobody listens to {channel}");
                sleep(Duration::from_millis(10));
            }
        }
    }

    fn send(&mut self, messages: &Pipeline) {
        let sent: redis::RedisResult<()> = messages.query(&mut self.connection);
        sent.expect("Redis takes messages");
    }
}

/// Waits until nobody follows any room.
pub(crate) fn await_silence(redis: &RedisServer) {
    for room in 0..=BULK {
        let channel = channel(room);
        eventually(&format!("{channel} is released"), || {
            redis.numsub(&channel) == 0
        });
    }
}
