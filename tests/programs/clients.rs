//! Clients that people have, as npm, PyPI and crates.io have them, against the example `fixture`
//! over real sockets. What each is asked to do stands in `tests/clients/scenario.mjs`; how it sees
//! every event, at the top of its script.

use std::fmt;
use std::thread;
use std::time::Duration;

use updraft_test_support::example::Example;
use updraft_test_support::proxy::Proxy;
use updraft_test_support::redis::RedisServer;
use updraft_test_support::script::{Script, installed};

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

/// Runs a client's script twice: with events of the server's own process and a network that is away
/// for a while, and with events of Redis and a network that resets. `environment` is what the
/// server needs for this client.
fn drive(client: &str, encoding: Encoding, environment: &[(&str, &str)]) {
    installed(&["node_modules", "python", "siderite"]);
    let away = |proxy: &Proxy| {
        proxy.refuse(true);
        proxy.cut();
        thread::sleep(AWAY);
        proxy.refuse(false);
    };
    let server = Example::start("fixture", environment);
    converse(client, encoding, &server, away);
    drop(server);

    let redis = RedisServer::start();
    let url = redis.url();
    // None of these clients comes back to its session, so that none need wait long.
    let given = [("REDIS_URL", &*url), ("GRACE_MS", "1000")];
    let environment = [environment, &given].concat();
    let server = Example::start("fixture", &environment);
    converse(client, encoding, &server, |proxy| {
        assert_eq!(redis.numsub(CHANNEL), 1, "the channel is followed");
        proxy.reset();
    });
    redis.await_numsub(CHANNEL, 0);
}

/// Runs a client's script against a server behind a proxy. `fail` is what happens when the script
/// wants a cut.
fn converse(client: &str, encoding: Encoding, server: &Example, fail: impl Fn(&Proxy)) {
    println!("{client}, {encoding}");
    let proxy = Proxy::start(server.port());
    let url = format!("ws://127.0.0.1:{}/websocket", proxy.port());
    Script::start(client, &[&url, &encoding.to_string()]).run(|wish| {
        assert_eq!(wish, "cut the connections");
        fail(&proxy);
    });
}
