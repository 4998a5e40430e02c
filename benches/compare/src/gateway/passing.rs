//! What it costs to pass a message on, beside one read and one write.

use updraft_load::Pace;

use super::options::Options;
use super::rounds::{Rounds, between};
use super::ways::{Clients, Way, World};
use crate::tables::{figure, heading, row};

const WAYS: [Way; 3] = [Way::Relay, Way::Gateway, Way::GatewaySockJs];
const CLIENTS: usize = 200;
/// Messages a second, of all clients together.
const RATE: usize = 10_000;
/// How many messages may wait for each client where as many pass as can.
const WAITING: u64 = 16;

/// What passes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Traffic {
    /// From the app: each message alone.
    Changes,
    /// To the app and back.
    Calls,
    /// From the app: as many as can.
    ManyChanges,
}

const CASES: [(Traffic, usize); 6] = [
    (Traffic::Changes, 200),
    (Traffic::Changes, 4096),
    (Traffic::Calls, 200),
    (Traffic::Calls, 4096),
    (Traffic::ManyChanges, 200),
    (Traffic::ManyChanges, 4096),
];

pub(super) fn measure(world: &World, options: &Options) -> Result<String, String> {
    let mut rows = String::new();
    for (traffic, size) in CASES {
        let count = options.count(CLIENTS);
        let clients = Clients {
            count,
            size,
            pace: match traffic {
                Traffic::Changes => Pace::Rate((RATE / CLIENTS) as f64),
                Traffic::Calls => Pace::Calls((options.count(RATE) / 2) as f64),
                Traffic::ManyChanges => Pace::Window(WAITING * count as u64),
            },
            time: options.time(4),
            publication: "things",
        };
        let rounds = Rounds::run(options, &WAYS, |way| world.clients(way, &clients))?;
        for (number, way) in WAYS.iter().enumerate().skip(1) {
            let what = match traffic {
                Traffic::Changes => "`changed`",
                Traffic::Calls => "call and answer",
                Traffic::ManyChanges => "`changed`, as many as can",
            };
            let goal = match (traffic, way) {
                (Traffic::ManyChanges, _) => None,
                (_, Way::GatewaySockJs) => Some("≤ 2".to_owned()),
                _ => Some("≤ 1.5".to_owned()),
            };
            let ratios = rounds.ratios((number, 0), between);
            let (ratio, range) = ratios.unzip();
            let cells = [
                figure(ratio),
                goal,
                range,
                figure(rounds.median(number, between)),
                figure(rounds.median(0, between)),
            ];
            let row = row(
                &format!("{what}, {size} bytes, {}", way.name()),
                cells.into_iter(),
            );
            print!("{row}");
            rows += &row;
        }
    }
    let titles = ["CPU, × a relay", "goal", "rounds", "µs CPU", "of a relay"];
    Ok(heading("message", &titles) + &rows)
}
