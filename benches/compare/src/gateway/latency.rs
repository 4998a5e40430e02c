//! How long a call waits for its answer.

use updraft_load::{Pace, Report};

use super::options::Options;
use super::rounds::Rounds;
use super::ways::{Clients, Way, World};
use crate::tables::{figure, heading, row};

const WAYS: [Way; 4] = [Way::Direct, Way::Relay, Way::Gateway, Way::GatewaySockJs];
const RATE: f64 = 500.0;
/// The most that may be added to the median, in milliseconds.
const GOAL: f64 = 0.15;

pub(super) fn measure(world: &World, options: &Options) -> Result<String, String> {
    let clients = Clients {
        count: options.count(100),
        size: 200,
        pace: Pace::Calls(RATE),
        time: options.time(5),
        publication: "things",
    };
    let rounds = Rounds::run(options, &WAYS, |way| world.clients(way, &clients))?;
    let p50 = |report: &Report| Some(report.latency?.p50 as f64 / 1e3);
    let p99 = |report: &Report| Some(report.latency?.p99 as f64 / 1e3);
    let direct = (
        rounds.median(0, p50),
        rounds.least(0, p50),
        rounds.median(0, p99),
    );
    let rows = WAYS.iter().enumerate().map(|(number, way)| {
        let (median, slow) = (rounds.median(number, p50), rounds.median(number, p99));
        let is_ours = matches!(way, Way::Gateway | Way::GatewaySockJs);
        let added = |value: Option<f64>, base: Option<f64>| {
            let added = value? - base?;
            figure(Some(added)).filter(|_| *way != Way::Direct)
        };
        let name = match way {
            Way::Direct => "direct".to_owned(),
            Way::Relay => "*a relay*".to_owned(),
            way => format!("**Updraft**, {}", way.name()),
        };
        let cells = [
            added(median, direct.0),
            is_ours.then(|| format!("≤ {GOAL}")),
            added(rounds.least(number, p50), direct.1),
            figure(median),
            added(slow, direct.2),
            figure(slow),
        ];
        row(&name, cells.into_iter())
    });
    let titles = [
        "p50, ms more",
        "goal",
        "best",
        "p50 ms",
        "p99, ms more",
        "p99 ms",
    ];
    Ok(heading("way", &titles) + &rows.collect::<String>())
}
