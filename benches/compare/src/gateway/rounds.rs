//! Several ways in turn, so that other work on the machine hits all of them.

use updraft_load::Report;

use super::options::Options;
use crate::results::median;
use crate::tables::figure;

/// The reports of each way, one for each round.
pub(super) struct Rounds(Vec<Vec<Report>>);

impl Rounds {
    /// Runs all of these ways in each round.
    pub(super) fn run<W: Copy>(
        options: &Options,
        ways: &[W],
        mut run: impl FnMut(W) -> Result<Report, String>,
    ) -> Result<Self, String> {
        let mut reports = vec![Vec::new(); ways.len()];
        for round in 0..options.rounds {
            for turn in 0..ways.len() {
                // Who is second finds warmer caches.
                let number = if round % 2 == 0 {
                    turn
                } else {
                    ways.len() - 1 - turn
                };
                reports[number].push(run(ways[number])?);
            }
        }
        Ok(Self(reports))
    }

    /// The median of a way.
    pub(super) fn median(&self, way: usize, value: impl Fn(&Report) -> Option<f64>) -> Option<f64> {
        median(self.0.get(way)?.iter().filter_map(value).collect())
    }

    /// The least of a way: that of the round in which the machine had least other work.
    pub(super) fn least(&self, way: usize, value: impl Fn(&Report) -> Option<f64>) -> Option<f64> {
        let values = self.0.get(way)?.iter().filter_map(value);
        values.min_by(f64::total_cmp)
    }

    /// The ratios of one way to another: the median, and the least and the greatest.
    pub(super) fn ratios(
        &self,
        (way, base): (usize, usize),
        value: impl Fn(&Report) -> Option<f64>,
    ) -> Option<(f64, String)> {
        let pairs = self.0.get(way)?.iter().zip(self.0.get(base)?);
        let ratios = pairs.filter_map(|(way, base)| Some(value(way)? / value(base)?));
        let mut ratios: Vec<f64> = ratios.collect();
        ratios.sort_by(f64::total_cmp);
        let (least, greatest) = (
            figure(ratios.first().copied())?,
            figure(ratios.last().copied())?,
        );
        Some((median(ratios)?, format!("{least}–{greatest}")))
    }
}

/// Microseconds of CPU of what stands between, for each delivery.
pub(super) fn between(report: &Report) -> Option<f64> {
    report.cpu_per_delivery("between")
}
