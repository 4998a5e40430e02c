//! What it costs to pass big bodies of HTTP.

use std::collections::BTreeMap;

use updraft_load::{Report, Transfer};

use super::options::Options;
use super::rounds::{Rounds, between};
use super::ways::{Way, World};
use crate::process::{LOAD_ON, load, local};
use crate::tables::{figure, heading, row};

const WAYS: [Way; 3] = [Way::Direct, Way::Relay, Way::Gateway];
const MIB: usize = 1024 * 1024;
const SIZE: usize = 16 * MIB;

pub(super) fn measure(world: &World, options: &Options) -> Result<String, String> {
    let mut rows = String::new();
    for is_upload in [false, true] {
        let run = |way| {
            let app = world.start_app("source")?;
            let way = world.start_between(way, app.port)?;
            let address = local(way.as_ref().map_or(app.port, |way| way.port));
            let mut processes = BTreeMap::from([("app".to_owned(), app.child.id())]);
            processes.extend(way.iter().map(|it| ("between".to_owned(), it.child.id())));
            let job = Transfer {
                address,
                connections: 4,
                requests: options.count(20),
                size: SIZE,
                is_upload,
                processes,
            };
            let job = serde_json::to_string(&job).map_err(|error| error.to_string())?;
            load(LOAD_ON, "transfer", &job)
        };
        let rounds = Rounds::run(options, &WAYS, run)?;
        let mib = |report: &Report| Some(report.per_second() * (SIZE / MIB) as f64);
        let cpu = |report: &Report| Some(between(report)? / (SIZE / MIB) as f64);
        let (ratio, range) = rounds.ratios((2, 1), between).unzip();
        let cells = [
            figure(ratio),
            range,
            figure(rounds.median(2, cpu)),
            figure(rounds.median(1, cpu)),
            figure(rounds.median(2, mib)),
            figure(rounds.median(1, mib)),
            figure(rounds.median(0, mib)),
        ];
        let what = if is_upload { "upload" } else { "download" };
        rows += &row(what, cells.into_iter());
    }
    let titles = [
        "CPU, × a relay",
        "rounds",
        "µs CPU a MiB",
        "of a relay",
        "MiB/s",
        "of a relay",
        "direct",
    ];
    Ok(heading("bodies of 16 MiB", &titles) + &rows)
}
