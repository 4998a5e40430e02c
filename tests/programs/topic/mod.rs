//! `updraft topic` and `updraft group`, as people and scripts run them.

mod changes;
mod files;
mod groups;
#[cfg(feature = "mongo")]
mod mongo;
mod publishing;
mod redis;
mod terminal;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

use serde_json::Value;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder of one test, with a store in a file and what is given to the program as its input.
struct Folder(updraft_test_support::folder::Folder);

impl Folder {
    fn new() -> Self {
        Self(updraft_test_support::folder::Folder::new("topic"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.file(name)
    }

    /// The store in a file.
    fn store(&self) -> String {
        format!("file:{}", self.path("topics.redb").display())
    }

    /// A file with these bytes.
    fn file(&self, bytes: impl AsRef<[u8]>) -> File {
        let path = self.path("input");
        fs::write(&path, bytes).expect("a file");
        File::open(path).expect("the file")
    }
}

/// What a command came to.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Self {
            code: output.status.code(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }
}

impl Ended {
    /// The lines of the output, which must have succeeded.
    #[track_caller]
    fn lines(&self) -> Vec<Value> {
        assert_eq!(self.code, Some(0), "{self:?}");
        parsed(&self.out)
    }

    /// What it said, of which it must be all that it did.
    #[track_caller]
    fn refusal(&self, code: i32) -> &str {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.out, "");
        &self.err
    }
}

fn parsed(lines: &str) -> Vec<Value> {
    let parse = |line| serde_json::from_str(line).expect("a line of JSON");
    lines.lines().map(parse).collect()
}

/// A command on the topics of a store.
fn command(store: &str, arguments: &[&str]) -> Command {
    command_of("topic", store, arguments)
}

/// A command on what a store has of this kind.
fn command_of(kind: &str, store: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_updraft"));
    command
        .arg(kind)
        .args(arguments)
        .env("UPDRAFT_STORE", store)
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn run(store: &str, arguments: &[&str]) -> Ended {
    let output = command(store, arguments).output();
    output.expect("the program runs").into()
}

/// Runs it with this file as its input.
fn run_with(store: &str, arguments: &[&str], input: File) -> Ended {
    let output = command(store, arguments).stdin(input).output();
    output.expect("the program runs").into()
}

/// Publishes these lines to a topic that may be new.
#[track_caller]
fn publish(folder: &Folder, store: &str, topic: &str, lines: &str) {
    let input = folder.file(lines);
    let ended = run_with(store, &["publish", topic, "--create"], input);
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

/// The offsets and payloads that a topic holds.
#[track_caller]
fn held(store: &str, topic: &str) -> Vec<(u64, Value)> {
    let read = run(store, &["read", topic]);
    records(&read.lines())
}

fn records(lines: &[Value]) -> Vec<(u64, Value)> {
    let record = |line: &Value| {
        let offset = line["offset"].as_u64().expect("an offset");
        (offset, line["payload"].clone())
    };
    lines.iter().map(record).collect()
}

/// Lines that are the numbers from one to the other.
fn numbers(from: u64, to: u64) -> String {
    (from..=to).map(|number| format!("{number}\n")).collect()
}

/// What a topic has if these are its records, without holes.
fn numbered(from: u64, to: u64) -> Vec<(u64, Value)> {
    (from..=to).map(|number| (number, number.into())).collect()
}

/// A command that runs beside the test, and is killed with its owner.
struct Running {
    child: Child,
    /// Lines of its output.
    lines: Receiver<String>,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().expect("the program runs");
        let out = child.stdout.take().expect("a pipe");
        let (sender, lines) = sync_channel(1000);
        thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self { child, lines }
    }

    fn id(&self) -> u32 {
        self.child.id()
    }

    fn input(&mut self) -> ChildStdin {
        self.child.stdin.take().expect("a pipe")
    }

    /// The next line of its output.
    #[track_caller]
    fn line(&self) -> Value {
        let line = self.lines.recv_timeout(PATIENCE).expect("a line");
        serde_json::from_str(&line).expect("JSON")
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -{name} {}", self.id())])
            .status();
        assert!(sent.is_ok_and(|status| status.success()));
    }

    /// Waits for its end, and what it said.
    fn end(mut self) -> Ended {
        let status = self.child.wait().expect("an end");
        let mut err = String::new();
        let mut pipe = self.child.stderr.take().expect("a pipe");
        pipe.read_to_string(&mut err).expect("UTF-8");
        let out = self.lines.iter().map(|line| line + "\n").collect();
        Ended {
            code: status.code(),
            out,
            err,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Writes numbers until nobody reads them.
fn write_numbers(mut input: impl Write + Send + 'static) {
    thread::spawn(move || {
        for number in 1_u64.. {
            if writeln!(input, "{number}").is_err() {
                break;
            }
        }
    });
}

fn exists(path: &Path) -> bool {
    path.try_exists().expect("an answer")
}
