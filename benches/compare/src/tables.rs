//! The medians of a run as Markdown, servers as rows, ratios to Updraft first: absolute figures do
//! not carry over to other machines.

use updraft_load::markdown::{self, grouped};

use crate::measures::{COSTS, MEASURES, Measure};
use crate::results::{Medians, Results};
use crate::servers::{Program, find};

/// The server to which ratios are taken.
const BASE: &str = "updraft";

/// A table for each measure with results, by the measure's key, and one for all the `costs`.
pub(crate) fn all(results: &Results) -> Vec<(&'static str, String)> {
    let is_measured = |measure: &Measure| !results.points(*measure).is_empty();
    let measured = MEASURES.into_iter().filter(is_measured);
    let mut tables: Vec<_> = measured
        .filter_map(|measure| Some((measure.key(), table(results, measure)?)))
        .collect();
    if COSTS.iter().any(is_measured) {
        tables.push(("costs", costs(results)));
    }
    tables
}

/// `None` for a measure that belongs in the table of `costs`.
fn table(results: &Results, measure: Measure) -> Option<String> {
    Some(match measure {
        Measure::Rate => flat(results, measure, &[CPU_RATIO, CPU, SPEED, P50, P99, LOST]),
        Measure::Saturated => flat(results, measure, &[SPEED_RATIO, SPEED, CPU, P50, P99, LOST]),
        Measure::Own => flat(results, measure, &[CPU_RATIO, CPU, SPEED, LOST]),
        Measure::Isolated => flat(results, measure, &[CPU_RATIO, CPU, SPEED, P50, P99, LOST]),
        Measure::Idle => flat(results, measure, &[MEMORY_RATIO, MEMORY, CONNECT, LOAD]),
        Measure::Clients | Measure::Channels | Measure::Size | Measure::Shards => {
            curve(results, measure)
        }
        Measure::Slow => slow(results),
        Measure::Storm => storm(results),
        Measure::Calls
        | Measure::Subscriptions
        | Measure::Follows
        | Measure::Logins
        | Measure::Documents => return None,
    })
}

