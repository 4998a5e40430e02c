//! The servers that are compared, and how each is started.

use std::fs;
use std::path::Path;
use std::process::Command;

use updraft_load::{Feed, Pace, Protocol};

use crate::measures::Case;
use crate::workspace::{is_installed, root, run, target};

/// A server, or the limit with which all are compared.
#[derive(Debug)]
pub(crate) struct Server {
    /// Its name on the command line and in raw figures.
    pub(crate) key: &'static str,
    /// Its name in tables.
    pub(crate) name: &'static str,
    pub(crate) program: Program,
    pub(crate) protocol: Protocol,
    pub(crate) path: &'static str,
    pub(crate) publication: &'static str,
    pub(crate) feed: Feed,
}

/// The program that is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    Updraft,
    /// A program in `benches/peers`.
    Node(&'static str),
    Nats,
    Mosquitto,
    /// No server: frames written to bare sockets, this many in each write.
    Limit(usize),
}

/// All servers.
pub(crate) static SERVERS: [Server; 13] = [
    limit("limit-1", "*limit: a write for each message*", 1),
    limit("limit-16", "*limit: 16 messages in a write*", 16),
    updraft("updraft", "**Updraft**", "feed"),
    updraft(
        "updraft-rebuilt",
        "Updraft, event rebuilt for each subscriber",
        "rebuilt",
    ),
    updraft("updraft-relay", "Updraft, `relay`", "relayed"),
    updraft("updraft-topic", "Updraft, a topic in memory", "followed"),
    updraft(
        "updraft-missed",
        "Updraft, from a topic in memory",
        "missed",
    ),
    Server {
        protocol: Protocol::SockJs,
        path: "/sockjs/000/client{client}/websocket",
        ..updraft("updraft-sockjs", "Updraft over SockJS", "feed")
    },
    node(
        "ws",
        "Node, ws + ioredis",
        "ws.js",
        Protocol::Plain,
        "/{channel}",
    ),
    Server {
        feed: Feed::SocketIo,
        ..node(
            "socketio",
            "Socket.IO, Redis adapter",
            "socketio.js",
            Protocol::SocketIo,
            "/socket.io/?EIO=4&transport=websocket",
        )
    },
    node(
        "sockjs",
        "DDP on Node, SockJS + faye-websocket (Meteor's stack)",
        "sockjs.js",
        Protocol::SockJs,
        "/sockjs/000/client{client}/websocket",
    ),
    Server {
        key: "nats",
        name: "NATS over WebSocket",
        program: Program::Nats,
        protocol: Protocol::Nats,
        path: "/",
        publication: "",
        feed: Feed::Nats,
    },
    Server {
        key: "mosquitto",
        name: "Mosquitto over WebSocket",
        program: Program::Mosquitto,
        protocol: Protocol::Mqtt,
        path: "/mqtt",
        publication: "",
        feed: Feed::Mqtt,
    },
];

const fn updraft(key: &'static str, name: &'static str, publication: &'static str) -> Server {
    Server {
        key,
        name,
        program: Program::Updraft,
        protocol: Protocol::Ddp,
        path: "/websocket",
        publication,
        feed: Feed::Redis,
    }
}

const fn node(
    key: &'static str,
    name: &'static str,
    script: &'static str,
    protocol: Protocol,
    path: &'static str,
) -> Server {
    Server {
        key,
        name,
        program: Program::Node(script),
        protocol,
        path,
        publication: "feed",
        feed: Feed::Redis,
    }
}

const fn limit(key: &'static str, name: &'static str, frames_per_write: usize) -> Server {
    Server {
        program: Program::Limit(frames_per_write),
        ..updraft(key, name, "")
    }
}

/// The server with this key.
pub(crate) fn find(key: &str) -> Option<&'static Server> {
    SERVERS.iter().find(|server| server.key == key)
}

/// Where the packages of the Node servers are installed.
pub(crate) fn peers() -> std::path::PathBuf {
    target().join("bench").join("peers")
}

impl Server {
    /// Why the server cannot be started on this machine.
    pub(crate) fn missing(&self) -> Option<String> {
        let (program, package) = match self.program {
            Program::Updraft | Program::Limit(_) => return None,
            Program::Node(_) => ("node", "nodejs"),
            Program::Nats => ("nats-server", "nats-server"),
            Program::Mosquitto => ("mosquitto", "mosquitto"),
        };
        let installed = is_installed(program) || Path::new("/usr/sbin").join(program).is_file();
        (!installed).then(|| {
            format!(
                "{}: {program} is missing (Debian package {package})",
                self.name
            )
        })
    }

    /// The command that starts it on `port`; events come from Redis, or on `feed_port`.
    pub(crate) fn command(
        &self,
        port: u16,
        feed_port: u16,
        redis: u16,
        case: &Case,
    ) -> Result<Vec<String>, String> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let folder = target().join("bench");
        let missed = match case.pace {
            Pace::Missed(each) => each,
            _ => 0,
        };
        let environment = vec![
            "env".into(),
            format!("PORT={port}"),
            format!("REDIS_URL=redis://127.0.0.1:{redis}"),
            format!("SHARDS={}", case.shards),
            format!("USERS={}", case.users),
            format!("MISSED={missed}"),
            "NODE_ENV=production".into(),
        ];
        let server = match self.program {
            Program::Limit(_) => return Err("the limit is no server".into()),
            Program::Updraft => vec![text(&target().join("release/updraft-bench-server"))],
            Program::Node(script) => vec!["node".into(), text(&peers().join(script))],
            Program::Nats => {
                let settings = format!(
                    "host: 127.0.0.1\nport: {feed_port}\nmax_connections: 65536\n\
                     websocket {{ host: 127.0.0.1, port: {port}, no_tls: true, compression: false }}\n"
                );
                let file = folder.join("nats.conf");
                write(&file, &settings)?;
                vec!["nats-server".into(), "-c".into(), text(&file)]
            }
            Program::Mosquitto => {
                let settings = format!(
                    "user root\npersistence false\nlog_type error\nmax_queued_messages 0\nset_tcp_nodelay true\n\
                     allow_anonymous true\nlistener {feed_port} 127.0.0.1\nprotocol mqtt\n\
                     listener {port} 127.0.0.1\nprotocol websockets\n"
                );
                let file = folder.join("mosquitto.conf");
                write(&file, &settings)?;
                vec!["mosquitto".into(), "-c".into(), text(&file)]
            }
        };
        Ok([environment, server].concat())
    }
}

/// Installs what the Node servers need, at the versions that the lock file names.
pub(crate) fn install_peers() -> Result<(), String> {
    let (source, folder) = (root().join("benches/peers"), peers());
    let error = |error: std::io::Error| format!("{}: {error}", folder.display());
    fs::create_dir_all(&folder).map_err(error)?;
    let lock = "package-lock.json";
    let fresh = fs::read(source.join(lock)).map_err(error)?;
    // The last file that npm writes.
    let installed = folder.join("node_modules/.package-lock.json").exists()
        && fs::read(folder.join(lock)).is_ok_and(|found| found == fresh);
    for entry in fs::read_dir(&source).map_err(error)?.filter_map(Result::ok) {
        fs::copy(entry.path(), folder.join(entry.file_name())).map_err(error)?;
    }
    if installed {
        return Ok(());
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"])
        .current_dir(&folder);
    run(&mut npm)
}

fn write(file: &Path, text: &str) -> Result<(), String> {
    fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))
}
