//! The processes of a run, each on processors of its own.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use updraft_load::Report;
use updraft_test_support::process::free_port;

use crate::workspace::{is_installed, target};

/// The processor of everything that is not measured.
pub(crate) const LOAD_ON: usize = 1;
const START: Duration = Duration::from_secs(10);

/// Makes the folder of the runs, and says which of the programs that all need is missing.
pub(crate) fn prepare() -> Result<(), String> {
    let folder = target().join("bench");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for (program, package) in [("redis-server", "redis-server"), ("taskset", "util-linux")] {
        if !is_installed(program) {
            return Err(format!("{program} is missing (Debian package {package})"));
        }
    }
    Ok(())
}

/// A port of the loopback interface.
pub(crate) fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Runs the load generator on one processor.
pub(crate) fn load(processor: usize, task: &str, job: &str) -> Result<Report, String> {
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

/// A child process that ends with its owner.
pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) port: u16,
}

impl Process {
    /// Starts the process and waits until it accepts connections.
    pub(crate) fn start(processors: &str, command: &[String], port: u16) -> Result<Self, String> {
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

/// Starts Redis.
pub(crate) fn start_redis() -> Result<Process, String> {
    let port = free_port();
    let command = format!(
        "redis-server --port {port} --bind 127.0.0.1 --save '' --appendonly no --maxclients 1000 \
         --client-output-buffer-limit pubsub 0 0 0"
    );
    let command = ["sh".into(), "-c".into(), format!("exec {command}")];
    Process::start(&LOAD_ON.to_string(), &command, port)
}
