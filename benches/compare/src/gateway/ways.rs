//! The ways to the app: none but the connection itself, a relay, a gateway. A gateway or relay runs
//! on one processor, app and clients on the other.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::thread::sleep;
use std::time::Duration;

use updraft_load::{Feed, Job, Pace, Protocol, Report};
use updraft_test_support::process::free_port;

use super::options::Options;
use crate::process::{self, LOAD_ON, Process, load, local, start_redis};
use crate::runner::STARTUP_PAUSE;
use crate::workspace::{cargo, run, target};

/// The processor of what stands between.
pub(super) const BETWEEN_ON: &str = "0";

/// A way from clients to the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Direct,
    /// Bytes are copied, by one thread.
    Relay,
    /// Updraft, for clients that speak WebSocket.
    Gateway,
    /// Updraft, for clients that speak SockJS in a WebSocket.
    GatewaySockJs,
}

impl Way {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Relay => "relay",
            Self::Gateway => "WebSocket",
            Self::GatewaySockJs => "SockJS",
        }
    }

    pub(super) const fn protocol(self) -> Protocol {
        match self {
            Self::GatewaySockJs => Protocol::SockJs,
            _ => Protocol::Ddp,
        }
    }

    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::GatewaySockJs => "/sockjs/000/client{client}/websocket",
            _ => "/websocket",
        }
    }
}

/// What all runs need.
pub(super) struct World {
    redis: Process,
}

impl World {
    /// Builds what is measured.
    pub(super) fn prepare(_: &Options) -> Result<Self, String> {
        process::prepare()?;
        let packages = ["-p", "updraft-bench", "-p", "updraft-load"];
        run(cargo(&["build", "--release"]).args(packages))?;
        Ok(Self {
            redis: start_redis()?,
        })
    }

    pub(super) fn redis(&self) -> &Process {
        &self.redis
    }

    /// Starts a server of the load generator, `upstream` or `source`.
    pub(super) fn start_app(&self, task: &str) -> Result<Process, String> {
        let port = free_port();
        let command = [program("updraft-load"), task.into(), port.to_string()];
        Process::start(&LOAD_ON.to_string(), &command, port)
    }

    /// Starts what stands between clients and an app on this port.
    pub(super) fn start_between(&self, way: Way, app: u16) -> Result<Option<Process>, String> {
        match way {
            Way::Direct => Ok(None),
            Way::Relay => {
                let port = free_port();
                let (program, to) = (program("updraft-load"), local(app).to_string());
                let command = [program, "relay".into(), port.to_string(), to];
                Process::start(BETWEEN_ON, &command, port).map(Some)
            }
            Way::Gateway | Way::GatewaySockJs => self
                .start_updraft(Some(&format!("http://{}", local(app))))
                .map(Some),
        }
    }

    /// Starts Updraft, in front of an app or alone.
    pub(super) fn start_updraft(&self, meteor: Option<&str>) -> Result<Process, String> {
        let port = free_port();
        let mut command = vec!["env".into(), format!("PORT={port}"), "SHARDS=1".into()];
        command.push(format!("REDIS_URL=redis://{}", local(self.redis.port)));
        command.extend(meteor.map(|url| format!("METEOR={url}")));
        command.push(program("updraft-bench-server"));
        let process = Process::start(BETWEEN_ON, &command, port)?;
        sleep(STARTUP_PAUSE);
        Ok(process)
    }

    /// Runs clients of the app behind one of the ways.
    pub(super) fn clients(&self, way: Way, clients: &Clients) -> Result<Report, String> {
        let app = self.start_app("upstream")?;
        let between = self.start_between(way, app.port)?;
        let address = local(between.as_ref().map_or(app.port, |between| between.port));
        let mut processes = BTreeMap::from([("app".to_owned(), app.child.id())]);
        processes.extend(
            between
                .iter()
                .map(|it| ("between".to_owned(), it.child.id())),
        );
        let feed = (Feed::Upstream, local(app.port));
        clients.run((way.protocol(), address, way.path()), feed, processes)
    }
}

/// The clients of a run.
pub(super) struct Clients {
    pub(super) count: usize,
    pub(super) size: usize,
    pub(super) pace: Pace,
    pub(super) time: Duration,
    pub(super) publication: &'static str,
}

impl Clients {
    /// Runs them with this protocol against this address and path.
    pub(super) fn run(
        &self,
        (protocol, address, path): (Protocol, SocketAddr, &str),
        (feed, feed_address): (Feed, SocketAddr),
        processes: BTreeMap<String, u32>,
    ) -> Result<Report, String> {
        let job = Job {
            protocol,
            address,
            path: path.into(),
            publication: self.publication.into(),
            clients: self.count,
            channels: 1,
            size: self.size,
            pace: self.pace,
            warm_up: self.time / 4,
            time: self.time,
            silent: 0,
            feed,
            feed_address,
            processes,
        };
        let job = serde_json::to_string(&job).map_err(|error| error.to_string())?;
        let report = load(LOAD_ON, "fan-out", &job)?;
        let is_whole = report.lost == 0 && report.disordered == 0;
        match is_whole && (report.delivered > 0 || self.pace == Pace::Idle) {
            true => Ok(report),
            false => Err(format!(
                "{} messages came to {address}, {} were lost, {} came out of order",
                report.delivered, report.lost, report.disordered
            )),
        }
    }
}

fn program(name: &str) -> String {
    let path = target().join("release").join(name);
    path.to_string_lossy().into_owned()
}
