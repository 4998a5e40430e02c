//! What subscribers of Vent cost a Node server with Meteor's stack: when they are its own, and when
//! Updraft stands in front of it.

use std::collections::BTreeMap;
use std::thread::sleep;

use updraft_load::markdown::grouped;
use updraft_load::{Feed, Pace, Protocol, Report};
use updraft_test_support::process::free_port;

use super::options::Options;
use super::rounds::Rounds;
use super::ways::{BETWEEN_ON, Clients, World};
use crate::process::{Process, local};
use crate::runner::STARTUP_PAUSE;
use crate::servers::{install_peers, peers};
use crate::tables::{figure, heading, row};

const SUBSCRIBERS: [usize; 3] = [200, 1_000, 4_000];
/// Events a second, each for all subscribers.
const RATE: f64 = 5.0;

pub(super) fn measure(world: &World, options: &Options) -> Result<String, String> {
    install_peers()?;
    let mut rows = String::new();
    for count in SUBSCRIBERS {
        let clients = Clients {
            count: options.count(count),
            size: 200,
            pace: Pace::Rate(RATE),
            time: options.time(10),
            publication: "feed",
        };
        let rounds = Rounds::run(options, &[false, true], |is_behind| {
            let node = start_node(world)?;
            let mut processes = BTreeMap::from([("node".to_owned(), node.child.id())]);
            let feed = (Feed::Redis, local(world.redis().port));
            let path = "/sockjs/000/client{client}/websocket";
            if !is_behind {
                return clients.run((Protocol::SockJs, local(node.port), path), feed, processes);
            }
            // The Node server has all of DDP below this path, its bare WebSocket too.
            let updraft =
                world.start_updraft(Some(&format!("http://{}/sockjs", local(node.port))))?;
            processes.insert("updraft".to_owned(), updraft.child.id());
            let path = format!("/sockjs{path}");
            clients.run(
                (Protocol::SockJs, local(updraft.port), &path),
                feed,
                processes,
            )
        })?;
        let percent = |report: &Report, name: &str| {
            let usage = report.processes.get(name)?;
            Some((usage.user + usage.system) / report.time.as_secs_f64() * 1e2)
        };
        let node = |report: &Report| percent(report, "node");
        let updraft = |report: &Report| percent(report, "updraft");
        for (number, who) in ["the app alone", "**Updraft** in front of it"]
            .iter()
            .enumerate()
        {
            let latency = |value: fn(updraft_load::Latency) -> u64| {
                rounds.median(number, |report| Some(value(report.latency?) as f64 / 1e3))
            };
            let cells = [
                Some(grouped(count as f64)),
                figure(rounds.median(number, node)),
                figure(rounds.median(number, updraft)),
                figure(latency(|latency| latency.p50)),
                figure(latency(|latency| latency.p99)),
            ];
            let row = row(who, cells.into_iter());
            print!("{row}");
            rows += &row;
        }
    }
    let titles = [
        "subscribers",
        "the app's CPU, % of a core",
        "Updraft's",
        "p50 ms",
        "p99 ms",
    ];
    Ok(heading("who", &titles) + &rows)
}

fn start_node(world: &World) -> Result<Process, String> {
    let port = free_port();
    let command = [
        "env".to_owned(),
        format!("PORT={port}"),
        format!("REDIS_URL=redis://{}", local(world.redis().port)),
        "NODE_ENV=production".to_owned(),
        "node".to_owned(),
        peers().join("sockjs.js").to_string_lossy().into_owned(),
    ];
    let node = Process::start(BETWEEN_ON, &command, port)?;
    sleep(STARTUP_PAUSE);
    Ok(node)
}
