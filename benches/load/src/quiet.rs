//! Whether the machine has other work. Figures of a busy machine mean little, and not only because
//! they are worse: on a processor that never sleeps, paced runs look cheaper.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The share of the processors' time, of 1, above which a machine counts as busy.
const BUSY: f64 = 0.12;
const LOOK: Duration = Duration::from_millis(400);
const PATIENCE: Duration = Duration::from_secs(10);

/// Waits a while for the machine to become quiet. Returns whether it did.
pub fn wait() -> bool {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let before = Times::now();
        sleep(LOOK);
        if Times::now().busy_since(before) < BUSY {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
    }
}

/// The times of all processors together, in ticks.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Times {
    busy: f64,
    idle: f64,
}

impl Times {
    fn now() -> Self {
        Self::read(&fs::read_to_string("/proc/stat").unwrap_or_default())
    }

    fn read(stat: &str) -> Self {
        let line = stat.lines().next().unwrap_or_default();
        let ticks = line
            .split_whitespace()
            .skip(1)
            .take(8)
            .map(|text| text.parse().unwrap_or(0.0));
        let mut times = Self {
            busy: 0.0,
            idle: 0.0,
        };
        for (column, ticks) in ticks.enumerate() {
            // user, nice, system, idle, waiting for disks, interrupts (two), taken by the host
            match column {
                3 | 4 => times.idle += ticks,
                _ => times.busy += ticks,
            }
        }
        times
    }

    fn busy_since(self, before: Self) -> f64 {
        let (busy, idle) = (self.busy - before.busy, self.idle - before.idle);
        if busy + idle > 0.0 {
            busy / (busy + idle)
        } else {
            0.0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busy_share_is_read_from_the_kernels_counters() {
        let before = Times::read("cpu  10 0 10 80 0 0 0 0 0 0\ncpu0 1 1 1 1\n");
        let after = Times::read("cpu  20 0 20 150 10 0 0 0 0 0\n");
        assert!((after.busy_since(before) - 0.2).abs() < 1e-9);
        assert!((before.busy_since(before)).abs() < 1e-9);
    }
}