/// A column: its title, and a row's cell from the row's figures and Updraft's.
type Column = (&'static str, fn(&Medians, &Medians) -> Option<String>);

const CPU_RATIO: Column = ("CPU, × Updraft", |row, base| ratio(row.cpu, base.cpu));
const SPEED_RATIO: Column = ("deliveries/s, × Updraft", |row, base| {
    ratio(row.per_second, base.per_second)
});
const MEMORY_RATIO: Column = ("memory, × Updraft", |row, base| {
    ratio(row.kib_per_client, base.kib_per_client)
});
const CPU: Column = ("µs CPU a delivery", |row, _| figure(row.cpu));
const SPEED: Column = ("deliveries/s", |row, _| Some(grouped(row.per_second?)));
const P50: Column = ("p50 ms", |row, _| figure(row.p50));
const P99: Column = ("p99 ms", |row, _| figure(row.p99));
const MEMORY: Column = ("KiB a client", |row, _| figure(row.kib_per_client));
const CONNECT: Column = ("CPU ms to connect one", |row, _| {
    Some(format!("{:.3}", row.connect_ms?))
});
const LOAD: Column = ("CPU while idle, % of a core", |row, _| figure(row.load));
const LOST: Column = ("lost, out of order", |row, _| {
    Some(format!("{}, {}", row.lost, row.disordered))
});

fn flat(results: &Results, measure: Measure, columns: &[Column]) -> String {
    let base = results.medians(measure, 0, BASE).unwrap_or_default();
    let titles: Vec<&str> = columns.iter().map(|(title, _)| *title).collect();
    let rows = measure.servers().iter().filter_map(|key| {
        let server = find(key)?;
        let medians = results.medians(measure, 0, key)?;
        // The limit has no clients that would time or count their messages.
        let is_limit = matches!(server.program, Program::Limit(_));
        let cells = columns
            .iter()
            .map(|(title, cell)| match is_limit && *title == LOST.0 {
                true => None,
                false => cell(&medians, &base),
            });
        Some(row(server.name, cells))
    });
    heading("server", &titles) + &rows.collect::<String>()
}

/// The measures that put many different loads on a server.
fn costs(results: &Results) -> String {
    let rows = COSTS.iter().flat_map(|measure| {
        let what = match measure {
            Measure::Calls => "method call",
            Measure::Subscriptions => "`sub` and `unsub`",
            Measure::Follows => "the same, of a channel of one's own",
            Measure::Logins => "login with a resume token",
            _ => "document changed for all, each",
        };
        let base = results.medians(*measure, 0, BASE).unwrap_or_default();
        measure.servers().iter().filter_map(move |key| {
            let medians = results.medians(*measure, 0, key)?;
            let cells = [CPU_RATIO, CPU, SPEED, P50, P99].map(|(_, cell)| cell(&medians, &base));
            let server = find(key)?.name;
            Some(row(
                what,
                [Some(server.to_owned())].into_iter().chain(cells),
            ))
        })
    });
    let titles = [
        "CPU, × Updraft",
        "µs CPU each",
        "a second",
        "p50 ms",
        "p99 ms",
    ];
    let rows: String = rows.collect();
    heading("what", &[&["server"][..], &titles].concat()) + &rows
}

/// The latency of clients that read, with and without others that do not.
fn slow(results: &Results) -> String {
    let p99 = |key: &str, point| results.medians(Measure::Slow, point, key)?.p99;
    let with = results.points(Measure::Slow).into_iter().max().unwrap_or(0);
    let rows = Measure::Slow.servers().iter().filter_map(|key| {
        let (without, with) = (p99(key, 0), p99(key, with));
        let cells = [ratio(with, without), figure(without), figure(with)];
        Some(row(find(key)?.name, cells.into_iter())).filter(|_| without.or(with).is_some())
    });
    let titles = ["p99, × without", "p99 ms without", "p99 ms with"];
    heading("server", &titles) + &rows.collect::<String>()
}

/// How long it takes until clients that come back have what they have missed.
fn storm(results: &Results) -> String {
    let points = results.points(Measure::Storm).into_iter();
    let rows = points.flat_map(|point| {
        let servers = Measure::Storm.servers().iter();
        servers.filter_map(move |key| {
            let medians = results.medians(Measure::Storm, point, key)?;
            let cells = [
                figure(medians.connecting),
                figure(medians.seconds),
                SPEED.1(&medians, &medians),
                CPU.1(&medians, &medians),
                LOST.1(&medians, &medians),
            ];
            let what = format!("{} missed by each", grouped(point as f64));
            Some(row(&what, cells.into_iter()))
        })
    });
    let titles = [
        "s until all are connected",
        "s from then until all have all",
        SPEED.0,
        CPU.0,
        LOST.0,
    ];
    heading("messages", &titles) + &rows.collect::<String>()
}

/// CPU for each delivery, a column for each point.
fn curve(results: &Results, measure: Measure) -> String {
    let points = results.points(measure);
    let titles: Vec<String> = points.iter().map(|point| grouped(*point as f64)).collect();
    let titles: Vec<&str> = titles.iter().map(String::as_str).collect();
    let rows = measure.servers().iter().filter_map(|key| {
        let server = find(key)?;
        let cpu = |point: &usize| results.medians(measure, *point, key)?.cpu;
        let cells: Vec<Option<f64>> = points.iter().map(cpu).collect();
        let measured = cells.iter().any(Option::is_some);
        measured.then(|| row(server.name, cells.into_iter().map(figure)))
    });
    heading("µs CPU a delivery", &titles) + &rows.collect::<String>()
}

pub(crate) fn heading(first: &str, titles: &[&str]) -> String {
    markdown::heading(&[&[first], titles].concat())
}

pub(crate) fn row(name: &str, cells: impl Iterator<Item = Option<String>>) -> String {
    let cells = cells.map(Option::unwrap_or_default);
    let cells: Vec<String> = [name.to_owned()].into_iter().chain(cells).collect();
    markdown::row(&cells)
}

pub(crate) fn ratio(value: Option<f64>, base: Option<f64>) -> Option<String> {
    let base = base.filter(|base| *base > 0.0)?;
    figure(Some(value? / base))
}

pub(crate) fn figure(value: Option<f64>) -> Option<String> {
    value.map(markdown::figure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_to_nothing_is_left_out() {
        assert_eq!(ratio(Some(2.0), None), None);
        assert_eq!(ratio(Some(2.0), Some(0.0)), None);
        assert_eq!(ratio(Some(2.0), Some(4.0)).unwrap(), "0.50");
    }
}
