//! Two ways to do the same, in turn, so that other work on the machine hits both.

use std::fs;
use std::time::{Duration, Instant};

use updraft_load::quiet;

use crate::Failure;
use crate::options::Options;

/// What the rounds found.
pub(crate) struct Outcome {
    /// Medians.
    pub(crate) topics: f64,
    pub(crate) bare: f64,
    /// The median, and the least and the greatest, of the ratios of the rounds.
    pub(crate) ratio: f64,
    pub(crate) least: f64,
    pub(crate) greatest: f64,
    /// Whether the machine was busy with something else when the rounds began.
    pub(crate) is_busy: bool,
}

/// Runs both in turn, and first each once, which does not count. Each answers its figure.
pub(crate) fn compare(
    options: &Options,
    mut topics: impl FnMut() -> Result<f64, Failure>,
    mut bare: impl FnMut() -> Result<f64, Failure>,
) -> Result<Outcome, Failure> {
    let is_quick = options.shorter > 1;
    if !is_quick {
        topics()?;
        bare()?;
    }
    let mut rounds = Vec::new();
    let is_busy = !is_quick && !quiet::wait();
    for round in 0..options.rounds {
        // Who is second finds warmer caches.
        let (ours, others) = if round % 2 == 0 {
            let ours = topics()?;
            (ours, bare()?)
        } else {
            let others = bare()?;
            (topics()?, others)
        };
        rounds.push((ours, others));
    }
    let sorted = |value: fn(&(f64, f64)) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values
    };
    let ratios = sorted(|(ours, others)| ours / others);
    Ok(Outcome {
        topics: median(&sorted(|round| round.0)),
        bare: median(&sorted(|round| round.1)),
        ratio: median(&ratios),
        least: ratios.first().copied().unwrap_or_default(),
        greatest: ratios.last().copied().unwrap_or_default(),
        is_busy,
    })
}

/// The median of sorted values.
pub(crate) fn median(sorted: &[f64]) -> f64 {
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// The time that this thread has had a processor, which no other program's work adds to.
pub(crate) fn thread_time() -> Result<Duration, Failure> {
    // A switch to another thread brings the kernel's count up to date.
    std::thread::yield_now();
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanos = text.split(' ').next().unwrap_or_default().parse()?;
    Ok(Duration::from_nanos(nanos))
}

/// So many things a second of this thread's own time.
pub(crate) fn per_second_of_thread(
    count: usize,
    work: impl FnOnce() -> Result<(), Failure>,
) -> Result<f64, Failure> {
    let began = thread_time()?;
    work()?;
    let taken = thread_time()?.saturating_sub(began);
    Ok(count as f64 / taken.as_secs_f64())
}

/// So many things a second.
pub(crate) fn per_second(
    count: usize,
    work: impl FnOnce() -> Result<(), Failure>,
) -> Result<f64, Failure> {
    let began = Instant::now();
    work()?;
    Ok(count as f64 / began.elapsed().as_secs_f64())
}

/// The median time of one, in µs.
pub(crate) fn micros_of_one(
    count: usize,
    mut one: impl FnMut() -> Result<(), Failure>,
) -> Result<f64, Failure> {
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let began = Instant::now();
        one()?;
        times.push(began.elapsed().as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    Ok(median(&times))
}
