//! The memory of idle sessions.

use std::collections::BTreeMap;

use updraft_load::{Feed, Pace, Report};

use super::options::Options;
use super::rounds::Rounds;
use super::ways::{Clients, Way, World};
use crate::process::local;
use crate::tables::{figure, heading, row};

const SESSIONS: usize = 4_000;
/// The most KiB of a session.
const GOAL: usize = 6;

/// Who holds the sessions: a gateway, or Updraft with nothing behind it.
const CASES: [(bool, Way); 4] = [
    (true, Way::Gateway),
    (true, Way::GatewaySockJs),
    (false, Way::Gateway),
    (false, Way::GatewaySockJs),
];

pub(super) fn measure(world: &World, options: &Options) -> Result<String, String> {
    let rounds = Rounds::run(options, &CASES, |(is_gateway, way)| {
        let mut clients = Clients {
            count: options.count(SESSIONS),
            size: 200,
            pace: Pace::Idle,
            time: options.time(40),
            publication: "things",
        };
        if is_gateway {
            return world.clients(way, &clients);
        }
        clients.publication = "nothing";
        let alone = world.start_updraft(None)?;
        let processes = BTreeMap::from([("between".to_owned(), alone.child.id())]);
        let address = local(alone.port);
        let feed = (Feed::Redis, local(world.redis().port));
        clients.run((way.protocol(), address, way.path()), feed, processes)
    })?;
    let usage = |report: &Report| report.processes.get("between").copied();
    let kib = |report: &Report| Some(usage(report)?.kib_per_client);
    let connect = |report: &Report| Some(usage(report)?.connect_ms_per_client);
    let cpu = |report: &Report| {
        let usage = usage(report)?;
        Some((usage.user + usage.system) / report.time.as_secs_f64() * 1e2)
    };
    let rows = CASES.iter().enumerate().map(|(number, (is_gateway, way))| {
        let name = match is_gateway {
            true => format!("in front of an app, {}", way.name()),
            false => format!("nothing behind it, {}", way.name()),
        };
        let connect = rounds.median(number, connect);
        let cells = [
            figure(rounds.median(number, kib)),
            is_gateway.then(|| format!("≤ {GOAL}")),
            connect.map(|value| format!("{value:.3}")),
            figure(rounds.median(number, cpu)),
        ];
        row(&name, cells.into_iter())
    });
    let titles = [
        "KiB a session",
        "goal",
        "CPU ms to connect one",
        "CPU while idle, % of a core",
    ];
    Ok(heading("sessions", &titles) + &rows.collect::<String>())
}
