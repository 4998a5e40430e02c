//! The examples of this workspace as child processes, never older than what they are made of. Cargo
//! builds them before it runs all tests, but not before it runs some: then they are built here.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use crate::process::{Process, cargo, free_port};

/// An example of this workspace that listens on `127.0.0.1:$PORT`.
#[derive(Debug)]
pub struct Example {
    process: Process,
    port: u16,
}

impl Example {
    /// Starts `examples/NAME.rs` with these environment variables, and waits until it accepts.
    /// Without a `PORT` among them it gets a free one.
    ///
    /// # Panics
    /// When it cannot be built, or does not come up.
    pub fn start(name: &str, environment: &[(&str, &str)]) -> Self {
        let path = built(name);
        let given = environment.iter().find(|(key, _)| *key == "PORT");
        let port = given.map_or_else(free_port, |(_, port)| port.parse().expect("a port"));
        let mut command = Command::new(path);
        command
            .env("PORT", port.to_string())
            .envs(environment.iter().copied());
        Self {
            process: Process::start(&mut command, port),
            port,
        }
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address of its raw WebSocket.
    pub fn url(&self) -> String {
        format!("ws://127.0.0.1:{}/websocket", self.port)
    }

    /// The address of its HTTP server, without a slash at the end.
    pub fn http_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// Runs an example that ends by itself.
///
/// # Panics
/// When it cannot be built or fails.
pub fn run(name: &str, arguments: &[&str]) {
    let ended = Command::new(built(name)).args(arguments).status();
    let is_well = ended.is_ok_and(|status| status.success());
    assert!(is_well, "{name} failed");
}

/// What an example prints that ends by itself.
///
/// # Panics
/// When it cannot be built or fails.
pub fn output(name: &str, environment: &[(&str, &str)]) -> String {
    let mut command = Command::new(built(name));
    let output = command.envs(environment.iter().copied()).output();
    let output = output.unwrap_or_else(|error| panic!("{name}: {error}"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} failed: {complaint}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Where an example is, which is built if it is not there or older than its sources.
fn built(name: &str) -> PathBuf {
    /// The examples that are known to be up to date. One thread looks at a time.
    static KNOWN: Mutex<Option<HashSet<String>>> = Mutex::new(None);
    let path = folder().join("examples").join(name);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let known = known.get_or_insert_default();
    if !known.contains(name) {
        if is_stale(&path) {
            build(name);
        }
        known.insert(name.to_owned());
    }
    path
}

/// Where cargo has put the running program, which is itself an example, a test or a binary.
pub fn folder() -> PathBuf {
    let mut path = std::env::current_exe().expect("a program knows its path");
    path.pop();
    if path.ends_with("deps") || path.ends_with("examples") {
        path.pop();
    }
    path
}

/// Whether a program is not there, or older than a source that cargo has noted beside it.
fn is_stale(program: &Path) -> bool {
    let sources = fs::read_to_string(program.with_extension("d"));
    let (Some(built), Ok(sources)) = (modified(program), sources) else {
        return true;
    };
    let sources = sources.split_once(": ").map_or("", |(_, sources)| sources);
    // A blank within a path is escaped.
    let sources = sources.trim().replace("\\ ", "\0");
    let mut sources = sources.split(' ').map(|it| it.replace('\0', " "));
    // One that is gone has been moved, and something else has changed.
    sources.any(|source| modified(source.as_ref()).is_none_or(|changed| changed > built))
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}

/// Builds an example as all tests are built, so that there is one of it only.
fn build(name: &str) {
    let mut command = cargo();
    command
        .args(["build", "--quiet", "--workspace", "--all-features"])
        .args(["--example", name])
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    if folder().ends_with("release") {
        command.arg("--release");
    }
    let built = command.status();
    let is_built = built.is_ok_and(|status| status.success());
    assert!(is_built, "the example {name} cannot be built: {command:?}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_program_is_stale_without_its_sources_or_after_a_change_of_one() {
        let folder = std::env::temp_dir().join(format!("a folder {}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let [program, source, other] = ["program", "a.rs", "b.rs"].map(|name| folder.join(name));
        assert!(is_stale(&program));
        for path in [&source, &other, &program] {
            fs::write(path, "").unwrap();
        }
        assert!(is_stale(&program), "nobody knows its sources");
        let escaped = |path: &Path| path.display().to_string().replace(' ', "\\ ");
        let [made, from, and] = [&program, &source, &other].map(|path| escaped(path));
        let noted = format!("{made}: {from} {and}\n");
        fs::write(folder.join("program.d"), noted).unwrap();
        assert!(!is_stale(&program));
        let later = SystemTime::now() + Duration::from_secs(5);
        fs::File::options()
            .write(true)
            .open(&other)
            .and_then(|file| file.set_modified(later))
            .unwrap();
        assert!(is_stale(&program), "a source is newer");
        fs::remove_file(&other).unwrap();
        assert!(is_stale(&program), "a source is gone");
        fs::remove_dir_all(&folder).unwrap();
    }
}
