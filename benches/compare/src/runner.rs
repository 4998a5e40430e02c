//! Starts a server on one processor, and Redis and the load generator on the other; one run at a
//! time.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use updraft_load::{Feed, Job, Limit, Pace, Report};
use updraft_test_support::process::free_port;

use crate::measures::Case;
use crate::options::Options;
use crate::servers::{Program, SERVERS, Server, find, install_peers};
use crate::workspace::{cargo, is_installed, run, target};

/// The processors that a server runs on: with one shard, and with more.
const SERVER_ON: [&str; 2] = ["0", "0,1"];
/// The processor of everything else.
const LOAD_ON: usize = 1;
const START: Duration = Duration::from_secs(10);
/// How long a server that has just started is left alone before it is measured.
const STARTUP_PAUSE: Duration = Duration::from_millis(700);

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
        let folder = target().join("bench");
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        for (program, package) in [("redis-server", "redis-server"), ("taskset", "util-linux")] {
            if !is_installed(program) {
                return Err(format!("{program} is missing (Debian package {package})"));
            }
        }
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

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Runs the load generator on one processor.
fn load(processor: usize, task: &str, job: &str) -> Result<Report, String> {
    let program: PathBuf = target().join("release/updraft-load");
    let arguments = [
        program.to_string_lossy().into_owned(),
        task.into(),
        job.into(),
    ];
    let output = pinned(&processor.to_string(), &arguments)
        .output()
        .map_err(|error| format!("updraft-load: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    serde_json::from_slice(&output.stdout).map_err(|error| format!("updraft-load: {error}"))
}

/// A command on some processors, with as many open files as the machine allows. The process keeps
/// its id.
fn pinned(processors: &str, command: &[String]) -> Command {
    let mut pinned = Command::new("taskset");
    pinned
        .args(["-c", processors, "sh", "-c"])
        .arg(r#"ulimit -n "$(ulimit -Hn)"; PATH="$PATH:/usr/sbin" exec "$@""#)
        .arg("sh")
        .args(command)
        .stdin(Stdio::null());
    pinned
}

fn start_redis() -> Result<Process, String> {
    let port = free_port();
    let command = format!(
        "redis-server --port {port} --bind 127.0.0.1 --save '' --appendonly no --maxclients 1000 \
         --client-output-buffer-limit pubsub 0 0 0"
    );
    let command = ["sh".into(), "-c".into(), format!("exec {command}")];
    Process::start(&LOAD_ON.to_string(), &command, port)
}

/// A child process that ends with its owner.
struct Process {
    child: Child,
    port: u16,
}

impl Process {
    /// Starts the process and waits until it accepts connections.
    fn start(processors: &str, command: &[String], port: u16) -> Result<Self, String> {
        let mut pinned = pinned(processors, command);
        let log = target().join("bench/server.log");
        let error = |error| format!("{}: {error}", log.display());
        pinned.stdout(File::create(&log).map_err(error)?);
        pinned.stderr(File::options().append(true).open(&log).map_err(error)?);
        let child = pinned.spawn();
        let child = child.map_err(|error| format!("taskset: {error}"))?;
        let mut process = Self { child, port };
        let deadline = Instant::now() + START;
        while TcpStream::connect(local(port)).is_err() {
            if let Ok(Some(status)) = process.child.try_wait() {
                let words = fs::read_to_string(&log).unwrap_or_default();
                return Err(format!("the server ended with {status}: {}", words.trim()));
            }
            if Instant::now() > deadline {
                return Err("the server does not accept".into());
            }
            sleep(Duration::from_millis(20));
        }
        Ok(process)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if the process has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
