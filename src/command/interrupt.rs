//! Ctrl-C and SIGTERM: the first asks a command to end, the second ends it.

use std::io;
use std::process;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::end::{Ended, Exit};

/// Whether somebody has asked the command to end.
#[derive(Debug)]
pub(super) struct Interrupt(CancellationToken);

impl Interrupt {
    /// From now on, signals do not end the process by themselves.
    ///
    /// # Errors
    ///
    /// Of the operating system.
    pub(super) fn watch() -> Result<Self, Ended> {
        let signals = Signals::new();
        let mut signals = signals
            .map_err(|error| Ended::failed(format!("signals cannot be received: {error}")))?;
        let asked = CancellationToken::new();
        let told = asked.clone();
        // It ends with the process; nobody waits for it.
        TaskTracker::new().spawn(async move {
            signals.next().await;
            told.cancel();
            // A store that does not answer, or a reader that does not read, may keep the command
            // from ending. A batch is stored as a whole or not at all in any case.
            signals.next().await;
            process::exit(Exit::Interrupted.code().into());
        });
        Ok(Self(asked))
    }

    pub(super) fn is_asked(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits until somebody asks.
    pub(super) async fn asked(&self) {
        self.0.cancelled().await;
    }
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        // Without a handler the signal ends the process.
        drop(tokio::signal::ctrl_c().await);
    }
}
