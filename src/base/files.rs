//! How many files the process may have open. Each connection is one.

use crate::base::error::Result;

/// Raises the number of files that this process may have open as far as the system allows without
/// asking anybody, and returns it. Each connection is a file.
///
/// Systems give a process a low limit to begin with, often 1,024, for the sake of programs that
/// cannot handle more, and let it take much more. The limit belongs to the whole process and is
/// inherited by those that it starts, so a server does not change it by itself: a program whose
/// main business is the server calls this first, as the relay does.
/// [`Builder::bind`](crate::Builder::bind) compares what is left with the server's settings, and
/// logs a warning if it is too little.
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
/// What the operating system says.
pub fn raise_file_limit() -> Result<u64> {
    Ok(rlimit::increase_nofile_limit(u64::MAX)?)
}

/// How to get a higher limit, for the log.
pub(crate) const REMEDY: &str = "updraft::raise_file_limit() takes what the system allows, as the \
                                 relay does; more is given by LimitNOFILE= of a systemd unit, \
                                 --ulimit nofile= of a container, ulimit -n of a shell";

/// Files of the server's own: logs, the bus, shards, what its program has open.
const OWN: u64 = 100;

/// Says so if so many connections are more than there may be files.
pub(crate) fn check(connections: usize) {
    let needed = (connections as u64).saturating_add(OWN);
    if let Some(limit) = limit().filter(|limit| *limit < needed) {
        tracing::warn!(
            limit,
            needed,
            "The process may have too few files open for the connections that its settings allow: \
             those of polling.sessions and inbox.arrivals, and WebSockets beside them. {REMEDY}."
        );
    }
}

/// How many may be open, if that can be known.
fn limit() -> Option<u64> {
    #[cfg(unix)]
    return rlimit::Resource::NOFILE.get_soft().ok();
    #[cfg(not(unix))]
    None
}
