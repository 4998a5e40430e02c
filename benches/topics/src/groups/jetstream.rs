//! JetStream, and the program in `benches/jetstream` whose workers read from it. That program is no
//! part of this one, so that its client of NATS is built by this bench only.

use std::fs;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use updraft_load::workspace::{cargo, root, run, target};
use updraft_test_support::process::{Process, free_port};

use crate::Failure;
use crate::options::Options;
use crate::scratch::Scratch;

/// Where the stream and the state of its consumers are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Storage {
    Memory,
    /// In files that are synced every two minutes, as JetStream does unless told otherwise.
    File,
}

/// What is kept of the order of a key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Nothing: one consumer with `max_ack_pending` 1,000.
    None,
    /// All of it: a consumer for each of sixteen parts of the keys, with `max_ack_pending` 1.
    Key,
}

/// The server, and a process of workers.
pub(super) struct JetStream {
    pub(super) server: Process,
    workers: Workers,
    /// Where the server has its files.
    _folder: Scratch,
}

struct Workers {
    child: Child,
    commands: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl JetStream {
    /// Starts both, the server on this processor if one is named. `None`, with the reason on
    /// standard error, if that is not possible on this machine; the docs are not written without.
    pub(super) fn start(
        options: &Options,
        processor: Option<&str>,
    ) -> Result<Option<Self>, Failure> {
        match Self::try_start(options, processor) {
            Ok(started) => Ok(Some(started)),
            Err(reason) if options.docs => Err(reason),
            Err(reason) => {
                eprintln!("bench: JetStream is left out: {reason}");
                Ok(None)
            }
        }
    }

    fn try_start(options: &Options, processor: Option<&str>) -> Result<Self, Failure> {
        let program = install_server()?;
        let workers = build_workers()?;
        let folder = Scratch::new(options, "jetstream")?;
        let port = free_port();
        let settings = folder.file("nats.conf");
        let store = folder.file("store");
        let text = format!(
            "host: 127.0.0.1\nport: {port}\njetstream {{ store_dir: \"{}\" }}\n",
            store.display()
        );
        fs::write(&settings, text)?;
        // It makes as many threads as it may use processors when it starts.
        let mut command = match processor {
            Some(processor) => {
                let mut command = Command::new("taskset");
                command.args(["-c", processor]).arg(program);
                command
            }
            None => Command::new(program),
        };
        let server = Process::start(command.arg("-c").arg(settings), port);
        Ok(Self {
            server,
            workers: Workers::start(&workers, &format!("nats://127.0.0.1:{port}"))?,
            _folder: folder,
        })
    }

    /// The process of the workers.
    pub(super) fn workers(&self) -> u32 {
        self.workers.child.id()
    }

    /// Makes an empty stream.
    pub(super) fn create(
        &mut self,
        storage: Storage,
        order: Order,
        ack_wait: Duration,
    ) -> Result<(), Failure> {
        let storage = match storage {
            Storage::Memory => "memory",
            Storage::File => "file",
        };
        let order = match order {
            Order::None => "none",
            Order::Key => "key",
        };
        let command = format!("create {storage} {order} {}", ack_wait.as_millis());
        self.ask(&command).map(drop)
    }

    /// Gives the workers a command that is answered with one line.
    pub(super) fn ask(&mut self, command: &str) -> Result<String, Failure> {
        self.workers.tell(command)?;
        self.workers.answer()
    }

    /// Gives them one that is answered with several, the last of which is `done`.
    pub(super) fn ask_for_lines(
        &mut self,
        command: &str,
        mut line: impl FnMut(&str) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.workers.tell(command)?;
        loop {
            match &*self.workers.answer()? {
                "done" => return Ok(()),
                other => line(other)?,
            }
        }
    }
}

impl Workers {
    fn start(program: &Path, url: &str) -> Result<Self, Failure> {
        let mut command = Command::new(program);
        command.arg(url);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let commands = child.stdin.take().ok_or("no standard input")?;
        let answers = child.stdout.take().ok_or("no standard output")?;
        Ok(Self {
            child,
            commands,
            answers: BufReader::new(answers).lines(),
        })
    }

    fn tell(&mut self, command: &str) -> Result<(), Failure> {
        Ok(writeln!(self.commands, "{command}")?)
    }

    fn answer(&mut self) -> Result<String, Failure> {
        let answer = self.answers.next();
        Ok(answer.ok_or("the workers on JetStream have ended")??)
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Installs the server's package, a program of its own inside, at the version that is named.
fn install_server() -> Result<PathBuf, Failure> {
    let folder = target().join("bench").join("nats");
    let program = folder.join("bin").join("nats-server");
    let named = root().join("benches/jetstream/requirements.txt");
    // A copy of what was installed last.
    let stamp = folder.join("requirements.txt");
    let text = fs::read(&named)?;
    if program.is_file() && fs::read(&stamp).is_ok_and(|found| found == text) {
        return Ok(program);
    }
    fs::create_dir_all(&folder)?;
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--no-input"])
        .args(["--disable-pip-version-check", "--root-user-action=ignore"])
        .args(["--upgrade", "--target"])
        .arg(&folder)
        .arg("--requirement")
        .arg(&named);
    run(&mut pip)?;
    fs::write(stamp, text)?;
    Ok(program)
}

/// Builds the workers, as optimised as this program.
fn build_workers() -> Result<PathBuf, Failure> {
    let folder = target().join("bench").join("jetstream");
    let mut build = cargo(&["build", "--quiet", "--release", "--locked"]);
    build.args(["--manifest-path", "benches/jetstream/Cargo.toml"]);
    run(build.arg("--target-dir").arg(&folder))?;
    Ok(folder.join("release").join("updraft-bench-jetstream"))
}
