//! Starts a server on one processor, and Redis and the load generator on the other; one run at a
//! time.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::Duration;

use updraft_load::{Feed, Job, Limit, Pace, Report};
use updraft_test_support::process::free_port;

use crate::measures::Case;
use crate::options::Options;
use crate::process::{self, LOAD_ON, Process, load, local, start_redis};
use crate::servers::{Program, SERVERS, Server, find, install_peers};
use crate::workspace::{cargo, run};

/// The processors that a server runs on: with one shard, and with more.
const SERVER_ON: [&str; 2] = ["0", "0,1"];
/// How long a server that has just started is left alone before it is measured.
pub(crate) const STARTUP_PAUSE: Duration = Duration::from_millis(700);

/// What all runs need.
pub(crate) struct Runner {
    redis: Process,
    /// The servers that take part, and the reasons why others do not.
    servers: Vec<&'static Server>,
    missing: Vec<String>,
}

impl Runner {
    /// Builds and installs what is to be measured, and starts Redis.
    pub(crate) fn prepare(options: &Options) -> Result<Self, String> {
        process::prepare()?;
        run(&mut cargo(&[
            "build",
            "--release",
            "-p",
            "updraft-bench",
            "-p",
            "updraft-load",
        ]))?;
        let wanted = || {
            SERVERS
                .iter()
                .filter(|server| options.has_server(server.key))
        };
        let mut missing: Vec<String> = wanted().filter_map(Server::missing).collect();
        let mut servers: Vec<_> = wanted()
            .filter(|server| server.missing().is_none())
            .collect();
        let is_node = |server: &Server| matches!(server.program, Program::Node(_));
        if servers.iter().any(|server| is_node(server))
            && let Err(reason) = install_peers()
        {
            missing.push(format!(
                "the servers on Node: their packages are not installed ({reason})"
            ));
            servers.retain(|server| !is_node(server));
        }
        Ok(Self {
            redis: start_redis()?,
            servers,
            missing,
        })
    }

    /// The servers that cannot be compared on this machine, each with the reason.
    pub(crate) fn missing(&self) -> Vec<String> {
        self.missing.clone()
    }

    /// The servers that take part in a case.
    pub(crate) fn available(&self, case: &Case) -> Vec<&'static Server> {
        let servers = case.measure.servers().iter().filter_map(|key| find(key));
        servers
            .filter(|server| self.servers.iter().any(|other| other.key == server.key))
            .collect()
    }

    /// Measures one server.
    pub(crate) fn run(&mut self, server: &Server, case: &Case) -> Result<Report, String> {
        if let Program::Limit(frames_per_write) = server.program {
            return run_limit(case, frames_per_write);
        }
        let (port, feed_port) = (free_port(), free_port());
        let command = server.command(port, feed_port, self.redis.port, case)?;
        let processors = SERVER_ON
            .get(case.shards.min(2) - 1)
            .copied()
            .unwrap_or_default();
        let process = Process::start(processors, &command, port)?;
        sleep(STARTUP_PAUSE);
        let from_redis = matches!(server.program, Program::Updraft | Program::Node(_));
        let feed = case.feed.unwrap_or(server.feed);
        let feed_port = match feed {
            Feed::Method => port,
            _ if from_redis => self.redis.port,
            _ => feed_port,
        };
        let job = Job {
            protocol: server.protocol,
            address: local(port),
            path: server.path.into(),
            publication: case.publication.unwrap_or(server.publication).into(),
            clients: case.clients,
            channels: case.channels,
            size: case.size,
            pace: case.pace,
            warm_up: case.warm_up,
            time: case.time,
            silent: case.silent,
            feed,
            feed_address: local(feed_port),
            processes: BTreeMap::from([
                ("server".into(), process.child.id()),
                ("redis".into(), self.redis.child.id()),
            ]),
        };
        let job = serde_json::to_string(&job).map_err(|error| error.to_string())?;
        let report = load(LOAD_ON, "fan-out", &job)?;
        if report.delivered == 0 && case.pace != Pace::Idle {
            return Err("nothing was delivered".into());
        }
        Ok(report)
    }
}

fn run_limit(case: &Case, frames_per_write: usize) -> Result<Report, String> {
    let limit = Limit {
        connections: case.clients,
        size: case.size,
        frames_per_write,
        rate: match case.pace {
            Pace::Rate(rate) => Some(rate),
            _ => None,
        },
        time: case.time,
        drain_on: LOAD_ON,
    };
    let job = serde_json::to_string(&limit).map_err(|error| error.to_string())?;
    load(0, "limit", &job)
}
