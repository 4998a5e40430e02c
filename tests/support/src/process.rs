//! Servers as child processes, whatever a test needs beside it.
//! Each is ended by its id when its owner is dropped; what it printed is shown when the test fails.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

const START: Duration = Duration::from_secs(20);
/// Lines that are kept of what a process prints.
const KEPT_LINES: usize = 500;

/// The cargo by which this test was built, as if it were called from a shell: build scripts that
/// look at what it tells the test of its own package would otherwise run again, and everything
/// behind them with them.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let told = [
            "CARGO_MANIFEST_",
            "CARGO_PKG_",
            "CARGO_CRATE_",
            "CARGO_BIN_",
        ];
        if told.iter().any(|begin| text.starts_with(begin)) {
            command.env_remove(&name);
        }
    }
    command
}

/// A port of the loopback interface on which nobody listens.
///
/// It lies below the range from which the operating system takes ports for outgoing connections, so
/// it stays free while a server is restarted.
///
/// # Panics
/// When there is none.
pub fn free_port() -> u16 {
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 12_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test programs that run at the same time start far apart.
    let start = std::process::id().wrapping_mul(251) % u32::from(COUNT);
    (0..COUNT)
        .map(|_| u32::from(NEXT.fetch_add(1, Ordering::Relaxed)))
        .map(|offset| FIRST + u16::try_from((start + offset) % u32::from(COUNT)).unwrap_or(0))
        .find(|port| is_free(*port))
        .expect("a port is free")
}

/// Whether nobody listens on a port. To find out, nobody does: another program that waits for its
/// own server there would take us for it.
fn is_free(port: u16) -> bool {
    let bind = || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())
    };
    bind().is_ok()
}

/// A child process that ends with its owner.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    /// What it printed last. Filled by a thread for each pipe, never drained, bounded by
    /// `KEPT_LINES`.
    output: Arc<Mutex<VecDeque<String>>>,
}

impl Process {
    /// Starts a server and waits until it accepts connections on this port of the loopback
    /// interface.
    ///
    /// # Panics
    /// When it cannot be started or does not come up.
    pub fn start(command: &mut Command, port: u16) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let output = Arc::default();
        keep(child.stdout.take(), &output);
        keep(child.stderr.take(), &output);
        let mut process = Self {
            name,
            child,
            output,
        };
        process.await_port(port);
        process
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name, such as `TERM` or `STOP`.
    ///
    /// # Panics
    /// When the process is gone.
    pub fn signal(&self, name: &str) {
        let command = format!("kill -{name} {}", self.child.id());
        let sent = Command::new("sh")
            .args([OsStr::new("-c"), command.as_ref()])
            .status();
        assert!(sent.is_ok_and(|status| status.success()), "{command}");
    }

    /// Ends it at once, by its id.
    pub fn kill(&mut self) {
        // Both fail only when it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Waits until it has ended by itself; `None` when it has not in time.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            if Instant::now() >= deadline {
                return None;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// What it printed last.
    pub fn output(&self) -> String {
        let lines = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(|line| format!("{line}\n")).collect()
    }

    fn await_port(&mut self, port: u16) {
        let deadline = Instant::now() + START;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            let ended = self.wait(Duration::from_millis(5));
            if let Some(status) = ended {
                panic!("{} ended with {status}", self.name);
            }
            assert!(
                Instant::now() < deadline,
                "{} does not accept on port {port}",
                self.name
            );
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            eprintln!("--- {} printed:\n{}---", self.name, self.output());
        }
    }
}

fn keep(pipe: Option<impl Read + Send + 'static>, output: &Arc<Mutex<VecDeque<String>>>) {
    let Some(pipe) = pipe else { return };
    let output = Arc::clone(output);
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            let mut lines = output.lock().unwrap_or_else(PoisonError::into_inner);
            lines.push_back(line);
            if lines.len() > KEPT_LINES {
                lines.pop_front();
            }
        }
    });
}
