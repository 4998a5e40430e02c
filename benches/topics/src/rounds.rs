//! Two ways to do the same, in turn, so that other work on the machine hits both.

use std::fs;
use std::time::{Duration, Instant};

use updraft_load::quiet;

use crate::Failure;
use crate::options::Options;

/// Which values are good.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Good {
    High,
    Low,
}

/// What one way took in one round.
#[derive(Clone, Copy)]
pub(crate) struct Figure {
    /// Records in a second, or the µs of one.
    pub(crate) value: f64,
    /// µs of this process' CPU time for each. Other programs do not add to it.
    pub(crate) cpu: f64,
}

/// What the rounds found: medians.
pub(crate) struct Outcome {
    pub(crate) topics: Figure,
    pub(crate) bare: Figure,
    /// Of the values of each round, and the least and the greatest of these ratios.
    pub(crate) ratio: f64,
    pub(crate) least: f64,
    pub(crate) greatest: f64,
    /// The ratio of the best round of the one to the best of the other: what is left of it when
    /// the machine has other work in most rounds.
    pub(crate) best: f64,
    /// Whether the machine was busy with something else when the rounds began.
    pub(crate) is_busy: bool,
}

/// Runs both in turn, and first each once, which does not count.
pub(crate) fn compare(
    options: &Options,
    good: Good,
    mut topics: impl FnMut() -> Result<Figure, Failure>,
    mut bare: impl FnMut() -> Result<Figure, Failure>,
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
    let sorted = |value: fn(&(Figure, Figure)) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values
    };
    let best = |sorted: Vec<f64>| {
        let best = match good {
            Good::High => sorted.last(),
            Good::Low => sorted.first(),
        };
        best.copied().unwrap_or_default()
    };
    let best = best(sorted(|round| round.0.value)) / best(sorted(|round| round.1.value));
    let ratios = sorted(|(ours, others)| ours.value / others.value);
    Ok(Outcome {
        topics: Figure {
            value: median(&sorted(|round| round.0.value)),
            cpu: median(&sorted(|round| round.0.cpu)),
        },
        bare: Figure {
            value: median(&sorted(|round| round.1.value)),
            cpu: median(&sorted(|round| round.1.cpu)),
        },
        ratio: median(&ratios),
        least: ratios.first().copied().unwrap_or_default(),
        greatest: ratios.last().copied().unwrap_or_default(),
        best,
        is_busy,
    })
}

/// The median of sorted values.
pub(crate) fn median(sorted: &[f64]) -> f64 {
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// Records in a second of CPU time, of work on one thread.
pub(crate) fn per_second_of_cpu(
    count: usize,
    work: impl FnOnce() -> Result<(), Failure>,
) -> Result<Figure, Failure> {
    let figure = per_second(count, work)?;
    Ok(Figure {
        value: 1e6 / figure.cpu,
        ..figure
    })
}

/// Records in a second.
pub(crate) fn per_second(
    count: usize,
    work: impl FnOnce() -> Result<(), Failure>,
) -> Result<Figure, Failure> {
    let (began, used) = (Instant::now(), cpu_time()?);
    work()?;
    let taken = began.elapsed().as_secs_f64();
    let used = cpu_time()?.saturating_sub(used);
    Ok(Figure {
        value: count as f64 / taken,
        cpu: used.as_secs_f64() * 1e6 / count as f64,
    })
}

/// The median time of one, in µs.
pub(crate) fn micros_of_one(
    count: usize,
    mut one: impl FnMut() -> Result<(), Failure>,
) -> Result<Figure, Failure> {
    let mut times = Vec::with_capacity(count);
    let figure = per_second(count, || {
        for _ in 0..count {
            let began = Instant::now();
            one()?;
            times.push(began.elapsed().as_secs_f64() * 1e6);
        }
        Ok(())
    })?;
    times.sort_by(f64::total_cmp);
    Ok(Figure {
        value: median(&times),
        ..figure
    })
}

/// What work costs that a process does with a server, for each record.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    /// Records in a second.
    pub(crate) per_second: f64,
    /// µs of CPU time of the process.
    pub(crate) workers: f64,
    /// µs of CPU time of the server, or 0 without one.
    pub(crate) server: f64,
}

/// Measures the cost of what happens between its start and its stop.
pub(crate) struct Meter {
    began: Instant,
    /// The process and the server, each with the CPU time it had used.
    workers: (u32, Duration),
    server: Option<(u32, Duration)>,
}

impl Meter {
    pub(crate) fn start(workers: u32, server: Option<u32>) -> Result<Self, Failure> {
        let used = |process| Ok::<_, Failure>((process, cpu_time_of(process)?));
        Ok(Self {
            workers: used(workers)?,
            server: server.map(used).transpose()?,
            began: Instant::now(),
        })
    }

    pub(crate) fn stop(self, count: usize) -> Result<Cost, Failure> {
        let taken = self.began.elapsed().as_secs_f64();
        let micros = |(process, before)| {
            let used = cpu_time_of(process)?.saturating_sub(before);
            Ok::<_, Failure>(used.as_secs_f64() * 1e6 / count as f64)
        };
        Ok(Cost {
            per_second: count as f64 / taken,
            workers: micros(self.workers)?,
            server: self.server.map_or(Ok(0.0), micros)?,
        })
    }
}

/// The CPU time of all threads of this process.
pub(crate) fn cpu_time() -> Result<Duration, Failure> {
    cpu_time_of(std::process::id())
}

/// The CPU time of all threads of a process.
fn cpu_time_of(process: u32) -> Result<Duration, Failure> {
    // A switch to another thread brings the kernel's count up to date.
    std::thread::yield_now();
    let mut nanos: u64 = 0;
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let text = fs::read_to_string(thread?.path().join("schedstat"))?;
        nanos += text.split(' ').next().unwrap_or_default().parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanos))
}
