//! Signals that tell the process to shut down, or to read its files again.

use std::io;

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProcessSignal {
    /// To end. If the process has to end at once, it exits with this status.
    End { status: i32 },
    /// To read its files again.
    Reload,
}

/// Listens to the signals of [`serve`](super::BoundServer::serve). Once one of these exists, none
/// of these signals ends the process by itself.
#[cfg(unix)]
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

#[cfg(unix)]
impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next signal.
    pub(super) async fn next(&mut self) -> ProcessSignal {
        let kind = tokio::select! {
            _ = self.terminate.recv() => SignalKind::terminate(),
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.hang_up.recv() => return ProcessSignal::Reload,
        };
        // The status that a shell reports of a process that this signal has ended.
        let status = 128_i32.saturating_add(kind.as_raw_value());
        ProcessSignal::End { status }
    }
}

/// Listens to Ctrl-C, where there are no signals.
#[cfg(not(unix))]
#[derive(Debug)]
pub(super) struct Signals(());

#[cfg(not(unix))]
impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(()))
    }

    /// Waits for the next signal.
    pub(super) async fn next(&mut self) -> ProcessSignal {
        if let Err(error) = tokio::signal::ctrl_c().await {
            tracing::error!(%error, "Ctrl-C cannot be heard.");
            std::future::pending::<()>().await;
        }
        ProcessSignal::End { status: 1 }
    }
}
