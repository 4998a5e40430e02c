//! Latencies, counted in steps of about 3 %.

use std::time::Duration;

use crate::report::Latency;

/// Steps between one power of two and the next.
const STEPS: u64 = 32;

/// Counts microseconds.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Histogram {
    pub(crate) fn add(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        let step = step(micros);
        if self.counts.len() <= step {
            self.counts.resize(step + 1, 0);
        }
        self.counts[step] += 1;
        self.total += 1;
        self.max = self.max.max(micros);
    }

    /// `None` if nothing was counted.
    pub(crate) fn latency(&self) -> Option<Latency> {
        (self.total > 0).then(|| Latency {
            p50: self.quantile(50),
            p99: self.quantile(99),
            max: self.max,
        })
    }

    fn quantile(&self, percent: u64) -> u64 {
        let wanted = (self.total * percent).div_ceil(100);
        let mut sum = 0;
        for (step, count) in self.counts.iter().enumerate() {
            sum += count;
            if sum >= wanted {
                return least(step as u64);
            }
        }
        self.max
    }
}

/// Values below `STEPS` have a step each; above, each power of two has `STEPS` steps.
fn step(micros: u64) -> usize {
    if micros < STEPS {
        return micros as usize;
    }
    let power = micros.ilog2() - STEPS.ilog2();
    (u64::from(power) * STEPS + (micros >> power)) as usize
}

/// The smallest value of a step.
fn least(step: u64) -> u64 {
    if step < 2 * STEPS {
        return step;
    }
    let power = step / STEPS - 1;
    (step - power * STEPS) << power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_within_a_thirtieth_of_its_values() {
        for micros in (0..5_000_000).step_by(37) {
            let least = least(step(micros) as u64);
            assert!(
                least <= micros && micros - least <= micros / 30,
                "{micros} {least}"
            );
        }
    }

    #[test]
    fn quantiles_are_those_of_the_values() {
        let mut histogram = Histogram::default();
        assert!(histogram.latency().is_none());
        for micros in 1..=100 {
            histogram.add(Duration::from_micros(micros));
        }
        let latency = histogram.latency().unwrap();
        assert_eq!((latency.p50, latency.max), (50, 100));
        assert!((96..=99).contains(&latency.p99));
    }
}
