//! A real MongoDB, or a server that speaks its protocol, for one test: the one that `MONGO_URL`
//! names, else `mongod`, else FerretDB, which `cargo xtask test` builds from `tests/support/mongo`
//! where there is Go.

use std::env;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::folder::Folder;
use crate::holds_within;
use crate::process::{Process, free_port};

/// How long a server may take to end.
const END: Duration = Duration::from_secs(5);

/// A server with a database that no other test uses.
#[derive(Debug)]
pub struct MongoServer {
    url: String,
    _running: Running,
}

/// Where a server comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// It runs already, and this is its URL.
    Given(String),
    /// `mongod` is installed.
    Mongod,
    /// FerretDB is built, and here.
    FerretDb(PathBuf),
}

#[derive(Debug)]
#[allow(dead_code, reason = "kept for the end of the processes")]
enum Running {
    Elsewhere,
    Mongod(Process, Folder),
    FerretDb(FerretDb),
}

impl MongoServer {
    /// Which server there is; an error says what to do about it that there is none.
    ///
    /// # Errors
    /// There is none.
    pub fn source() -> Result<Source, String> {
        if let Ok(url) = env::var("MONGO_URL") {
            return Ok(Source::Given(url));
        }
        let is_mongod = Command::new("mongod").arg("--version").output().is_ok();
        if is_mongod {
            return Ok(Source::Mongod);
        }
        let built = env::var_os("UPDRAFT_CLIENTS")
            .map(|clients| Path::new(&clients).join("mongo/server"))
            .filter(|path| path.is_file());
        built.map(Source::FerretDb).ok_or_else(|| {
            "MONGO_URL is not set, `mongod` is not installed, and `cargo xtask test` has not built FerretDB, which needs Go"
                .into()
        })
    }

    /// Starts one, if it does not run already, and waits until it accepts.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start(source: &Source) -> Self {
        let (url, running) = match source {
            Source::Given(url) => (url.clone(), Running::Elsewhere),
            Source::Mongod => {
                let port = free_port();
                let folder = Folder::new("mongod");
                let mut mongod = Command::new("mongod");
                mongod
                    .args(["--bind_ip", "127.0.0.1", "--port", &port.to_string()])
                    .arg("--dbpath")
                    .arg(folder.path());
                let url = format!("mongodb://127.0.0.1:{port}/");
                let process = Process::start(&mut mongod, port);
                (url, Running::Mongod(process, folder))
            }
            Source::FerretDb(path) => {
                let (server, url) = FerretDb::start(path);
                (url, Running::FerretDb(server))
            }
        };
        Self {
            url: with_database(&url),
            _running: running,
        }
    }

    /// Where it is, with the name of the test's own database.
    pub fn url(&self) -> &str {
        &self.url
    }
}

/// A URL with another database.
fn with_database(url: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let database = format!("updraft_test_{}_{number}", std::process::id());
    let (address, options) = url.split_once('?').unwrap_or((url, ""));
    let (scheme, address) = address.split_once("://").unwrap_or(("mongodb", address));
    let (hosts, _) = address.split_once('/').unwrap_or((address, ""));
    let options = if options.is_empty() {
        String::new()
    } else {
        format!("?{options}")
    };
    format!("{scheme}://{hosts}/{database}{options}")
}

/// The process that `tests/support/mongo` describes, which ends with its standard input.
#[derive(Debug)]
struct FerretDb(Child);

impl FerretDb {
    fn start(path: &Path) -> (Self, String) {
        let mut child = Command::new(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", path.display()));
        let output = child.stdout.take().expect("the output is piped");
        let server = Self(child);
        let mut url = String::new();
        let read = BufReader::new(output).read_line(&mut url);
        assert!(
            read.is_ok() && url.starts_with("mongodb://"),
            "FerretDB has not come up, see above"
        );
        (server, url.trim().to_owned())
    }
}

impl Drop for FerretDb {
    fn drop(&mut self) {
        // It ends with its input, and removes its files then.
        drop(self.0.stdin.take());
        let has_ended = || matches!(self.0.try_wait(), Ok(Some(_)));
        if !holds_within(END, has_ended) {
            // Both fail only when it has ended already.
            drop(self.0.kill());
            drop(self.0.wait());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_test_has_a_database_of_its_own() {
        let url = with_database("mongodb://u:p@a:1,b:2/meteor?replicaSet=rs");
        assert!(url.starts_with("mongodb://u:p@a:1,b:2/updraft_test_"));
        assert!(url.ends_with("?replicaSet=rs"));
        let (one, other) = (with_database("mongodb://a"), with_database("mongodb://a"));
        assert!(one.starts_with("mongodb://a/updraft_test_") && one != other);
    }
}
