//! A real Redis for one test, on a port of its own, with nothing on disk.
//! It can be killed, restarted and stopped in its tracks, and is gone when dropped.

use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use redis::{Client, Connection, FromRedisValue, ToRedisArgs};

use crate::eventually;
use crate::process::{Process, free_port};

/// A Redis server.
pub struct RedisServer {
    port: u16,
    process: Process,
    /// For what this type itself asks. Opened when it is first needed, gone with each restart.
    connection: Mutex<Option<Connection>>,
}

impl RedisServer {
    /// Starts one and waits until it answers.
    ///
    /// # Panics
    /// When `redis-server` is missing or does not come up.
    pub fn start() -> Self {
        let port = free_port();
        Self {
            port,
            process: start_on(port),
            connection: Mutex::default(),
        }
    }

    /// Starts one that speaks TLS only, with these files, and asks for this password. It answers
    /// nothing that is asked here, for which it would have to be trusted.
    ///
    /// # Panics
    /// When `redis-server` is missing or does not come up.
    pub fn start_tls(certificate: &Path, key: &Path, password: &str) -> Self {
        let port = free_port();
        let mut command = command();
        command
            .args(["--port", "0", "--tls-port", &port.to_string()])
            .args(["--tls-auth-clients", "no", "--requirepass", password])
            .arg("--tls-cert-file")
            .arg(certificate)
            .arg("--tls-key-file")
            .arg(key);
        Self {
            port,
            process: Process::start(&mut command, port),
            connection: Mutex::default(),
        }
    }

    /// Where it is: `redis://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        url(self.port)
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends it at once, as a crash would.
    pub fn kill(&mut self) {
        self.process.kill();
        self.forget_connection();
    }

    /// Ends it, if it runs, and starts another on the same port, which knows nothing of the first.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn restart(&mut self) {
        self.kill();
        self.process = start_on(self.port);
    }

    /// The process, to be stopped and continued by signal for example.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// A new connection, for whatever a test wants to ask.
    ///
    /// # Panics
    /// When there is no answer.
    pub fn connection(&self) -> Connection {
        connect(self.port).expect("redis-server answers")
    }

    /// Publishes a message and answers how many connections got it.
    ///
    /// # Panics
    /// When there is no answer.
    pub fn publish(&self, channel: &str, payload: impl AsRef<[u8]>) -> u64 {
        self.query("PUBLISH", (channel, payload.as_ref()))
    }

    /// How many connections are subscribed to a channel.
    ///
    /// # Panics
    /// When there is no answer.
    pub fn numsub(&self, channel: &str) -> u64 {
        let (_, count): (String, u64) = self.query("PUBSUB", ("NUMSUB", channel));
        count
    }

    /// Waits until so many connections are subscribed to a channel.
    ///
    /// # Panics
    /// When that does not come to be.
    pub fn await_numsub(&self, channel: &str, count: u64) {
        let what = format!("{count} subscribed to {channel}");
        eventually(&what, || self.numsub(channel) == count);
    }

    /// On how many channels somebody listens.
    ///
    /// # Panics
    /// When there is no answer.
    pub fn channels(&self) -> usize {
        let channels: Vec<String> = self.query("PUBSUB", "CHANNELS");
        channels.len()
    }

    /// How often a command was given since the start.
    ///
    /// # Panics
    /// When there is no answer.
    pub fn calls_of(&self, command: &str) -> u64 {
        let stats: String = self.query("INFO", "commandstats");
        let begin = format!("cmdstat_{command}:calls=");
        let calls = stats.lines().find_map(|line| line.strip_prefix(&begin));
        let calls = calls.and_then(|calls| calls.split(',').next()?.parse().ok());
        calls.unwrap_or_default()
    }

    /// Gives a command whose answer is of no interest, on the same connection as all others here.
    ///
    /// # Panics
    /// When it is refused.
    pub fn tell(&self, command: &str, arguments: &[&str]) {
        self.query::<redis::Value>(command, arguments);
    }

    fn query<T: FromRedisValue>(&self, command: &str, arguments: impl ToRedisArgs) -> T {
        let mut connection = self.lock();
        let connection = connection.get_or_insert_with(|| self.connection());
        let answer = redis::cmd(command).arg(arguments).query(connection);
        answer.unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    fn forget_connection(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Connection>> {
        let guard = self.connection.lock();
        guard.unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for RedisServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisServer")
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

fn start_on(port: u16) -> Process {
    let mut command = command();
    let process = Process::start(command.args(["--port", &port.to_string()]), port);
    eventually("redis-server answers", || connect(port).is_some());
    process
}

/// One on the loopback interface, with nothing on disk.
fn command() -> Command {
    assert!(
        Command::new("redis-server")
            .arg("--version")
            .output()
            .is_ok(),
        "redis-server is missing: install the Debian package redis-server"
    );
    let mut command = Command::new("redis-server");
    command
        .args(["--bind", "127.0.0.1"])
        .args(["--save", "", "--appendonly", "no"]);
    command
}

fn url(port: u16) -> String {
    format!("redis://127.0.0.1:{port}")
}

fn connect(port: u16) -> Option<Connection> {
    let mut connection = Client::open(url(port)).ok()?.get_connection().ok()?;
    redis::cmd("PING").exec(&mut connection).ok()?;
    Some(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_keeps_the_port_and_forgets_the_rest() {
        let mut server = RedisServer::start();
        let mut subscriber = server.connection();
        let mut channel = subscriber.as_pubsub();
        channel.subscribe("c").unwrap();
        assert_eq!(server.numsub("c"), 1);
        assert_eq!(server.publish("c", "hello"), 1);
        assert_eq!(channel.get_message().unwrap().get_payload_bytes(), b"hello");
        let port = server.port();
        server.restart();
        assert_eq!(server.port(), port);
        server.await_numsub("c", 0);
        server.kill();
        assert!(connect(port).is_none());
    }
}
