//! The raw figures of a run: a line for the machine, then one for each measurement. Medians are
//! taken over the rounds.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use updraft_load::Report;

use crate::machine::Machine;
use crate::measures::{Case, Measure};

/// One measurement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Line {
    measure: String,
    point: usize,
    server: String,
    round: usize,
    /// Whether the machine had no other work when the measurement began.
    quiet: bool,
    report: Option<Report>,
    error: Option<String>,
}

/// All measurements of a run.
#[derive(Debug)]
pub(crate) struct Results {
    pub(crate) machine: Machine,
    lines: Vec<Line>,
}

/// The medians of the rounds of one server.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Medians {
    /// Microseconds of CPU for each delivery.
    pub(crate) cpu: Option<f64>,
    pub(crate) per_second: Option<f64>,
    /// Seconds until all were connected, and those that were measured.
    pub(crate) connecting: Option<f64>,
    pub(crate) seconds: Option<f64>,
    /// Milliseconds.
    pub(crate) p50: Option<f64>,
    pub(crate) p99: Option<f64>,
    pub(crate) kib_per_client: Option<f64>,
    pub(crate) connect_ms: Option<f64>,
    /// Percent of a processor.
    pub(crate) load: Option<f64>,
    /// In all rounds together.
    pub(crate) lost: u64,
    pub(crate) disordered: u64,
}

impl Line {
    pub(crate) fn new(
        case: &Case,
        server: &str,
        round: usize,
        quiet: bool,
        outcome: Result<Report, String>,
    ) -> Self {
        let (report, error) = match outcome {
            Ok(report) => (Some(report), None),
            Err(error) => (None, Some(error)),
        };
        Self {
            measure: case.measure.key().into(),
            point: case.point,
            server: server.into(),
            round,
            quiet,
            report,
            error,
        }
    }

    /// A line for the person who watches the run.
    pub(crate) fn summary(&self) -> String {
        let point = match self.point {
            0 => String::new(),
            point => format!(" {point}"),
        };
        let what = format!(
            "{}{point}, round {}, {}",
            self.measure,
            self.round + 1,
            self.server
        );
        let Some(report) = &self.report else {
            return format!(
                "{what}: failed: {}",
                self.error.as_deref().unwrap_or_default()
            );
        };
        let mut text = format!("{what}: {:.0} deliveries/s", report.per_second());
        if let Some(cpu) = report.cpu_per_delivery("server") {
            text += &format!(", {cpu:.2} µs CPU each");
        }
        if let Some(latency) = report.latency {
            text += &format!(", p50 {} µs, p99 {} µs", latency.p50, latency.p99);
        }
        if let Some(usage) = report
            .processes
            .get("server")
            .filter(|_| report.delivered == 0)
        {
            text += &format!(
                ", {:.2} KiB a client, {:.3} ms CPU to connect it",
                usage.kib_per_client, usage.connect_ms_per_client
            );
        }
        if report.lost + report.disordered > 0 {
            text += &format!(", LOST {}, DISORDERED {}", report.lost, report.disordered);
        }
        text
    }
}

impl Results {
    pub(crate) fn new(machine: Machine) -> Self {
        let lines = Vec::new();
        Self { machine, lines }
    }

    pub(crate) fn add(&mut self, line: Line) {
        self.lines.push(line);
    }

    pub(crate) fn save(&self, file: &Path) -> Result<(), String> {
        let lines = self.lines.iter().map(serde_json::to_string);
        let lines = std::iter::once(serde_json::to_string(&self.machine)).chain(lines);
        let lines: Result<Vec<String>, _> = lines.collect();
        let text = lines.map_err(|error| error.to_string())?.join("\n") + "\n";
        fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))
    }

    pub(crate) fn load(file: &Path) -> Result<Self, String> {
        let error = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
        let text = fs::read_to_string(file).map_err(|reason| error(&reason))?;
        let mut lines = text.lines();
        let machine = serde_json::from_str(lines.next().unwrap_or_default())
            .map_err(|reason| error(&reason))?;
        let lines: Result<_, _> = lines.map(serde_json::from_str).collect();
        let lines = lines.map_err(|reason| error(&reason))?;
        Ok(Self { machine, lines })
    }

    /// The measured points of a measure, in order.
    pub(crate) fn points(&self, measure: Measure) -> Vec<usize> {
        let lines = self
            .lines
            .iter()
            .filter(|line| line.measure == measure.key());
        let mut points: Vec<usize> = lines.map(|line| line.point).collect();
        points.sort_unstable();
        points.dedup();
        points
    }

    /// The medians of a server, if one of its rounds succeeded.
    pub(crate) fn medians(&self, measure: Measure, point: usize, server: &str) -> Option<Medians> {
        let lines = self.lines.iter().filter(|line| {
            line.measure == measure.key() && line.point == point && line.server == server
        });
        let reports: Vec<&Report> = lines.filter_map(|line| line.report.as_ref()).collect();
        if reports.is_empty() {
            return None;
        }
        let of = |value: &dyn Fn(&Report) -> Option<f64>| {
            median(reports.iter().filter_map(|report| value(report)).collect())
        };
        let usage = |report: &Report| report.processes.get("server").copied();
        Some(Medians {
            cpu: of(&|report| report.cpu_per_delivery("server")),
            per_second: of(&|report| (report.delivered > 0).then(|| report.per_second())),
            connecting: of(&|report| Some(report.connecting.as_secs_f64())),
            seconds: of(&|report| Some(report.time.as_secs_f64())),
            p50: of(&|report| Some(report.latency?.p50 as f64 / 1e3)),
            p99: of(&|report| Some(report.latency?.p99 as f64 / 1e3)),
            kib_per_client: of(&|report| Some(usage(report)?.kib_per_client)),
            connect_ms: of(&|report| Some(usage(report)?.connect_ms_per_client)),
            load: of(&|report| {
                let usage = usage(report)?;
                Some((usage.user + usage.system) / report.time.as_secs_f64() * 1e2)
            }),
            lost: reports.iter().map(|report| report.lost).sum(),
            disordered: reports.iter().map(|report| report.disordered).sum(),
        })
    }

    /// How many runs began while the machine had other work.
    pub(crate) fn busy(&self) -> usize {
        self.lines.iter().filter(|line| !line.quiet).count()
    }

    /// What went wrong, once for each server and point.
    pub(crate) fn failed(&self) -> Vec<String> {
        let failed = self.lines.iter().filter_map(|line| {
            let reason = match (&line.report, &line.error) {
                (_, Some(error)) => error.clone(),
                (Some(report), None) if report.lost > 0 => {
                    format!("{} deliveries lost", report.lost)
                }
                (Some(report), None) if report.disordered > 0 => {
                    format!("{} out of order", report.disordered)
                }
                _ => return None,
            };
            Some(format!(
                "{} {} {}: {reason}",
                line.measure, line.point, line.server
            ))
        });
        let mut failed: Vec<String> = failed.collect();
        failed.sort();
        failed.dedup();
        failed
    }
}

/// The value in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = values.get(middle)?;
    let lower = if values.len().is_multiple_of(2) {
        values.get(middle - 1)?
    } else {
        upper
    };
    Some(f64::midpoint(*lower, *upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 9.0]), Some(3.0));
        assert_eq!(median(vec![4.0, 1.0]), Some(2.5));
    }
}
