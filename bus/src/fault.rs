//! The kinds of faults of Redis: for the log, for counts, and for callers whose request failed.

use std::error::Error;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is wrong with Redis, or with the connection to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BusFault {
    /// It cannot be connected to: nothing answers there, or the name cannot be resolved.
    Unreachable,
    /// An open connection ended. Redis ends connections when it stops, and when a listener's output
    /// buffer exceeds its limit.
    Lost,
    /// An open connection fell silent: not even a ping is answered.
    Silent,
    /// An open connection answers, but published messages do not arrive on it.
    Detached,
    /// The TLS handshake failed, for example because a certificate has expired.
    Tls,
    /// Redis requires a password, or another one (`NOAUTH`, `WRONGPASS`).
    Authentication,
    /// Redis does not allow this connection the channel or command (`NOPERM`).
    Denied,
    /// Redis is loading its data (`LOADING`).
    Loading,
    /// Redis is a replica that accepts no writes (`READONLY`).
    ReadOnly,
    /// Redis has no memory left (`OOM`).
    OutOfMemory,
    /// Redis answered with any other error.
    Refused,
}

impl BusFault {
    /// All faults.
    pub const ALL: [Self; 11] = [
        Self::Unreachable,
        Self::Lost,
        Self::Silent,
        Self::Detached,
        Self::Tls,
        Self::Authentication,
        Self::Denied,
        Self::Loading,
        Self::ReadOnly,
        Self::OutOfMemory,
        Self::Refused,
    ];

    /// Its name for programs: a label of a metric, a field of a log line.
    pub fn label(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Lost => "lost",
            Self::Silent => "silent",
            Self::Detached => "detached",
            Self::Tls => "tls",
            Self::Authentication => "authentication",
            Self::Denied => "denied",
            Self::Loading => "loading",
            Self::ReadOnly => "read_only",
            Self::OutOfMemory => "out_of_memory",
            Self::Refused => "refused",
        }
    }

    /// Whether the fault concerns one channel or command, not Redis as a whole. Then neither
    /// waiting nor a new connection helps.
    pub(crate) fn concerns_one_request(self) -> bool {
        matches!(self, Self::Denied | Self::Refused)
    }
}

/// An error with the fault that it shows.
#[derive(Debug)]
pub(crate) struct ClassifiedError {
    fault: BusFault,
    /// Set if an attempt to connect failed: the text for the person who waits for the connection.
    failed_connection: Option<FailedConnection>,
    error: Box<dyn Error + Send + Sync>,
}

/// A failed attempt to connect to Redis.
#[derive(Debug)]
pub(crate) struct FailedConnection {
    pub(crate) side: Side,
    /// Host and port, or a path, as in the URL; without user and password.
    pub(crate) address: String,
    /// What is wrong, and what to do about it.
    pub(crate) reason: String,
}

/// One of the two connections to Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Publishing,
    Listening,
}

impl ClassifiedError {
    pub(crate) fn new(
        fault: BusFault,
        failed_connection: Option<FailedConnection>,
        error: impl Error + Send + Sync + 'static,
    ) -> Self {
        Self {
            fault,
            failed_connection,
            error: Box::new(error),
        }
    }

    pub(crate) fn fault(&self) -> BusFault {
        self.fault
    }

    pub(crate) fn failed_connection(&self) -> Option<&FailedConnection> {
        self.failed_connection.as_ref()
    }
}

impl fmt::Display for ClassifiedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl Error for ClassifiedError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

impl fmt::Display for BusFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreachable => "Redis cannot be reached",
            Self::Lost => "the connection to Redis ended",
            Self::Silent => "the connection to Redis fell silent",
            Self::Detached => "published messages do not arrive on the connection to Redis",
            Self::Tls => "the TLS handshake with Redis failed",
            Self::Authentication => "Redis requires a password, or another one",
            Self::Denied => "Redis denies this user a channel or a command",
            Self::Loading => "Redis is loading its data",
            Self::ReadOnly => "Redis is a replica that accepts no writes",
            Self::OutOfMemory => "Redis has no memory left",
            Self::Refused => "Redis answered with an error",
        })
    }
}

/// How often each fault was seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BusFaults([u64; BusFault::ALL.len()]);

impl BusFaults {
    /// How often this fault was seen since the start.
    pub fn of(&self, fault: BusFault) -> u64 {
        self.0[fault as usize]
    }
}

/// The live counters behind [`BusFaults`].
#[derive(Debug, Default)]
pub(crate) struct FaultCounts([AtomicU64; BusFault::ALL.len()]);

impl FaultCounts {
    /// Counts a fault and logs it: the first of its kind, and then each time their number has
    /// doubled. An attempt that is repeated every second would otherwise fill the log.
    pub(crate) fn note(&self, fault: BusFault, channel: Option<&str>, error: &dyn fmt::Display) {
        let count = self.0[fault as usize].fetch_add(1, Ordering::Relaxed) + 1;
        if count.is_power_of_two() {
            tracing::warn!(fault = fault.label(), count, channel, %error, "{fault}");
        }
    }

    pub(crate) fn read(&self) -> BusFaults {
        BusFaults(std::array::from_fn(|at| self.0[at].load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_is_counted_in_its_own_place() {
        let counts = FaultCounts::default();
        for (at, fault) in BusFault::ALL.into_iter().enumerate() {
            assert_eq!(fault as usize, at);
            (0..=at).for_each(|_| counts.note(fault, None, &"test"));
        }
        let counts = counts.read();
        for (at, fault) in BusFault::ALL.into_iter().enumerate() {
            assert_eq!(counts.of(fault), at as u64 + 1);
        }
    }
}
