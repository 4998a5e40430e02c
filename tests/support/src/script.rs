//! Scripts of `tests/clients`, which drive the clients of other ecosystems in Node.js. A script
//! says what held, line by line, and asks the test by `> …` for what only a test can do.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

/// A script ends by itself before that; this is for one that hangs.
const PATIENCE: Duration = Duration::from_secs(90);

/// A script that runs in node, and ends with its owner.
#[derive(Debug)]
pub struct Script(Child);

impl Script {
    /// Starts `tests/clients/NAME.mjs`.
    ///
    /// # Panics
    /// When the clients are not installed, or there is no node.
    pub fn start(name: &str, arguments: &[impl AsRef<OsStr>]) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../clients")
            .join(name)
            .with_extension("mjs");
        let child = Command::new("node")
            .arg(script)
            .args(arguments)
            .env("UPDRAFT_CLIENTS", installed(&["node_modules"]))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        Self(child.unwrap_or_else(|error| panic!("node does not start: {error}")))
    }

    /// Shows what the script prints, and calls `grant` with each of its wishes, until it prints no
    /// more.
    ///
    /// # Panics
    /// When the script fails or hangs.
    pub fn run(mut self, mut grant: impl FnMut(&str)) {
        let output = self.0.stdout.take().expect("standard output is piped");
        let errors = self.0.stderr.take().expect("standard error is piped");
        let errors = thread::spawn(move || text_of(errors));
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
                Ok(line) => {
                    println!("{line}");
                    if let Some(wish) = line.strip_prefix("> ") {
                        grant(wish);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("the script hangs"),
            }
        }
        let status = self.0.wait().expect("a child can be waited for");
        let errors = errors.join().unwrap_or_default();
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

/// The folder in which the clients are installed, with at least these parts.
///
/// # Panics
/// When they are not.
pub fn installed(parts: &[&str]) -> PathBuf {
    let folder = std::env::var_os("UPDRAFT_CLIENTS").map(PathBuf::from);
    let folder = folder.expect(
        "UPDRAFT_CLIENTS does not say where the clients are installed: run `cargo xtask test`, which installs them",
    );
    for part in parts {
        assert!(
            folder.join(part).exists(),
            "no {part} in {}: run `cargo xtask test`, which installs it",
            folder.display()
        );
    }
    folder
}

/// The folder of the npm package of this workspace, with what it needs, and built.
///
/// # Panics
/// When it is not.
pub fn package() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../client");
    for part in ["node_modules", "dist/updraft-client.js"] {
        assert!(
            folder.join(part).exists(),
            "no client/{part}: run `cargo xtask test`, or `npm ci && npm run build` in client"
        );
    }
    folder
}

/// Says at once what is missing for scripts that drive a browser.
///
/// # Panics
/// When there is none.
pub fn require_chromium() {
    let chromium = std::env::var_os("CHROMIUM").unwrap_or_else(|| "/usr/bin/chromium".into());
    assert!(
        Path::new(&chromium).exists(),
        "there is no {}: install the Debian package chromium, or name another by CHROMIUM, and run `cargo xtask test`",
        chromium.display()
    );
}

fn text_of(mut pipe: impl Read) -> String {
    let mut text = Vec::new();
    // What can be read is shown.
    drop(pipe.read_to_end(&mut text));
    String::from_utf8_lossy(&text).into_owned()
}
