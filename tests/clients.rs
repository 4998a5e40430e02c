//! Clients that people have, as npm has them, against the example `fixture` over real sockets.
//! What each is asked to do stands in `tests/clients/scenario.mjs`; how it sees every event, at the top of its script.

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use updraft_test_support::process::Example;
use updraft_test_support::redis::RedisServer;

/// A script ends by itself before that; this is for one that hangs.
const PATIENCE: Duration = Duration::from_secs(90);

#[test]
fn vent_019_050_051_052_063_079_080_simpleddp_gets_every_event_in_a_collection() {
    drive("simpleddp", Encoding::Collection);
}

#[test]
fn vent_001_019_034_050_051_052_063_simpleddp_gets_every_event_in_vent_frames() {
    drive("simpleddp", Encoding::Vent);
}

#[test]
fn vent_019_050_052_063_079_080_ddp_gets_every_event_in_a_collection() {
    drive("ddp", Encoding::Collection);
}

#[test]
fn vent_001_019_034_050_052_063_ddp_gets_every_event_in_vent_frames() {
    drive("ddp", Encoding::Vent);
}

#[test]
fn vent_019_050_052_063_079_080_rocketchat_gets_every_event_in_a_collection() {
    drive("rocketchat", Encoding::Collection);
}

#[test]
fn vent_001_019_034_050_052_063_rocketchat_gets_every_event_in_vent_frames() {
    drive("rocketchat", Encoding::Vent);
}

/// What the Vent ids of a run ask for.
#[derive(Clone, Copy)]
enum Encoding {
    Collection,
    Vent,
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Collection => "collection",
            Self::Vent => "vent",
        })
    }
}

/// Runs a client's script twice: with events of the server's own process, and with events of Redis.
fn drive(client: &str, encoding: Encoding) {
    let clients = installed();
    converse(&clients, client, encoding, &[]);
    let redis = RedisServer::start();
    converse(&clients, client, encoding, &[("REDIS_URL", &redis.url())]);
}

/// The folder in which the clients are installed.
fn installed() -> PathBuf {
    let folder = std::env::var_os("UPDRAFT_CLIENTS").map(PathBuf::from);
    let folder = folder.expect(
        "UPDRAFT_CLIENTS does not say where the clients are installed: run `cargo xtask test`, which installs them",
    );
    assert!(
        folder.join("node_modules").is_dir(),
        "no clients in {}: run `cargo xtask test`, which installs them",
        folder.display()
    );
    folder
}

fn converse(clients: &Path, client: &str, encoding: Encoding, environment: &[(&str, &str)]) {
    println!("{client}, {encoding}, {environment:?}");
    let mut server = Some(Example::start("fixture", environment));
    let url = server.as_ref().map(Example::url).unwrap_or_default();
    let port = server.as_ref().map_or(0, Example::port).to_string();
    let environment = [environment, &[("PORT", &port)]].concat();
    let mut script = Script::start(clients, client, &url, encoding);
    script.each_line(|line| {
        println!("{line}");
        if line == "> restart the server" {
            // The first must be gone before the port is free for the second.
            server = None;
            server = Some(Example::start("fixture", &environment));
        }
    });
    script.must_succeed();
}

/// A script that runs in node, and ends with its owner.
struct Script(Child);

impl Script {
    fn start(clients: &Path, client: &str, url: &str, encoding: Encoding) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/clients")
            .join(client)
            .with_extension("mjs");
        let child = Command::new("node")
            .arg(script)
            .args([url, &encoding.to_string()])
            .env("UPDRAFT_CLIENTS", clients)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        Self(child.unwrap_or_else(|error| panic!("node does not start: {error}")))
    }

    /// Calls `f` with each line that the script prints, until it prints no more.
    fn each_line(&mut self, mut f: impl FnMut(&str)) {
        let output = self.0.stdout.take().expect("standard output is piped");
        let (sender, lines) = sync_channel(1);
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        loop {
            match lines.recv_timeout(PATIENCE) {
                Ok(line) => f(&line),
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => panic!("the script hangs"),
            }
        }
    }

    fn must_succeed(mut self) {
        let status = self.0.wait().expect("a child can be waited for");
        let mut errors = String::new();
        if let Some(mut pipe) = self.0.stderr.take() {
            pipe.read_to_string(&mut errors)
                .expect("what node prints is text");
        }
        assert!(
            status.success(),
            "the script failed, see above: {status}\n{errors}"
        );
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
