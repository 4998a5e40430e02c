//! How many files the process may have open. Each connection is a file.

use crate::base::error::Result;

/// Raises the number of files that this process may have open, as far as the system allows without
/// special rights, and returns it. Each connection is a file.
///
/// Systems give a process a low limit at first, often 1,024, for programs that cannot handle more,
/// and let it raise the limit itself. The limit belongs to the whole process and is inherited by
/// its child processes, so a server does not change it by itself. A program that is mainly a server
/// calls this first, as the relay does. [`Builder::bind`](crate::Builder::bind) compares the limit
/// with the server's settings, and logs a warning if it is too low.
///
/// ```
/// # fn main() -> updraft::Result<()> {
/// let files = updraft::raise_file_limit()?;
/// println!("at most {files} connections and other files");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// The error of the operating system.
pub fn raise_file_limit() -> Result<u64> {
    Ok(rlimit::increase_nofile_limit(u64::MAX)?)
}

/// How to get a higher limit, for the log.
pub(crate) const REMEDY: &str = "updraft::raise_file_limit() takes what the system allows, as the \
                                 relay does; more is given by LimitNOFILE= of a systemd unit, \
                                 --ulimit nofile= of a container, ulimit -n of a shell";

/// Files that are not connections: logs, the bus, shards, files of the program.
const OTHER_FILES: u64 = 100;

/// Logs a warning if this many connections need more files than allowed.
pub(crate) fn check(connections: usize) {
    let needed = (connections as u64).saturating_add(OTHER_FILES);
    if let Some(limit) = limit().filter(|limit| *limit < needed) {
        tracing::warn!(
            limit,
            needed,
            "The process may open too few files for the connections that its settings allow: \
             those of polling.sessions and inbox.arrivals, and WebSockets beside them. {REMEDY}."
        );
    }
}

/// The limit, if it is known.
fn limit() -> Option<u64> {
    #[cfg(unix)]
    return rlimit::Resource::NOFILE.get_soft().ok();
    #[cfg(not(unix))]
    None
}
