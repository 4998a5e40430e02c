//! Clients that people have, as npm, PyPI and crates.io have them, against the example `fixture` over real sockets.
//! What each is asked to do stands in `tests/clients/scenario.mjs`; how it sees every event, at the top of its script.

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use updraft_test_support::example::Example;
use updraft_test_support::proxy::Proxy;
use updraft_test_support::redis::RedisServer;

/// A script ends by itself before that; this is for one that hangs.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long nobody can connect: some clients try in vain meanwhile.
const AWAY: Duration = Duration::from_millis(300);
/// Where the scenario emits.
const CHANNEL: &str = "thread";

#[test]
fn vent_019_050_051_052_057_063_079_080_simpleddp_gets_every_event_in_a_collection() {
    drive("simpleddp", Encoding::Collection, &[]);
}

#[test]
fn vent_001_019_034_050_051_052_057_063_simpleddp_gets_every_event_in_vent_frames() {
    drive("simpleddp", Encoding::Vent, &[]);
}

#[test]
fn vent_019_050_052_057_063_079_080_ddp_gets_every_event_in_a_collection() {
    drive("ddp", Encoding::Collection, &[]);
}

#[test]
fn vent_001_019_034_050_052_057_063_ddp_gets_every_event_in_vent_frames() {
    drive("ddp", Encoding::Vent, &[]);
}

#[test]
fn vent_019_050_052_057_063_079_080_rocketchat_gets_every_event_in_a_collection() {
    drive("rocketchat", Encoding::Collection, &[]);
}

#[test]
fn vent_001_019_034_050_052_057_063_rocketchat_gets_every_event_in_vent_frames() {
    drive("rocketchat", Encoding::Vent, &[]);
}

#[test]
fn vent_019_050_052_057_063_079_080_ddpjs_gets_every_event_in_a_collection() {
    drive("ddpjs", Encoding::Collection, &[]);
}

#[test]
fn vent_001_019_034_050_052_057_063_ddpjs_gets_every_event_in_vent_frames() {
    drive("ddpjs", Encoding::Vent, &[]);
}

#[test]
fn vent_019_050_052_057_063_079_080_asteroid_gets_every_event_in_a_collection() {
    drive("asteroid", Encoding::Collection, &[]);
}

#[test]
fn vent_001_019_034_050_052_057_063_asteroid_gets_every_event_in_vent_frames() {
    drive("asteroid", Encoding::Vent, &[]);
}

#[test]
fn vent_019_052_057_063_079_080_python_ddp_gets_every_event_in_a_collection() {
    drive("python-ddp", Encoding::Collection, &[]);
}

#[test]
fn vent_019_050_052_057_063_079_080_siderite_gets_every_event_in_a_collection() {
    drive("siderite", Encoding::Collection, &[("GREETING", "1")]);
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

/// Runs a client's script twice: with events of the server's own process and a network that is away for a while, and
/// with events of Redis and a network that resets. `environment` is what the server needs for this client.
fn drive(client: &str, encoding: Encoding, environment: &[(&str, &str)]) {
    let clients = installed();
    let away = |proxy: &Proxy| {
        proxy.refuse(true);
        proxy.cut();
        thread::sleep(AWAY);
        proxy.refuse(false);
    };
    let server = Example::start("fixture", environment);
    converse(&clients, client, encoding, &server, away);
    drop(server);

    let redis = RedisServer::start();
    let url = redis.url();
    // None of these clients comes back to its session, so that none need wait long.
    let given = [("REDIS_URL", &*url), ("GRACE_MS", "1000")];
    let environment = [environment, &given].concat();
    let server = Example::start("fixture", &environment);
    converse(&clients, client, encoding, &server, |proxy| {
        assert_eq!(redis.numsub(CHANNEL), 1, "the channel is followed");
        proxy.reset();
    });
    redis.await_numsub(CHANNEL, 0);
}

/// The folder in which the clients are installed.
fn installed() -> PathBuf {
    let folder = std::env::var_os("UPDRAFT_CLIENTS").map(PathBuf::from);
    let folder = folder.expect(
        "UPDRAFT_CLIENTS does not say where the clients are installed: run `cargo xtask test`, which installs them",
    );
    for part in ["node_modules", "python", "siderite"] {
        assert!(
            folder.join(part).is_dir(),
            "no {part} in {}: run `cargo xtask test`, which installs it",
            folder.display()
        );
    }
    folder
}

/// Runs a client's script against a server behind a proxy. `fail` is what happens when the script wants a cut.
fn converse(
    clients: &Path,
    client: &str,
    encoding: Encoding,
    server: &Example,
    fail: impl Fn(&Proxy),
) {
    println!("{client}, {encoding}");
    let proxy = Proxy::start(server.port());
    let url = format!("ws://127.0.0.1:{}/websocket", proxy.port());
    let mut script = Script::start(clients, client, &url, encoding);
    script.each_line(|line| {
        println!("{line}");
        if line == "> cut the connections" {
            fail(&proxy);
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
